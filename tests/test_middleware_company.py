"""The middleware among others: in front of it, inside it, around it, and below it."""

import json
import socket
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

import plano_asgi
from plano_asgi import LLMCall, PlanoMiddleware, PlanoState, Router, Scores
from plano_asgi.assembly import build_router
from plano_asgi.policy import Rules
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: proofs, description: hard problems}]
"""
PATH: Final = "/v1/chat/completions"
CALL: Final = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
BODY: Final = json.dumps(CALL).encode()

Ask = Callable[..., httpx.Response]
Behind = Callable[..., PlanoMiddleware]


async def tell(request: Request) -> Response:
    """Answer with the model in the body and the route."""
    decision = plano_asgi.decision(request)
    return JSONResponse([(await request.json())["model"], decision.route if decision else None])


def proofs() -> FixedClassifier:
    """Return a classifier that takes everything for a proof."""
    return FixedClassifier({"proofs": 0.9, "mine": 0.9})


Handler = Callable[[Request], Any]


class InFront:
    """A middleware in front of ours that notes the scope; with state that it shares among all requests, if given."""

    def __init__(self, app: ASGIApp, *, state: dict[str, Any] | None = None, headers: object = None) -> None:
        """Put it in front of an app."""
        self._app = app
        self._more = {key: value for key, value in {"state": state, "headers": headers}.items() if value is not None}
        self.scope: MutableMapping[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        scope.update(self._more)
        self.scope = scope
        await self._app(scope, receive, send)


def app_with(handler: Handler) -> Starlette:
    """Return an app with one handler."""
    return Starlette(routes=[Route("/{path:path}", handler, methods=["POST"])])


def test_our_headers_stay_ours_when_the_app_reads_them(behind: Behind, ask: Ask) -> None:
    """Reading headers, which Starlette writes back as a list, does not show ours to middleware in front."""

    async def read(request: Request) -> Response:
        """Read the headers."""
        return PlainTextResponse(request.headers["content-length"])

    sent = ((b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode()))
    front = InFront(behind(app_with(read), CONFIG, proofs()), headers=sent)

    answer = ask(front, "POST", PATH, content=BODY)

    assert int(answer.text) == len(BODY) - len("auto") + len("gpt-4o")
    assert tuple(front.scope["headers"]) == sent


WAYS_TO_WRITE: Final[Mapping[str, Callable[[Any], object]]] = {
    "item": lambda mapping: mapping.__setitem__("mine", 1),
    "update": lambda mapping: mapping.update(mine=1),
    "or": lambda mapping: mapping.__ior__({"mine": 1}),
    "setdefault": lambda mapping: mapping.setdefault("mine", 1),
}
WAYS_TO_DELETE: Final[Mapping[str, Callable[[Any], object]]] = {
    "del": lambda mapping: mapping.__delitem__("theirs"),
    "pop": lambda mapping: mapping.pop("theirs"),
    "clear": lambda mapping: mapping.clear(),
    "popitem": lambda mapping: [mapping.popitem() for _ in range(len(mapping))],
}


@pytest.mark.parametrize("write", WAYS_TO_WRITE.values(), ids=WAYS_TO_WRITE)
def test_whatever_the_app_writes_is_seen_in_front(write: Callable[[Any], object], behind: Behind, ask: Ask) -> None:
    """However a handler writes into its scope or state, middleware in front reads it there."""

    async def handler(request: Request) -> Response:
        """Write."""
        write(request.scope)
        write(request.scope["state"])
        return Response()

    front = InFront(behind(app_with(handler), CONFIG, proofs()))
    ask(front, "POST", PATH, json=CALL)

    assert front.scope["mine"] == 1
    assert front.scope["state"] == {"mine": 1}


@pytest.mark.parametrize("delete", WAYS_TO_DELETE.values(), ids=WAYS_TO_DELETE)
def test_whatever_the_app_deletes_is_gone_in_front(delete: Callable[[Any], object], behind: Behind, ask: Ask) -> None:
    """However a handler deletes from its state, middleware in front misses it there."""

    async def handler(request: Request) -> Response:
        """Delete."""
        delete(request.scope["state"])
        return Response()

    front = InFront(behind(app_with(handler), CONFIG, proofs()), state={"theirs": 1})
    ask(front, "POST", PATH, json=CALL)

    assert front.scope["state"] == {}


def test_state_that_all_requests_share_is_not_written(behind: Behind, ask: Ask) -> None:
    """A server that hands every request the lifespan's own state does not mix up the decisions of its requests."""
    lifespan = {"pool": object()}
    front = InFront(behind(app_with(tell), CONFIG, proofs()), state=lifespan)

    first = ask(front, "POST", PATH, json=CALL).json()
    second = ask(front, "POST", "/elsewhere", json=CALL).json()

    assert (first, second) == (["gpt-4o", "proofs"], ["auto", None])
    assert lifespan.keys() == {"pool"}


