"""Calls on their way out are observed, continued, governed and tried again as calls that come in are."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

import plano_asgi
from plano_asgi.assembly import build_router
from plano_asgi.errors import ClassificationError
from plano_asgi.observe.sqlite_decisions import SqliteDecisions
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

SDK: Final = "https://sdk.test"
CHAT: Final = "/v1/chat/completions"
RESPONSES: Final = "/v1/responses"
CALL: Final[Mapping[str, Any]] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}


class Elsewhere:
    """Where calls go that are left alone: remembers their bodies."""

    def __init__(self, caller: Any) -> None:
        """Remember nothing yet."""
        self.heard: list[dict[str, Any]] = []
        self._library = caller.library
        make = caller.library.AsyncHTTPTransport if caller.is_async else caller.library.HTTPTransport
        self._network = make()

    def handle_request(self, request: Any) -> Any:
        """Answer what was going to the SDK's provider; send the rest."""
        if request.url.host != "sdk.test":
            return self._network.handle_request(request)
        return self._heard(request)

    async def handle_async_request(self, request: Any) -> Any:
        """Do the same for an async client."""
        if request.url.host != "sdk.test":
            return await self._network.handle_async_request(request)
        return self._heard(request)

    def _heard(self, request: Any) -> Any:
        self.heard.append(json.loads(request.content))
        return self._library.Response(200, headers={"x-elsewhere": "yes"}, json={})


def entries_of(path: Path) -> list[Mapping[str, Any]]:
    """Return what a decision log holds, the oldest first."""
    return [kept.entry for kept in SqliteDecisions(path, size=100, ttl_s=600).newest()][::-1]


@pytest.fixture
def logged(outbound: Callable[..., Any], tmp_path: Path) -> tuple[Callable[..., Any], Path]:
    """Return what makes a transport that keeps a decision log, and where that is."""
    path = tmp_path / "decisions.sqlite"

    def make(*models: str, more: str = "", **options: Any) -> Any:
        return outbound("openai", *models, more=f"{more}\ndecision_log: {{store: sqlite, path: {path}}}", **options)

    return make, path


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_served_call_is_in_the_decision_log_with_what_came_of_it(
    logged: tuple[Callable[..., Any], Path], caller: Any, *, stream: bool
) -> None:
    """There is one entry, with the caller's request id, the decision, and how the call has ended."""
    make, path = logged
    head = {"x-request-id": "mine", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}

    caller.send(make("fine"), SDK + CHAT, json={**CALL, "stream": stream}, headers=head)

    (entry,) = entries_of(path)
    assert (entry["request_id"], entry["trace_id"]) == ("mine", "a" * 32)
    assert (entry["route"], entry["served_by"], entry["status"]) == ("code", "openai/fine", 200)
    assert (entry["end"], entry["output_tokens"]) == ("complete", 4)


@pytest.mark.parametrize(
    "case",
    [
        ("observe", "", {}),
        ("rewrite", "routing: {sample: 0.0}", {}),
        ("rewrite", "", {"x-plano-routing": "off"}),
    ],
    ids=["observe", "sample", "bypassed"],
)
def test_call_that_is_left_alone_is_in_the_decision_log(
    case: tuple[str, str, Mapping[str, str]], logged: tuple[Callable[..., Any], Path], caller: Any
) -> None:
    """Its entry has the caller's request id and the decision, and nothing of an outcome."""
    (mode, more, headers), (make, path) = case, logged
    elsewhere = Elsewhere(caller)
    transport = make("fine", mode=mode, more=more, inner=elsewhere)

    caller.send(transport, SDK + CHAT, json=CALL, headers={"x-request-id": "mine", **headers})

    (entry,) = entries_of(path)
    assert entry["request_id"] == "mine"
    assert entry["reason"] == ("bypassed" if headers else "matched")
    assert "status" not in entry
    assert elsewhere.heard == [CALL]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Return what has the spans of a host that records them."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(trace, "get_tracer", lambda name, *_, **__: provider.get_tracer(name))
    return exporter


