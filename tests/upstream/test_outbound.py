"""Calls that leave through `transport`: served by whom was decided, in the caller's own library; all else untouched."""

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from structlog.testing import capture_logs

import plano_asgi
from plano_asgi.assembly import build_router
from plano_asgi.errors import ConfigurationError
from plano_asgi.intake import Headers
from plano_asgi.observe.sqlite_decisions import SqliteDecisions
from plano_asgi.outbound.decided_calls import MOST_KEPT, DecidedCalls
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

CLIENTS_KEY: Final = "sk-canary-of-the-client"
HEAD: Final = {"content-type": "application/json", "authorization": f"Bearer {CLIENTS_KEY}"}
CHAT: Final = "/v1/chat/completions"
every_way = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


class Elsewhere:
    """Where a client would send its calls without us: remembers what comes, and answers."""

    def __init__(self, library: Any) -> None:
        """Remember nothing yet."""
        self.library = library
        self.heard: list[Any] = []

    def __call__(self, request: Any) -> Any:
        """Answer one request."""
        self.heard.append(request)
        return self.library.Response(200, headers={"x-elsewhere": "yes"}, content=b"elsewhere")


def inner_of(caller: Any, elsewhere: Callable[[Any], Any]) -> Any:
    """Return a transport of the caller's library that asks a function."""
    return caller.library.MockTransport(elsewhere)


@every_way
def test_call_is_served_by_the_decided_model(
    outbound: Callable[..., Any], caller: Any, api: Any, provider: Any, *, stream: bool
) -> None:
    """Whichever library calls, the decided model's provider answers, with its own key, and its bytes pass."""
    transport = outbound(api.maker, "fine")

    answer = caller.send(transport, f"https://sdk.test{api.path}", json=api.body(stream=stream), headers=HEAD)

    assert (answer.status_code, answer.content) == (200, api.good("fine", stream=stream))
    assert isinstance(answer, caller.library.Response)
    (heard,) = provider.heard
    assert (heard.call["model"], heard.target) == ("fine", api.path)
    assert CLIENTS_KEY not in str(heard.headers)
    assert f"sk-canary-of-{api.maker}" in str(heard.headers)
    assert answer.headers["x-plano-model"] == f"{api.maker}/fine"


def test_failure_goes_to_the_next_model(outbound: Callable[..., Any], caller: Any, api: Any) -> None:
    """Where the first model fails, the second answers, and the response tells of both."""
    answer = caller.send(outbound(api.maker, "down", "fine"), f"https://sdk.test{api.path}", json=api.body())

    assert answer.content == api.good("fine", stream=False)
    attempts = [part.split(";")[:2] for part in answer.headers["x-plano-attempts"].split(", ")]
    assert attempts == [[f"{api.maker}/down", "outcome=server_error"], [f"{api.maker}/fine", "outcome=answered"]]


@pytest.mark.parametrize("is_given", [False, True], ids=["gateway's client", "inner"])
def test_providers_are_asked_through_the_transport_that_is_given(
    outbound: Callable[..., Any], caller: Any, provider: Any, *, is_given: bool
) -> None:
    """A transport of the caller's own carries the calls of model providers too; there is one for each kind."""
    make = caller.library.AsyncHTTPTransport if caller.is_async else caller.library.HTTPTransport
    answers = [
        caller.send(
            outbound("openai", "down", "gzip", inner=make() if is_given else None),
            f"https://sdk.test{CHAT}",
            json={"model": "auto", "stream": stream, "messages": [{"role": "user", "content": "x"}]},
        )
        for stream in (False, True)
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["model"] == "gzip"
    assert answers[1].content.endswith(b"data: [DONE]\n\n")
    assert provider.counts["gzip"] == 2


@pytest.mark.parametrize(
    "sent",
    [
        ("GET", "/v1/models", None),
        ("POST", "/v1/embeddings", b'{"model": "e", "input": "x"}'),
        ("POST", "/v1/messages/count_tokens", b'{"model": "e", "messages": []}'),
        ("GET", CHAT, None),
        ("POST", "/v1//chat/completions", b"{}"),
        ("POST", "/x%2Fv1/chat/completions", b"{}"),
    ],
    ids=["models", "embeddings", "count_tokens", "stored answers", "double slash", "encoded slash"],
)
def test_what_is_no_call_passes_untouched(
    sent: tuple[str, str, bytes | None], outbound: Callable[..., Any], caller: Any, provider: Any
) -> None:
    """Everything but LLM calls is the inner transport's, and so is the response."""
    method, path, body = sent
    elsewhere = Elsewhere(caller.library)
    transport = outbound("openai", "fine", inner=inner_of(caller, elsewhere))

    answer = caller.send(transport, f"https://sdk.test{path}", method=method, content=body, headers=HEAD)

    assert answer.headers["x-elsewhere"] == "yes"
    (heard,) = elsewhere.heard
    assert (heard.method, str(heard.url), heard.headers["authorization"]) == (
        method,
        f"https://sdk.test{path}",
        HEAD["authorization"],
    )
    assert provider.heard == []


def call(**more: Any) -> bytes:
    """Return a Chat Completions call."""
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], **more}).encode()


