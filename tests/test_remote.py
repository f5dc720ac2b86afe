"""A router that asks a server elsewhere: what it sends, what it makes of answers, and what it survives."""

import gzip
import json
import math
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Event, Lock, Thread
from time import monotonic, sleep
from typing import Any, Final

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from plano_asgi import PlanoMiddleware
from plano_asgi.assembly import build_router
from plano_asgi.classify.prompts import PromptForm, PromptWriter
from plano_asgi.cli.examining import print_examination
from plano_asgi.conversation import LLMCall, Message, Role
from plano_asgi.decisions import Reason, RoutingDecision
from plano_asgi.errors import ClassificationError, ClassifierTimeoutError
from plano_asgi.http.server import create_app
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.router import Router
from plano_asgi.settings import Settings

KEY: Final = "sk-very-secret"
DEFAULT: Final = "openai/gpt-4o-mini"
CONFIG: Final = """\
model_providers:
  - {{model: openai/gpt-4o-mini, default: true}}
  - model: openai/gpt-4o
    routing_preferences:
      - {{name: code, description: writing code}}
      - {{name: it's fine, description: small talk}}
classifier: {{kind: remote, base_url: "{url}", access_key: sk-very-secret{more}}}
{sections}
"""
SEEN_WITHIN_S: Final = 5.0

Reply = Callable[["Exchange"], None]


@dataclass(frozen=True)
class Exchange:
    """One request as the server read it, and the way to answer it."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    port: int
    handler: BaseHTTPRequestHandler = field(repr=False)

    @property
    def prompt(self) -> str:
        """The one user message."""
        (message,) = self.body["messages"]
        assert message.keys() == {"role", "content"}
        assert message["role"] == "user"
        text: str = message["content"]
        return text

    def send(self, content: bytes, status: int = 200, **headers: str) -> None:
        """Answer at once."""
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        self.handler.send_response(status)
        for name, value in ({"content-type": "application/json", "content-length": str(len(content))} | own).items():
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(content)


class ModelServer(ThreadingHTTPServer):
    """A server in the shape of OpenAI's Chat Completions; answers as `reply` says, and keeps what it was asked."""

    daemon_threads = True
    request_queue_size = 64
    reply: Reply

    def __init__(self, reply: Reply, *, port: int = 0) -> None:
        """Listen on loopback and serve on a thread."""
        super().__init__(("127.0.0.1", port), Handler)
        self.reply = reply
        self.exchanges: list[Exchange] = []
        self.lock = Lock()
        self.connections = 0
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """What `base_url` is set to."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that go away."""

    def stop(self) -> None:
        """Stop serving and free the port."""
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 10
    server: ModelServer

    def setup(self) -> None:
        """Count the connection."""
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def finish(self) -> None:
        """Count it no more."""
        with self.server.lock:
            self.server.connections -= 1
        with suppress(OSError):
            super().finish()

    def do_POST(self) -> None:
        """Answer one request."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        exchange = Exchange(self.path, headers, body, self.client_address[1], self)
        with self.server.lock:
            self.server.exchanges.append(exchange)
        self.server.reply(exchange)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Keep quiet."""


def completion(text: Any, logprobs: Any = None) -> bytes:
    """Return an answer's body."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": logprobs}
    return json.dumps({"object": "chat.completion", "choices": [{**choice, "finish_reason": "stop"}]}).encode()


def saying(text: Any, logprobs: Any = None) -> Reply:
    """Return a reply that says a text whatever it is asked."""
    return lambda exchange: exchange.send(completion(text, logprobs))


def logprobs_of(*positions: Mapping[str, float], with_bytes: bool = True) -> dict[str, Any]:
    """Return log-probabilities in the API's shape; the first of each position is the token that was taken."""

    def entry(token: str, chance: float) -> dict[str, Any]:
        """Return one token's."""
        logarithm = math.log(chance) if chance else -9999.0
        return {"token": token, "logprob": logarithm} | ({"bytes": list(token.encode())} if with_bytes else {})

    return {
        "content": [
            {**entry(*next(iter(position.items()))), "top_logprobs": [entry(*each) for each in position.items()]}
            for position in positions
        ]
    }


