"""Spans: one for each served call, with its attempts, one for each decision, in the trace of whoever called."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.semconv._incubating.attributes import (
    error_attributes,
    gen_ai_attributes,
    http_attributes,
    server_attributes,
)
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import plano_asgi
from plano_asgi import PlanoMiddleware
from plano_asgi.testing import FixedClassifier

TRACE_ID = "c16d1096c1af4a17abb48fb182918a88"
TRACEPARENT = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}
CHAT = "/v1/chat/completions"
CALL: Mapping[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "canary words of a caller"}]}
CODE = {"code": 0.9}
PUBLISHED = {
    value
    for module in (gen_ai_attributes, server_attributes, error_attributes, http_attributes)
    for value in vars(module).values()
    if isinstance(value, str)
}
DEPRECATED = {"gen_ai.system", "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens", "gen_ai.prompt"}

Behind = Callable[..., PlanoMiddleware]
Ask = Callable[..., httpx.Response]


nobody = Starlette()  # which no call reaches


async def read(request: Request) -> Response:
    """Read a call, and answer nothing."""
    await request.body()
    return Response(status_code=204)


fine = Starlette(routes=[Route(CHAT, read, methods=["POST"])])


def in_a_span(app: ASGIApp) -> ASGIApp:
    """Return an app as a host's instrumentation wraps it."""

    async def traced(scope: Scope, receive: Receive, send: Send) -> None:
        """Serve within a span."""
        with trace.get_tracer("host").start_as_current_span("host"):
            await app(scope, receive, send)

    return traced


def told(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes."""
    return dict(span.attributes or {})


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Return the ids of a span's trace and of itself, as `traceparent` writes them."""
    context = span.get_span_context()
    assert context
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)


def test_served_call_is_a_child_of_the_hosts_span(behind: Behind, ask: Ask, forwarding: str, host: Any) -> None:
    """In a host app's trace, the call's span is the child of the host's own; decision and attempts are its children."""
    ask(in_a_span(behind(nobody, forwarding, FixedClassifier(CODE))), "POST", CHAT, json=CALL, headers=TRACEPARENT)

    call = host.span("chat gpt-4o")
    assert call.parent.span_id == host.span("host").get_span_context().span_id
    children = [
        span for span in host.spans.get_finished_spans() if span.parent and span.parent.span_id == int(ids(call)[1], 16)
    ]
    assert [span.name for span in children] == ["plano.decide", "plano.attempt", "plano.attempt"]
    assert all(call.start_time <= span.start_time <= span.end_time <= call.end_time for span in children)


def test_span_names_the_classifier_of_the_calls_experiment(
    behind: Behind, ask: Ask, forwarding: str, host: Any
) -> None:
    """Where an experiment has decided by a classifier of its own, the span of the decision names that one."""
    own = "{kind: remote, base_url: 'http://127.0.0.1:9/v1'}"
    config = f"{forwarding}\nexperiments: [{{name: all, share: 1.0, classifier: {own}}}]\n"

    ask(behind(nobody, config, FixedClassifier(CODE)), "POST", CHAT, json={**CALL, "model": "auto"})

    assert told(host.span("plano.decide"))["plano.classifier"] == "remote"


def test_span_of_a_call_says_what_the_conventions_ask_for(
    behind: Behind, ask: Ask, forwarding: str, host: Any, provider: Any
) -> None:
    """A call's span has the conventions' attributes, and beside them what was decided and what was tried."""
    body = {**CALL, "stream": True, "model": "auto"}
    ask(behind(nobody, forwarding, FixedClassifier(CODE)), "POST", CHAT, json=body, headers={"x-request-id": "mine"})

    span = host.span("chat gpt-4o")
    said = told(span)
    assert span.kind is SpanKind.CLIENT
    first = said.pop("gen_ai.response.time_to_first_chunk")
    assert 0 < first < 20
    assert 0 < said.pop("plano.decide_ms") < 20_000
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.id": "c",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 4,
        "server.address": "127.0.0.1",
        "server.port": int(provider.url.rpartition(":")[2]),
        "plano.api": "chat_completions",
        "plano.requested_model": "auto",
        "plano.request_id": "mine",
        "plano.route": "code",
        "plano.model": "mistral/down",
        "plano.reason": "matched",
        "plano.source": "classifier",
        "plano.policy": "config",
        "plano.confidence": 0.9,
        "plano.classifier": "fixed",
        "plano.attempts": 2,
        "plano.cost_usd": 0.015,
        "plano.status": 200,
        "plano.end": "complete",
    }


def test_attempts_are_spans_with_their_outcome(behind: Behind, ask: Ask, forwarding: str, host: Any) -> None:
    """Each attempt says whom it asked and what came of it; one that failed is an error."""
    ask(behind(nobody, forwarding, FixedClassifier(CODE)), "POST", CHAT, json=CALL)

    failed, good = (span for span in host.spans.get_finished_spans() if span.name == "plano.attempt")
    assert (told(failed)["plano.model"], told(failed)["error.type"]) == ("mistral/down", "server_error")
    assert told(failed)["http.response.status_code"] == 503
    assert failed.status.status_code is StatusCode.ERROR
    assert (told(good)["plano.outcome"], "error.type" in told(good)) == ("answered", False)
    assert failed.end_time <= good.start_time