def test_decision_and_attempt_are_below_the_calls_span(
    recorded: InMemorySpanExporter, outbound: Callable[..., Any], caller: Any
) -> None:
    """The spans of one call are one trace, under the span of the call."""
    caller.send(outbound("openai", "fine"), SDK + CHAT, json=CALL, headers={"x-request-id": "mine"})

    spans = {span.name: span for span in recorded.get_finished_spans()}
    call = spans["chat fine"]
    for name in ("plano.decide", "plano.attempt"):
        parent = spans[name].parent
        assert parent is not None
        assert call.context is not None
        assert parent.span_id == call.context.span_id
    assert (spans["plano.decide"].attributes or {})["plano.request_id"] == "mine"


def test_span_of_a_call_that_is_left_alone_says_so(
    recorded: InMemorySpanExporter, outbound: Callable[..., Any], caller: Any
) -> None:
    """Its span ends when that is known."""
    transport = outbound("openai", "fine", inner=Elsewhere(caller))

    caller.send(transport, SDK + CHAT, json=CALL, headers={"x-plano-routing": "off"})

    (call,) = (span for span in recorded.get_finished_spans() if span.name.startswith("chat"))
    assert (call.attributes or {})["plano.end"] == "left_alone"


class Hearing(FixedClassifier):
    """A classifier that remembers how much it was shown."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        super().__init__({"code": 0.9})
        self.lengths: list[int] = []

    def classify(self, conversation: Any, *arguments: Any, **more: Any) -> Any:
        """Remember a length."""
        self.lengths.append(len(conversation))
        return super().classify(conversation, *arguments, **more)


@pytest.fixture
def conversing(provider: Any, settings_of: Callable[[str], Settings], caller: Any) -> Callable[..., Any]:
    """Return what makes a sender whose calls share one transport's memory of responses."""

    def make(
        maker: str, *, mode: str = "rewrite", sample: float = 1.0
    ) -> tuple[Callable[..., Any], Hearing, Elsewhere]:
        settings = settings_of(f"""
mode: {mode}
model_providers:
  - {{model: {maker}/fine, default: true, access_key: k, base_url: '{provider.url}/v1'}}
  - {{model: {maker}/other, access_key: k, base_url: '{provider.url}/v1'}}
routing_preferences: [{{name: code, description: writing code, models: [{maker}/fine]}}]
routing: {{applies_to: [auto], sample: {sample}, decide_on: every_call}}
""")
        classifier, elsewhere = Hearing(), Elsewhere(caller)
        router = build_router(settings, classifier=classifier)
        transport = plano_asgi.transport(elsewhere, settings=settings, router=router)
        return (lambda **body: caller.send(transport, SDK + RESPONSES, json=body)), classifier, elsewhere

    return make


def test_continued_call_is_decided_with_all_that_was_said(conversing: Callable[..., Any]) -> None:
    """The second turn is classified with the first and its answer."""
    send, classifier, _ = conversing("own")
    first = send(model="auto", input="first").json()["id"]

    assert send(model="auto", input="second", previous_response_id=first).status_code == 200
    assert classifier.lengths == [1, 3]


@pytest.mark.parametrize("mode", ["rewrite", "forward"])
def test_id_of_ours_is_never_sent_elsewhere(mode: str, conversing: Callable[..., Any]) -> None:
    """A call that goes on from an answer of ours is served here, or refused, whatever model it names."""
    send, _, elsewhere = conversing("own", mode=mode)
    first = send(model="auto", input="first").json()["id"]

    refused = send(model="gpt-4o", input="second", previous_response_id=first)
    served = send(model="own/other", input="second", previous_response_id=first)

    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert (served.status_code, served.headers["x-plano-model"]) == (200, "own/other")
    assert elsewhere.heard == []


def test_call_goes_to_whoever_keeps_what_it_goes_on_from(conversing: Callable[..., Any], provider: Any) -> None:
    """Where the provider keeps answers itself, its model is asked again, and nothing is classified for that."""
    send, classifier, elsewhere = conversing("openai")
    first = send(model="auto", input="first").json()["id"]

    send(model="gpt-4o", input="second", previous_response_id=first)

    assert [heard.call["model"] for heard in provider.heard] == ["fine", "fine"]
    assert (classifier.lengths, elsewhere.heard) == ([1], [])