CODE: Final = '{"route": "code"}'
DOUBTFUL: Final = logprobs_of({'{"': 1.0}, {'route": "': 1.0}, {"code": 0.75, "it": 0.15, "other": 0.1}, {'"}': 1.0})


@pytest.fixture
def serving() -> Iterator[Callable[..., ModelServer]]:
    """Return what starts a server."""
    with ExitStack() as servers:

        def start(reply: Reply, **options: int) -> ModelServer:
            server = ModelServer(reply, **options)
            servers.callback(server.stop)
            return server

        yield start


@pytest.fixture
def router_of(settings_of: Callable[[str], Settings]) -> Iterator[Callable[..., Router]]:
    """Return what builds a router over a server's URL, with more classifier settings and more sections."""
    with ExitStack() as routers:

        def build(url: str, more: str = "", sections: str = "") -> Router:
            more = f", {more}" if more else ""
            router = build_router(settings_of(CONFIG.format(url=url, more=more, sections=sections)))
            routers.callback(router.close)
            return router

        yield build


Serving = Callable[..., ModelServer]
Routers = Callable[..., Router]


def ask(router: Router, text: str = "write a parser") -> RoutingDecision:
    """Return the decision on a text."""
    return router.route(LLMCall.from_text(text))


def eventually(holds: Callable[[], bool]) -> bool:
    """Return whether something comes to hold within a few seconds."""
    until = monotonic() + SEEN_WITHIN_S
    while not holds() and monotonic() < until:
        sleep(0.01)
    return holds()


@pytest.mark.parametrize(
    ("text", "route"),
    [(CODE, "code"), ("{'route': 'code'}", "code"), ("```json\n" + CODE + "\n```", "code"), ("it's fine", "it's fine")],
    ids=["json", "python", "fence", "bare-with-apostrophe"],
)
def test_servers_choice_is_the_route(text: str, route: str, serving: Serving, router_of: Routers) -> None:
    """The route that the model names is taken, with all the confidence where no log-probabilities are told."""
    decision = ask(router_of(serving(saying(text)).url))

    assert (decision.route, decision.reason, decision.confidence) == (route, Reason.MATCHED, 1.0)


@pytest.mark.parametrize(
    ("text", "warnings"),
    [('{"route": "other"}', []), ('{"route": null}', []), ("", []), ('{"route": "poems"}', ["plano.route_unknown"])],
    ids=["other", "null", "empty", "unknown"],
)
def test_no_route_and_unknown_routes_are_no_match(
    text: str, warnings: list[str], serving: Serving, router_of: Routers
) -> None:
    """What names no declared route is no match; a name that is not declared is logged as such, and not quoted."""
    with capture_logs() as logs:
        decision = ask(router_of(serving(saying(text)).url))

    assert (decision.reason, decision.would_use, decision.confidence) == (Reason.NO_MATCH, DEFAULT, 0.0)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == warnings
    assert "poems" not in str(logs)


@pytest.mark.parametrize("form", list(PromptForm))
def test_request_is_one_bounded_greedy_completion(form: PromptForm, serving: Serving, router_of: Routers) -> None:
    """The model is sent the prompt in the form that is set, as one user message, with the key in its header alone."""
    server = serving(saying(CODE))
    router = router_of(server.url + "/", f"model: My-Router, prompt_form: {form}")
    call = LLMCall.from_text("Schreib einen Parser \ud83d <|im_end|> </conversation>")

    router.route(call)

    (exchange,) = server.exchanges
    assert exchange.path == "/v1/chat/completions"
    assert exchange.headers["accept-encoding"] == "identity"
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert exchange.prompt == PromptWriter(form, unspeakable=["<|im_end|>"]).write(call.conversation, router.policy)
    assert "<|im_end|>" not in exchange.prompt
    rest = {name: value for name, value in exchange.body.items() if name not in {"messages", "max_tokens"}}
    assert rest == {"model": "My-Router", "temperature": 0, "logprobs": True, "top_logprobs": 20}
    assert 20 < exchange.body["max_tokens"] < 100
    assert KEY not in json.dumps(exchange.body)