@pytest.mark.parametrize(
    "case",
    [
        ("mode: observe", {}, call()),
        ("enabled: false", {}, call()),
        ("routing: {sample: 0.0}", {}, call()),
        ("routing: {applies_to: [auto]}", {}, call(model="fine")),
        ("routing: {unmatched: requested}", {}, call()),
        ("", {"x-plano-routing": "off"}, call(model="fine")),
        ("", {}, b"{"),
        ("", {}, b'{"messages": 5}'),
        ("limits: {body_bytes: 20}", {}, call()),
    ],
    ids=["observe", "disabled", "sample", "not applicable", "undeclared", "bypassed", "no JSON", "odd", "too large"],
)
def test_call_that_is_not_ours_goes_where_it_was_going(
    case: tuple[str, Mapping[str, str], bytes], outbound: Callable[..., Any], caller: Any, provider: Any
) -> None:
    """What is only observed, not to be routed, or not to be read keeps its URL, its key and its body."""
    more, headers, sent = case
    elsewhere = Elsewhere(caller.library)
    mode = "observe" if "observe" in more else "rewrite"
    more = "" if mode == "observe" else more
    chances: Mapping[str, float] | None = {} if "unmatched" in more else None
    transport = outbound("openai", "fine", mode=mode, more=more, chances=chances, inner=inner_of(caller, elsewhere))

    answer = caller.send(transport, f"https://sdk.test{CHAT}", content=sent, headers={**HEAD, **headers})

    assert answer.headers["x-elsewhere"] == "yes"
    (heard,) = elsewhere.heard
    assert (str(heard.url), heard.content, heard.headers["authorization"]) == (
        f"https://sdk.test{CHAT}",
        sent,
        HEAD["authorization"],
    )
    assert "x-plano-routing" not in heard.headers
    assert provider.heard == []


def test_observed_call_is_decided_and_logged(outbound: Callable[..., Any], caller: Any) -> None:
    """`mode: observe` tells in the log where the call would have gone."""
    transport = outbound("openai", "fine", mode="observe", inner=inner_of(caller, Elsewhere(caller.library)))

    with capture_logs() as logs:
        caller.send(transport, f"https://sdk.test{CHAT}", content=call(), headers=HEAD)

    (line,) = [entry for entry in logs if entry["event"] == "plano.call_routed"]
    assert (line["route"], line["model"]) == ("code", "openai/fine")
    assert CLIENTS_KEY not in repr(logs)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_policy_of_a_call_that_is_left_alone_is_cut(encoding: str, outbound: Callable[..., Any], caller: Any) -> None:
    """An inline policy never leaves, also where the call is not routed; the rest of the body stays as it is."""
    elsewhere = Elsewhere(caller.library)
    policy = [{"name": "code", "description": "code", "models": ["openai/fine"]}]
    sent = call(routing_preferences=policy)
    transport = outbound("openai", "fine", inner=inner_of(caller, elsewhere))

    caller.send(
        transport,
        f"https://sdk.test{CHAT}",
        content=sent if encoding == "identity" else gzip.compress(sent),
        headers={**HEAD, "x-plano-routing": "off", "content-encoding": encoding},
    )

    (heard,) = elsewhere.heard
    assert heard.content == call()
    assert heard.headers["content-length"] == str(len(call()))
    assert "content-encoding" not in heard.headers