def test_decision_outlives_its_request(behind: Behind, ask: Ask) -> None:
    """What a handler keeps of its request still tells of the decision when the answer is long sent."""
    kept: list[Request] = []

    async def keep(request: Request) -> Response:
        """Keep the request."""
        kept.append(request)
        return Response()

    ask(behind(app_with(keep), CONFIG, proofs()), "POST", PATH, json=CALL)

    state = PlanoState.of(kept[0])
    assert state
    assert state.decision.route == "proofs"


def test_call_that_is_tried_again_in_front_is_routed_again(behind: Behind) -> None:
    """A middleware in front that gives one scope and body to the app twice gets the same answer twice."""
    routed = behind(app_with(tell), CONFIG, proofs())
    answers: list[bytes] = []

    async def send(message: Message) -> None:
        """Note the body."""
        answers.append(message.get("body", b""))

    async def receive() -> Message:
        """Give the body."""
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def twice() -> None:
        """Serve the same request twice."""
        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers, "query_string": b""}
        for _ in range(2):
            await routed(scope, receive, send)

    anyio.run(twice)
    assert b"".join(answers) == b'["gpt-4o","proofs"]' * 2


INLINE: Final = {"routing_preferences": [{"name": "mine", "description": "all", "models": ["openai/gpt-4o-mini"]}]}


def test_first_of_two_middlewares_decides(behind: Behind, ask: Ask) -> None:
    """One inside the other, the inner one neither undoes what was decided nor tells of it a second time."""
    inner = proofs()
    nested = behind(behind(app_with(tell), CONFIG, inner), CONFIG, proofs())

    answer = ask(nested, "POST", PATH, json={**CALL, **INLINE})

    assert answer.json() == ["gpt-4o-mini", "mine"]
    assert answer.headers.get_list("x-plano-route") == ["mine"]
    assert inner.calls == []


def test_middleware_that_only_observes_leaves_the_call_to_the_next(behind: Behind, ask: Ask) -> None:
    """An observing middleware in front changes nothing about what the one inside it does."""
    nested = behind(behind(app_with(tell), CONFIG, proofs()), f"{CONFIG}mode: observe\n", FixedClassifier({}))

    answer = ask(nested, "POST", PATH, json=CALL)

    assert answer.json() == ["gpt-4o", "proofs"]
    assert answer.headers.get_list("x-plano-route") == ["proofs"]


class BrokenStore:
    """A store whose server is gone."""

    def __init__(self, *broken: str) -> None:
        """Name the methods that fail."""
        self._broken = broken

    def get(self, key: bytes) -> Scores | None:
        """Fail, or have nothing."""
        if "get" in self._broken:
            raise ConnectionError("redis://user:sk-secret@cache")
        return None

    def put(self, key: bytes, value: Scores) -> None:
        """Fail, or keep nothing."""
        if "put" in self._broken:
            raise ConnectionError("redis://user:sk-secret@cache")


@pytest.mark.parametrize("broken", [("get",), ("put",), ("get", "put")], ids=" and ".join)
def test_broken_store_costs_no_call(broken: tuple[str, ...], settings_of: Callable[[str], Settings]) -> None:
    """A store that raises is a store that has nothing: the call is classified, and the log tells of it."""
    settings = settings_of(CONFIG)
    router = Router(
        classifier=proofs(),
        policy=settings.policy,
        catalog=settings.catalog,
        rules=Rules(threshold=0.5, default_model=settings.catalog.default_model),
        cache=BrokenStore(*broken),
        deadline_ms=1_000,
    )

    with capture_logs() as events:
        decisions = [router.route(LLMCall.from_text("hi")), anyio.run(router.aroute, LLMCall.from_text("hi"))]

    router.close()
    assert [(decision.route, decision.source) for decision in decisions] == [("proofs", "classifier")] * 2
    assert [event["event"] for event in events].count("plano.cache_failed") == 2 * len(broken)
    assert "sk-secret" not in str(events)


def test_body_is_waited_for_without_a_limit(behind: Behind) -> None:
    """A body that takes longer than the decision endpoints would wait reaches the app, and routed."""
    routed = behind(app_with(tell), f"{CONFIG}limits: {{body_timeout_s: 0.01}}\n", proofs())
    answers: list[bytes] = []
    chunks = iter([BODY[:5], BODY[5:]])

    async def receive() -> Message:
        """Take time for a chunk."""
        await anyio.sleep(0.03)
        chunk = next(chunks)
        return {"type": "http.request", "body": chunk, "more_body": chunk == BODY[:5]}

    async def send(message: Message) -> None:
        """Note the body."""
        answers.append(message.get("body", b""))

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": [], "query_string": b""}
    anyio.run(routed, scope, receive, send)

    assert b"".join(answers) == b'["gpt-4o","proofs"]'