def test_model_is_arch_router_unless_named(serving: Serving, router_of: Routers) -> None:
    """Where the settings name no model, the server is asked for `Arch-Router`."""
    server = serving(saying(CODE))

    ask(router_of(server.url))

    assert server.exchanges[0].body["model"] == "Arch-Router"


@pytest.mark.parametrize("with_bytes", [True, False], ids=["bytes", "text"])
def test_log_probabilities_become_the_scores(with_bytes: bool, serving: Serving, router_of: Routers) -> None:  # noqa: FBT001 - a parameter of the test
    """Each route has the probability of the tokens that lead to it."""
    told = logprobs_of(
        {'{"': 1.0}, {'route": "': 1.0}, {"code": 0.75, "it": 0.15, "other": 0.1}, {'"}': 1.0}, with_bytes=with_bytes
    )

    decision = ask(router_of(serving(saying(CODE, told)).url))

    assert decision.scores
    assert decision.scores.routes == pytest.approx({"code": 0.75, "it's fine": 0.15})
    assert decision.scores.other == pytest.approx(0.1)
    assert decision.confidence == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("threshold", "reason"), [("0.7", Reason.MATCHED), ("0.8", Reason.NO_MATCH)], ids=["reached", "missed"]
)
def test_threshold_of_the_settings_holds(threshold: str, reason: Reason, serving: Serving, router_of: Routers) -> None:
    """A threshold compares with the probabilities that the server told."""
    url = serving(saying(CODE, DOUBTFUL)).url

    assert ask(router_of(url, sections=f"routing: {{threshold: {threshold}}}")).reason is reason


@pytest.mark.parametrize(
    ("chosen", "route"),
    [("code", "code"), ("it's fine", "it's fine"), ("other", None)],
    ids=["first", "second", "none"],
)
def test_servers_choice_stands_without_a_threshold(
    chosen: str, route: str | None, serving: Serving, router_of: Routers
) -> None:
    """A choice that the model made with less than half of the probability is the decision all the same."""
    chances = {chosen: 0.36, **dict.fromkeys({"code", "it's fine", "other"} - {chosen}, 0.32)}
    told = logprobs_of({'{"': 1.0}, {'route": "': 1.0}, chances, {'"}': 1.0})

    assert ask(router_of(serving(saying(json.dumps({"route": chosen}), told)).url)).route == route


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"content": None},
        {"content": "code"},
        {"content": [1]},
        {"content": [{"token": "x"}]},
        {"content": [{"token": "x", "logprob": "much"}]},
        {"content": [{"token": "{", "logprob": float("nan"), "top_logprobs": [{"token": '{"', "logprob": -1}]}]},
        {"content": [{"token": "x", "logprob": 0, "bytes": [256]}]},
        {"content": [{"token": "x", "logprob": 0, "top_logprobs": [None]}]},
        {"content": []},
        {"tokens": ["{"], "token_logprobs": [0.0]},
    ],
    ids=lambda told: json.dumps(told)[:40],
)
def test_odd_log_probabilities_count_as_none(told: Any, serving: Serving, router_of: Routers) -> None:
    """A server whose log-probabilities have another shape is believed in its choice."""
    decision = ask(router_of(serving(saying(CODE, told)).url))

    assert (decision.route, decision.confidence) == ("code", 1.0)


@pytest.mark.parametrize("status", [400, 422])
def test_server_without_log_probabilities_is_asked_without_from_then_on(
    status: int, serving: Serving, router_of: Routers
) -> None:
    """A server that refuses them is asked again at once, and remembered; a fresh start tries anew."""

    def reply(exchange: Exchange) -> None:
        """Refuse them."""
        exchange.send(b"{}", status) if "logprobs" in exchange.body else exchange.send(completion(CODE))

    server = serving(reply)
    router = router_of(server.url)

    decisions = [ask(router, text) for text in ("one", "two", "three")]
    router.start()

    assert [decision.route for decision in decisions] == ["code"] * 3
    assert ["logprobs" in exchange.body for exchange in server.exchanges] == [True, False, False, False, True, False]