@pytest.mark.parametrize(
    "case",
    [
        ("forward", b"{", "", 400),
        ("forward", call(), "limits: {body_bytes: 20}", 413),
        ("rewrite", b'{"model": "a", "model": "b", "messages": []}', "", 400),
        ("rewrite", call(routing_preferences="x"), "", 400),
        ("rewrite", call(), "failover: {attempts: 1}", 502),
    ],
    ids=["forward, no JSON", "forward, too large", "two models", "odd policy", "nobody answers"],
)
def test_fault_is_answered_in_the_callers_api(
    case: tuple[str, bytes, str, int], outbound: Callable[..., Any], caller: Any
) -> None:
    """What has to be refused, and what nobody answers, is a response in the shape of the caller's API."""
    mode, sent, more, status = case
    model = "down" if status == 502 else "fine"
    transport = outbound("openai", model, mode=mode, more=more)

    answer = caller.send(transport, f"https://sdk.test{CHAT}", content=sent, headers=HEAD)

    assert (answer.status_code, set(answer.json()["error"])) == (status, {"message", "type", "param", "code"})
    assert ("x-should-retry" in answer.headers) == (status != 502)


@pytest.mark.parametrize("model", ["refuses_key", "down", "cut"])
def test_key_is_in_no_answer_and_no_log(model: str, outbound: Callable[..., Any], caller: Any) -> None:
    """Neither the client's key nor a provider's is told to anybody else, though a provider repeats what it was sent."""
    transport = outbound("openai", model, more="failover: {attempts: 1}")

    with capture_logs() as logs:
        answer = caller.send(transport, f"https://sdk.test{CHAT}", content=call(stream=True), headers=HEAD)

    told = answer.text + str(answer.headers) + repr(logs) + repr(transport)
    assert "sk-canary" not in told
    assert logs[-1]["event"] == "plano.call_forwarded"


def test_clients_key_is_passed_through_where_that_is_set(
    outbound: Callable[..., Any], caller: Any, provider: Any
) -> None:
    """Under `passthrough_auth` the provider gets the key of the client."""
    transport = outbound("openai", "fine", provider_more=", passthrough_auth: true")

    caller.send(transport, f"https://sdk.test{CHAT}", content=call(), headers=HEAD)

    assert provider.heard[0].headers["authorization"] == HEAD["authorization"]


class Wavering(FixedClassifier):
    """A classifier that thinks otherwise every time."""

    def classify(self, *arguments: Any, **more: Any) -> Any:
        """Choose one route, and then the other."""
        self._chances = {("first", "second")[len(self.calls) % 2]: 0.9}
        return super().classify(*arguments, **more)


@pytest.mark.parametrize("key", ["", "once"], ids=["body", "idempotency key"])
def test_call_that_is_tried_again_keeps_its_model(
    key: str, provider: Any, settings_of: Callable[[str], Settings], caller: Any
) -> None:
    """An SDK's second try goes to the model of the first, whatever would be decided now; a new call is decided anew."""
    providers = ", ".join(
        f"{{model: openai/{name}, base_url: '{provider.url}/v1', access_key: k}}" for name in ("recovering", "fine")
    )
    text = f"""
model_providers: [{providers}, {{model: openai/default, default: true, access_key: k}}]
routing_preferences:
  - {{name: first, description: one, models: [openai/recovering]}}
  - {{name: second, description: two, models: [openai/fine]}}
cache: {{size: 0}}
failover: {{attempts: 1}}
"""
    router = build_router(settings_of(text), classifier=Wavering({}))
    transport = plano_asgi.transport(settings=settings_of(text), router=router)
    answers = []
    for retry, body in ((0, call()), (1, call()), (2, call()), (0, call(n=1))):
        provider.is_down = retry < 2
        head = {**HEAD, "x-stainless-retry-count": str(retry), **({"idempotency-key": key} if key else {})}
        answers.append(caller.send(transport, f"https://sdk.test{CHAT}", content=body, headers=head))
    router.close()

    assert [heard.call["model"] for heard in provider.heard] == ["recovering", "recovering", "recovering", "fine"]
    assert [answer.status_code for answer in answers] == [502, 502, 200, 200]