@pytest.mark.parametrize(
    ("length", "expected"), [(len(BODY), b"HTTP/1.1 100 "), (10**9, b"HTTP/1.1 401 ")], ids=["read", "too large"]
)
def test_client_that_expects_to_be_told_to_go_on_is_told(
    length: int, expected: bytes, behind: Behind, serve: Callable[[ASGIApp], str]
) -> None:
    """`Expect: 100-continue` is answered when a body is to be read, and left to the app where it is too large."""

    async def refuse(request: Request) -> Response:
        """Refuse without reading what is enormous."""
        return Response(status_code=401) if request.headers["content-length"] == str(10**9) else await tell(request)

    address = urlsplit(serve(behind(app_with(refuse), CONFIG, proofs()))).netloc
    host, _, port = address.partition(":")
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\nConnection: close\r\n\r\n".encode())
        told = connection.recv(4_096)
        if told.startswith(b"HTTP/1.1 100 "):
            connection.sendall(BODY)
            while chunk := connection.recv(4_096):
                told += chunk

    assert told.startswith(expected)
    assert (b'["gpt-4o","proofs"]' in told) is (length == len(BODY))


def test_mounted_app_loads_its_model_with_the_first_calls(
    settings_of: Callable[[str], Settings], serve: Callable[[ASGIApp], str]
) -> None:
    """A mounted app hears of no lifespan: its calls are served from the first on, and soon by the model."""
    settings = settings_of(CONFIG)
    router = build_router(settings)
    sub = PlanoMiddleware(app_with(tell), settings=settings, router=router)
    url = f"{serve(Starlette(routes=[Mount('/llm', sub)]))}/llm{PATH}"

    answers = [httpx.post(url, json=CALL, trust_env=False)]
    while answers[-1].headers["x-plano-reason"] == "error" and len(answers) < 50:
        answers.append(httpx.post(url, json=CALL, trust_env=False))

    router.close()
    assert {answer.status_code for answer in answers} == {200}
    assert answers[-1].headers["x-plano-reason"] in {"matched", "no_match"}


@pytest.mark.parametrize(
    ("path", "root_path"),
    [
        (f"/api{PATH}", "/api"),
        (PATH, "/api"),
        (f"/api{PATH}", ""),
        (f"/api{PATH}", "/api/"),
        (PATH, "/"),
        (f"/a/b{PATH}", "/a/b"),
        (f"/apiv2{PATH}", "/api"),
    ],
    ids=["with root", "without root", "no root", "root with slash", "root is a slash", "deep root", "other root"],
)
def test_call_is_recognised_below_any_root(path: str, root_path: str, behind: Behind) -> None:
    """A call is one whether the server's path has the `root_path` in it, as ASGI asks, or not, as some do."""
    served: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Note the model."""
        del send
        served.append(json.loads((await receive())["body"])["model"])
        assert (scope["path"], scope["root_path"]) == (path, root_path)

    async def receive() -> Message:
        """Give the body."""
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: Message) -> None:
        """Take nothing."""
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": path, "root_path": root_path, "headers": []}
    anyio.run(behind(app, CONFIG, proofs()), scope, receive, send)

    assert served == ["gpt-4o"]


@pytest.mark.parametrize("root_path", ["", "/api", "/api/"])
def test_decision_endpoint_is_found_below_its_root(root_path: str, behind: Behind) -> None:
    """The decision endpoints are served below the `root_path`, with a slash at its end or without."""
    sent: list[Message] = []

    async def receive() -> Message:
        """Give the body."""
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: Message) -> None:
        """Note the answer."""
        sent.append(message)

    path = f"{root_path.rstrip('/')}/routing{PATH}"
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "root_path": root_path, "headers": headers}
    anyio.run(behind(app_with(tell), CONFIG, proofs()), scope, receive, send)

    assert json.loads(sent[1]["body"])["route"] == "proofs"


def test_log_tells_what_was_obeyed(behind: Behind, ask: Ask) -> None:
    """The one line of a call names the model and the reason that its answer names."""
    config = CONFIG + "  - {model: anthropic/claude, routing_preferences: [{name: mine, description: all}]}\n"

    with capture_logs() as events:
        answer = ask(behind(app_with(tell), config, FixedClassifier({"mine": 1.0})), "POST", PATH, json=CALL)

    (line,) = (event for event in events if event["event"] == "plano.call_routed")
    assert (line["model"], line["reason"]) == ("openai/gpt-4o-mini", "format")
    assert (answer.headers["x-plano-model"], answer.headers["x-plano-reason"]) == (line["model"], line["reason"])


def test_starlette_middleware_in_front_is_served(ask: Ask, settings_of: Callable[[str], Settings]) -> None:
    """Two of ours in one Starlette app, as `middleware=` takes them, are served as one."""
    settings = settings_of(CONFIG)
    router = build_router(settings, classifier=proofs())
    ours = Middleware(PlanoMiddleware, settings=settings, router=router)
    app = Starlette(routes=[Route(PATH, tell, methods=["POST"])], middleware=[ours, ours])

    answer = ask(app, "POST", PATH, json=CALL)

    router.close()
    assert answer.headers.get_list("x-plano-model") == ["openai/gpt-4o"]