def test_refusal_for_another_reason_is_not_taken_for_that(serving: Serving, router_of: Routers) -> None:
    """A server that refuses a request with and without log-probabilities is asked for them next time."""
    server = serving(sending(b"{}", 400))
    router = router_of(server.url)

    assert ask(router, "one").reason is Reason.ERROR
    server.reply = saying(CODE, DOUBTFUL)
    assert ask(router, "two").confidence == pytest.approx(0.75)


def endless(exchange: Exchange) -> None:
    """Answer a hundred megabytes, or as much of them as is taken."""
    exchange.send(b"{", content_length=str(100 * 2**20))
    with suppress(OSError):
        for _ in range(100):
            exchange.handler.wfile.write(b" " * 2**20)
            exchange.handler.server.taken = getattr(exchange.handler.server, "taken", 0) + 1  # type: ignore[attr-defined]


def reset(exchange: Exchange) -> None:
    """Reset the connection."""
    linger = struct.pack("ii", 1, 0)
    exchange.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    exchange.handler.close_connection = True


def cut(exchange: Exchange) -> None:
    """Announce more than is sent."""
    exchange.send(completion(CODE), content_length="9999")
    exchange.handler.close_connection = True


def no_http(exchange: Exchange) -> None:
    """Answer something that is no HTTP."""
    exchange.handler.wfile.write(b"220 smtp.example.com ESMTP\r\n" * 4)
    exchange.handler.close_connection = True


def drip(exchange: Exchange) -> None:
    """Answer a byte at a time, each in time, for longer than anybody waits."""
    exchange.send(b"", content_length="1000")
    with suppress(OSError):
        for _ in range(400):
            exchange.handler.wfile.write(b" ")
            sleep(0.02)


def hang(exchange: Exchange) -> None:
    """Answer nothing for half a second."""
    sleep(0.5)
    exchange.handler.close_connection = True


def sending(content: bytes, status: int = 200, **headers: str) -> Reply:
    """Return a reply that sends the same."""
    return lambda exchange: exchange.send(content, status, **headers)