@pytest.mark.parametrize(
    "case", [("rewrite", "auto", 200), ("rewrite", "gpt-4o", 200), ("forward", "gpt-4o", 200), ("forward", "auto", 400)]
)
def test_id_that_is_not_ours_goes_where_it_was_going(
    case: tuple[str, str, int], conversing: Callable[..., Any]
) -> None:
    """Only where all that is routed is to be served here, a call that goes on from nothing known is refused."""
    mode, model, status = case
    send, _, elsewhere = conversing("own", mode=mode)

    answer = send(model=model, input="second", previous_response_id="resp_of_theirs")

    assert answer.status_code == status
    assert [heard["previous_response_id"] for heard in elsewhere.heard] == ["resp_of_theirs"] * (status == 200)


class FailsOnce(FixedClassifier):
    """A classifier that has no answer the first time."""

    def classify(self, *arguments: Any, **more: Any) -> Any:
        """Fail, and then answer."""
        scores = super().classify(*arguments, **more)
        if len(self.calls) == 1:
            raise ClassificationError("not yet")
        return scores


def test_call_that_was_refused_is_ours_when_it_is_tried_again(
    configured: Callable[..., str], settings_of: Callable[[str], Settings], caller: Any
) -> None:
    """Where a share of calls is served, a call that could not be decided is in it when the SDK tries it again."""
    more = "routing: {on_error: reject, sample: 0.9999999}\ncache: {size: 0}"
    settings = settings_of(configured("openai", "fine", more=more).replace("mode: forward", "mode: rewrite"))
    router, elsewhere = build_router(settings, classifier=FailsOnce({"code": 0.9})), Elsewhere(caller)
    transport = plano_asgi.transport(elsewhere, settings=settings, router=router)

    answers = [
        caller.send(transport, SDK + CHAT, json=CALL, headers={"x-stainless-retry-count": str(retry)})
        for retry in (0, 1)
    ]
    router.close()

    assert [answer.status_code for answer in answers] == [503, 200]
    assert elsewhere.heard == []


def test_callers_are_told_of_limits_and_costs(outbound: Callable[..., Any], caller: Any) -> None:
    """An answer, and the refusal of a call beyond a limit, have the headers that the gateway gives."""
    more = """
ratelimits: [{name: two, limit: {requests: 1, unit: day}}]
prices: {openai/fine: {input: 1, output: 1}}
"""
    transport = outbound("openai", "fine", more=more)
    served, refused = (caller.send(transport, SDK + CHAT, json=CALL) for _ in range(2))

    assert [answer.status_code for answer in (served, refused)] == [200, 429]
    assert served.headers["x-plano-cost"] == "0.000011000"
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in (served, refused)] == ["0", "0"]


@pytest.mark.parametrize("how", ["not applicable", "bypassed"])
def test_alias_is_served_here(how: str, outbound: Callable[..., Any], caller: Any, provider: Any) -> None:
    """An alias is never left to the client's provider, which does not know it."""
    more = "model_aliases: {fast: {target: openai/fine}}\nrouting: {applies_to: [auto]}"
    elsewhere = Elsewhere(caller)
    headers = {"x-plano-routing": "off"} if how == "bypassed" else {}

    transport = outbound("openai", "fine", more=more, inner=elsewhere)
    answer = caller.send(transport, SDK + CHAT, json={**CALL, "model": "fast"}, headers=headers)

    assert (answer.status_code, answer.headers["x-plano-model"]) == (200, "openai/fine")
    assert [heard.call["model"] for heard in provider.heard] == ["fine"]
    assert elsewhere.heard == []


def test_file_is_not_said_to_limit_less_than_the_transport_does(tmp_path: Path) -> None:
    """In mode `rewrite` a transport sees answers, so that budgets act; the mode stays what the file says."""
    file = tmp_path / "plano.yaml"
    file.write_text(
        "model_providers: [{model: openai/gpt-4o, default: true, access_key: k}]\n"
        "prices: {openai/gpt-4o: {input: 1, output: 1}}\n"
        "budgets: [{amount: 1, period: day}]\n",
        encoding="utf-8",
    )
    with capture_logs() as transports:
        plano_asgi.transport(config=file).close()
    with capture_logs() as middlewares:
        settings = plano_asgi.load_settings(file)

    assert not any(line["event"] == "plano.settings_ignored" for line in transports)
    assert any(line["event"] == "plano.settings_ignored" for line in middlewares)
    assert settings.mode == "rewrite"