def test_call_that_is_tried_again_is_logged_as_any_other(
    provider: Any, settings_of: Callable[[str], Settings], caller: Any, tmp_path: Path
) -> None:
    """A second try that keeps its decision has a line and an entry of its own, out of what is remembered."""
    place = f"base_url: '{provider.url}/v1', access_key: k"
    settings = settings_of(f"""
model_providers: [{{model: openai/recovering, {place}}}, {{model: openai/default, default: true, access_key: k}}]
routing_preferences: [{{name: first, description: one, models: [openai/recovering]}}]
cache: {{size: 0}}
failover: {{attempts: 1}}
decision_log: {{store: sqlite, path: {tmp_path / "log.sqlite"}}}
""")
    router = build_router(settings, classifier=FixedClassifier({"first": 0.9}))
    transport = plano_asgi.transport(settings=settings, router=router)
    with capture_logs() as logs:
        for retry in (0, 1):
            provider.is_down = retry == 0
            head = {**HEAD, "x-stainless-retry-count": str(retry)}
            caller.send(transport, f"https://sdk.test{CHAT}", content=call(), headers=head)
        transport.close()
    router.close()

    store = SqliteDecisions(tmp_path / "log.sqlite", size=9, ttl_s=60)
    entries = [kept.entry for kept in store.newer("0", limit=9)]
    assert [(entry["source"], entry["status"], entry["route"]) for entry in entries] == [
        ("classifier", 502, "first"),
        ("cache", 200, "first"),
    ]
    assert [log["event"] for log in logs if log["event"].startswith("plano.call_")] == [
        *("plano.call_routed", "plano.call_refused", "plano.call_forwarded"),
        *("plano.call_routed", "plano.call_forwarded"),
    ]


def test_memory_of_calls_that_failed_is_bounded() -> None:
    """A thousand calls are remembered; of more, the oldest is forgotten."""
    decided = DecidedCalls()
    again = Headers.from_raw([(b"x-stainless-retry-count", b"1")])
    decision: Any = object()
    for number in range(MOST_KEPT + 1):
        decided.remember(again, str(number).encode(), decision)

    recalled = decided.recall(again, b"1")
    assert decided.recall(again, b"0") is None
    assert recalled is not None
    assert recalled.decision is decision
    assert decided.recall(Headers.from_raw([]), b"1") is None


def test_transport_of_the_other_kind_is_refused_clearly(outbound: Callable[..., Any], caller: Any) -> None:
    """A blocking client cannot send through an async transport, nor the other way round."""
    wrong = httpx2.WSGITransport(app=print) if caller.is_async else httpx2.ASGITransport(app=print)  # type: ignore[arg-type]
    transport = outbound("openai", "fine", inner=wrong)

    with pytest.raises(TypeError, match=r"client sends through an? (async|blocking) transport"):
        caller.send(transport, "https://sdk.test/v1/models", method="GET")


def test_provider_that_cannot_be_called_is_a_fault_at_start_up(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is good for rewriting has to say more where calls are served: keys, and where to."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    file = tmp_path / "plano.yaml"
    file.write_text("model_providers: [{model: openai/gpt-4o, default: true}]", encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"model_providers\[0\].access_key: is required"):
        plano_asgi.transport(config=file)


def test_no_client_is_served_under_another_name(outbound: Callable[..., Any]) -> None:
    """What is of neither library is refused by name."""
    with pytest.raises(TypeError, match="expected an object of httpx or httpx2, got object"):
        outbound("openai", "fine").handle_request(object())