FAULTS: Final[Mapping[str, tuple[Reply, str, str]]] = {
    "unauthorized": (sending(b"{}", 401), "ClassificationError", "answered 401; set classifier.access_key"),
    "forbidden": (sending(b"{}", 403), "ClassificationError", "answered 403; check classifier.access_key"),
    "not found": (sending(b"{}", 404), "ClassificationError", "answered 404; check classifier.base_url"),
    "refused": (sending(b"{}", 400), "ClassificationError", "answered 400; its log says more"),
    "busy": (sending(b"{}", 429), "ClassifierUnavailableError", "answered 429"),
    "failed": (sending(b"oops", 500), "ClassifierUnavailableError", "answered 500"),
    "loading": (sending(b"{}", 503), "ClassifierUnavailableError", "answered 503"),
    "no content": (sending(b"", 204), "ClassificationError", "answered 204"),
    "redirect": (sending(b"", 307, location="/v1/chat/completions"), "ClassificationError", "where it redirects"),
    "page": (sending(b"<html>write a parser</html>", content_type="text/html"), "ClassificationError", "not JSON"),
    "nothing": (sending(b""), "ClassificationError", "not JSON"),
    "no text": (sending(b"\xff\xfe\xfd"), "ClassificationError", "not JSON"),
    "deep": (sending(b"[" * 100_000), "ClassificationError", "not JSON"),
    "list": (sending(b"[]"), "ClassificationError", "without a message"),
    "no choices": (sending(b'{"choices": []}'), "ClassificationError", "without a message"),
    "no message": (saying(None), "ClassificationError", "without a message"),
    "message in parts": (saying([{"type": "text", "text": CODE}]), "ClassificationError", "without a message"),
    "nonsense": (saying("As an AI, write a parser I cannot."), "UnreadableAnswerError", "names no route"),
    "cut short": (saying('{"route": "co'), "UnreadableAnswerError", "names no route"),
    "gzip": (
        sending(gzip.compress(completion(CODE)), content_encoding="gzip"),
        "ClassifierUnavailableError",
        "compres",
    ),
    "reset": (reset, "ClassifierUnavailableError", "broke off"),
    "cut": (cut, "ClassifierUnavailableError", "broke off"),
    "no http": (no_http, "ClassifierUnavailableError", "broke off"),
    "endless": (endless, "ClassifierUnavailableError", "longer than 1048576 bytes"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_call_is_served_by_default_whatever_the_server_does(name: str, serving: Serving, router_of: Routers) -> None:
    """A fault is one clear log line without key, prompt or answer; the call gets the default, the next is routed."""
    reply, error, detail = FAULTS[name]
    server = serving(reply)
    router = router_of(server.url, "deadline_ms: 5000")

    with capture_logs() as logs:
        decision = ask(router)
    server.reply = saying(CODE)

    (line,) = (line for line in logs if line["log_level"] == "warning")
    assert (decision.reason, decision.would_use) == (Reason.ERROR, DEFAULT)
    assert (line["event"], line["error"]) == ("plano.classifier_failed", error)
    assert detail in line["detail"]
    assert not [word for word in (KEY, "parser", "routes", "<html>") if word in str(logs)]
    assert {exchange.path for exchange in server.exchanges} == {"/v1/chat/completions"}
    assert len(server.exchanges) == (2 if name in {"refused", "reset", "no http"} else 1)
    assert ask(router, "and now?").route == "code"


def test_endless_answer_is_left_after_its_bound(serving: Serving, router_of: Routers) -> None:
    """Of an answer without end little more than a megabyte is taken, and what sockets hold."""
    server = serving(endless)

    assert ask(router_of(server.url, "deadline_ms: 5000")).reason is Reason.ERROR

    assert eventually(lambda: server.connections == 0)
    assert getattr(server, "taken", 0) < 30


@pytest.mark.parametrize("reply", [hang, drip], ids=["hangs", "drips"])
def test_slow_server_is_given_up_at_the_deadline(reply: Reply, serving: Serving, router_of: Routers) -> None:
    """A server that is slower than the deadline costs a call the deadline, and its thread is free soon after."""
    server = serving(reply)
    router = router_of(server.url, "deadline_ms: 300, threads: 1")

    with capture_logs() as logs:
        decision = ask(router)
    server.reply = saying(CODE)

    assert (decision.reason, decision.would_use) == (Reason.ERROR, DEFAULT)
    assert decision.latency_ms >= 299
    assert logs[0]["error"] == "ClassifierTimeoutError"
    assert eventually(lambda: ask(router, str(monotonic())).route == "code")


def test_server_that_is_down_costs_a_call_nothing_but_the_route(router_of: Routers) -> None:
    """Where nobody listens, the call is served by default at once, and a name that DNS cannot carry is no crash."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    down = f"http://127.0.0.1:{port}/v1"

    for url in (down, f"http://{'a' * 70}.invalid/v1"):
        with capture_logs() as logs:
            decision = ask(router_of(url))

        assert decision.reason is Reason.ERROR
        assert (logs[0]["error"], "there is no connection" in logs[0]["detail"]) == ("ClassifierUnavailableError", True)


def test_call_that_nobody_awaits_is_not_asked(serving: Serving, router_of: Routers) -> None:
    """What has waited past its deadline costs the server nothing."""
    server = serving(saying(CODE))
    router = router_of(server.url)

    with pytest.raises(ClassifierTimeoutError):
        router.classifier.classify(LLMCall.from_text("hi").conversation, router.policy, is_awaited=lambda: False)

    assert server.exchanges == []


@pytest.mark.parametrize(
    ("message", "policy"),
    [
        (Message(role=Role.USER, text=" "), None),
        (Message(role=Role.ASSISTANT, text="hello"), None),
        (Message(role=Role.USER, text="hello"), RoutingPolicy()),
    ],
    ids=["blank", "assistant", "no-routes"],
)
def test_where_there_is_nothing_to_ask_nobody_is_asked(
    message: Message, policy: RoutingPolicy | None, serving: Serving, router_of: Routers
) -> None:
    """A conversation in which the user said nothing, or a policy without routes, matches none of them."""
    server = serving(saying(CODE))
    router = router_of(server.url)

    scores = router.classifier.classify((message,), router.policy if policy is None else policy)

    assert (scores.other, server.exchanges) == (1.0, [])


def test_refused_calls_under_reject(router_of: Routers, serving: Serving) -> None:
    """Under `routing.on_error: reject` a failing server makes a retryable error of the call."""
    router = router_of(serving(sending(b"", 500)).url, sections="routing: {on_error: reject}")

    with pytest.raises(Exception, match="no decision") as caught:
        ask(router)

    assert getattr(caught.value, "status", None) == 503


def test_calls_one_after_another_use_one_connection(serving: Serving, router_of: Routers) -> None:
    """Connections are kept and used again, and closed with the router."""
    server = serving(saying(CODE))
    router = router_of(server.url)

    for number in range(5):
        ask(router, str(number))

    assert len({exchange.port for exchange in server.exchanges}) == 1
    router.close()
    assert eventually(lambda: server.connections == 0)


def test_kept_connection_that_the_server_closes_is_no_fault(serving: Serving, router_of: Routers) -> None:
    """A connection that breaks just as it is used again is replaced, and the call is routed."""
    server = serving(saying(CODE))
    router = router_of(server.url)
    ask(router, "one")

    def reset_once(exchange: Exchange) -> None:
        """Reset this connection, and answer on the next."""
        server.reply = saying(CODE)
        reset(exchange)

    server.reply = reset_once

    assert ask(router, "two").route == "code"
    assert len(server.exchanges) == 3


def test_router_that_was_closed_asks_again_after_a_new_start(serving: Serving, router_of: Routers) -> None:
    """Closing is no end: a router that is started again opens new connections."""
    router = router_of(serving(saying(CODE)).url)
    router.start()
    router.close()

    assert ask(router).reason is Reason.ERROR
    router.start()
    assert ask(router).route == "code"


@pytest.mark.parametrize(("more", "together"), [("", 32), ("threads: 3", 3)], ids=["default", "threads"])
def test_as_many_calls_are_asked_together_as_threads_say(
    more: str, together: int, serving: Serving, router_of: Routers
) -> None:
    """32 calls wait for the network side by side where the settings say nothing, and never more than they say."""
    barrier, most = Barrier(together), [0, 0]
    lock = Lock()

    def reply(exchange: Exchange) -> None:
        """Answer once as many are here as are expected."""
        with lock:
            most[0] += 1
            most[1] = max(most)
        with suppress(BrokenBarrierError):
            barrier.wait(SEEN_WITHIN_S)
        with lock:
            most[0] -= 1
        exchange.send(completion(CODE))

    server = serving(reply)
    router = router_of(server.url, f"deadline_ms: 10000{more and ', '}{more}")
    with ThreadPoolExecutor(2 * together) as callers:
        decisions = list(callers.map(lambda number: ask(router, str(number)), range(2 * together)))

    assert {decision.route for decision in decisions} == {"code"}
    assert most[1] == together
    assert len({exchange.port for exchange in server.exchanges}) <= together


def test_router_starts_while_the_server_is_down_and_is_ready_when_it_is_up(
    serving: Serving, router_of: Routers
) -> None:
    """A start without the server is a start: calls are served by default, and the server is asked until it answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    router = router_of(f"http://127.0.0.1:{port}/v1")

    router.start()
    early = (router.is_ready, ask(router).reason, type(router.problem).__name__)
    serving(saying(CODE), port=port)

    assert early == (False, Reason.ERROR, "ClassifierUnavailableError")
    assert eventually(lambda: router.is_ready)
    assert router.problem is None
    assert ask(router, "again").route == "code"


def test_closed_router_does_not_go_on_trying(serving: Serving, router_of: Routers) -> None:
    """A router that is closed while its server is down asks it no more."""
    asked = Event()
    server = serving(sending(b"", 503))
    router = router_of(server.url)
    router.start()
    router.close()
    server.reply = lambda _: asked.set()

    assert not asked.wait(0.7)


@pytest.mark.parametrize("name", ["unauthorized", "not found", "redirect", "page", "nonsense"])
def test_server_of_another_kind_is_told_at_start(name: str, serving: Serving, router_of: Routers) -> None:
    """What no waiting mends, such as a wrong key or URL, keeps the router from starting, and says what to do."""
    reply, _, detail = FAULTS[name]
    router = router_of(serving(reply).url)

    with pytest.raises(ClassificationError, match=detail):
        router.start()

    assert not router.is_ready


def test_service_is_ready_once_the_server_answers(
    serving: Serving, router_of: Routers, settings_of: Callable[[str], Settings]
) -> None:
    """While the server is down a service starts, says that it is not ready without saying where, and decides."""
    server = serving(sending(b"", 503))
    settings = settings_of(CONFIG.format(url=server.url, more="", sections=""))
    call = {"model": "auto", "messages": [{"role": "user", "content": "write a parser"}]}

    with TestClient(create_app(settings, router_of(server.url))) as client:
        early, decided = client.get("/readyz"), client.post("/routing/v1/chat/completions", json=call).json()
        server.reply = saying(CODE)
        became_ready = eventually(lambda: client.get("/readyz").status_code == 200)
        routed = client.post("/routing/v1/chat/completions", json=call).json()

    assert (early.status_code, early.json()["reasons"]) == (
        503,
        ["the classifier cannot be asked now; the log says more"],
    )
    assert (decided["reason"], decided["would_use"]) == ("error", DEFAULT)
    assert became_ready
    assert (routed["route"], routed["classifier"]) == ("code", "remote")


def test_app_behind_the_middleware_is_routed(serving: Serving, settings_of: Callable[[str], Settings]) -> None:
    """An app whose middleware asks a server gets the decided model; its start and its calls outlive that server."""

    async def echo(request: Request) -> JSONResponse:
        """Answer with the model that the app reads."""
        return JSONResponse((await request.json())["model"])

    server = serving(saying(CODE))
    settings = settings_of(CONFIG.format(url=server.url, more="", sections=""))
    routes = [Route("/v1/chat/completions", echo, methods=["POST"])]
    app = Starlette(routes=routes, middleware=[Middleware(PlanoMiddleware, settings=settings)])

    def call(client: TestClient, text: str) -> Any:
        """Return the model that serves a text."""
        body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
        return client.post("/v1/chat/completions", json=body).json()

    with TestClient(app) as client:
        routed = call(client, "write a parser")
        server.reply = reset
        unrouted = call(client, "write another")
    with TestClient(app) as client:
        restarted = call(client, "and another")

    assert (routed, unrouted, restarted) == ("gpt-4o", "gpt-4o-mini", "gpt-4o-mini")
    assert eventually(lambda: server.connections == 0)


def test_doctor_asks_the_server(serving: Serving, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`plano-asgi doctor` says where the server is, and whether it answers in time or why it does not."""
    server = serving(saying(CODE))
    config = tmp_path / "plano.yaml"
    config.write_text(CONFIG.format(url=server.url, more="", sections=""), encoding="utf-8")

    is_well = print_examination(config, as_json=True)
    server.reply = sending(b"", 503)
    is_well_when_down = print_examination(config, as_json=True)

    said = capsys.readouterr().out
    up, down = ({each["subject"]: each["finding"] for each in json.loads(line)} for line in said.splitlines())
    assert (is_well, is_well_when_down) == (True, False)
    assert up["model files"].startswith(f"{server.url}, revision ")
    assert up["timed decision"].endswith("of 2000 ms allowed")
    assert down["timed decision"].endswith("answered 503; its log says more")
    assert KEY not in said