def test_call_that_nobody_answers_is_an_error(behind: Behind, ask: Ask, forwarding: str, host: Any) -> None:
    """A call that every model fails is a span in error, with the status that the caller was given."""
    alone = forwarding.replace("[mistral/down, openai/gpt-4o]", "[mistral/down]") + "failover: {attempts: 1}\n"
    ask(behind(nobody, alone, FixedClassifier(CODE)), "POST", CHAT, json=CALL)

    span = host.span("chat down")
    assert span.status.status_code is StatusCode.ERROR
    assert (told(span)["error.type"], told(span)["plano.status"]) == ("502", 502)
    assert "gen_ai.response.model" not in told(span)


def test_undecided_call_ends_its_span(behind: Behind, ask: Ask, forwarding: str, host: Any) -> None:
    """A call that is refused since nothing could decide it is a span too, in error, and is not left open."""
    refusing = forwarding + "routing: {on_error: reject}\n"
    broken = FixedClassifier(CODE, before=lambda: 1 / 0)
    ask(behind(nobody, refusing, broken), "POST", CHAT, json=CALL)

    assert told(host.span("chat gpt-4o"))["error.type"] == "503"


@pytest.mark.parametrize("way", ["served", "decided", "rewritten"])
def test_callers_trace_goes_on(way: str, behind: Behind, ask: Ask, forwarding: str, host: Any) -> None:
    """Where the host has no span of its own, the caller's `traceparent` names the parent."""
    text = forwarding if way == "served" else forwarding.replace("mode: forward", "mode: rewrite")
    path = "/routing/v1/chat/completions" if way == "decided" else CHAT
    answer = ask(behind(fine, text, FixedClassifier(CODE)), "POST", path, json=CALL, headers=TRACEPARENT)

    span = host.span("chat gpt-4o" if way == "served" else "plano.decide")
    assert ids(span)[0] == TRACE_ID
    assert trace.format_span_id(span.parent.span_id) == "00f067aa0ba902b7"
    if way == "decided":
        assert answer.json()["trace_id"] == TRACE_ID


def test_answer_of_a_decision_endpoint_names_the_trace_of_its_span(
    behind: Behind, ask: Ask, forwarding: str, host: Any
) -> None:
    """Without a `traceparent`, `trace_id` is that of the span that the decision has made."""
    app = behind(fine, forwarding, FixedClassifier(CODE))

    answer = ask(app, "POST", "/routing/v1/chat/completions", json=CALL)

    assert answer.json()["trace_id"] == ids(host.span("plano.decide"))[0]


def test_provider_hears_of_the_calls_span_and_of_no_baggage(
    behind: Behind, ask: Ask, forwarding: str, host: Any, provider: Any
) -> None:
    """The provider is sent the `traceparent` of the call's span, and nothing else that the caller's tracing carries."""
    sent = {**TRACEPARENT, "baggage": "user=42", "tracestate": "vendor=secret"}
    ask(behind(nobody, forwarding, FixedClassifier(CODE)), "POST", CHAT, json=CALL, headers=sent)

    heard = provider.heard[-1]
    assert heard["traceparent"] == f"00-{TRACE_ID}-{ids(host.span('chat gpt-4o'))[1]}-01"
    assert not {"baggage", "tracestate"} & heard.keys()


def test_direct_use_of_a_router_makes_a_span(tmp_path: Any, host: Any) -> None:
    """A host that loads a router and asks it by itself gets spans of its decisions, too."""
    path = tmp_path / "plano.yaml"
    path.write_text("model_providers: [{model: openai/gpt-4o-mini, default: true}]", encoding="utf-8")
    router = plano_asgi.load_router(path)

    with trace.get_tracer("host").start_as_current_span("host"):
        router.route(plano_asgi.LLMCall.from_text("hello"))
    router.close()

    assert host.span("plano.decide").parent.span_id == host.span("host").get_span_context().span_id


def test_attributes_are_published_or_our_own(behind: Behind, ask: Ask, forwarding: str, host: Any) -> None:
    """No span has an attribute outside of the conventions' list and `plano.*`, nor one that is out of use."""
    app = behind(nobody, forwarding, FixedClassifier(CODE))
    for more in ({}, {"stream": True}):
        ask(app, "POST", CHAT, json={**CALL, **more})

    names = {name for span in host.spans.get_finished_spans() for name in told(span)}
    assert len(names) > 20
    assert {name for name in names if not name.startswith("plano.")} <= PUBLISHED - DEPRECATED


def test_process_without_telemetry_pays_for_none(behind: Behind, ask: Ask, forwarding: str, host: Any) -> None:
    """`telemetry.opentelemetry: false` makes no span, whatever the host has set up."""
    app = behind(nobody, f"{forwarding}telemetry: {{opentelemetry: false}}\n", FixedClassifier(CODE))

    assert ask(app, "POST", CHAT, json=CALL).status_code == 200
    assert host.spans.get_finished_spans() == ()


def test_starlette_app_of_serve_makes_spans(
    app_of: Callable[..., Starlette], ask: Ask, forwarding: str, host: Any
) -> None:
    """The app of `plano-asgi serve` is in the process's trace, too, where somebody else has set that up."""
    ask(app_of(forwarding, FixedClassifier(CODE)), "POST", CHAT, json=CALL)

    assert told(host.span("chat gpt-4o"))["plano.route"] == "code"
