"""Spans by OpenTelemetry's API: one for each call that we serve, with its attempts; one for each decision.

Without an SDK in the process none of them is recorded, and nothing is computed for them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from time import time_ns
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import Attempt, RoutingDecision
from plano_asgi.events import CallIdentity
from plano_asgi.observe import conventions as names
from plano_asgi.observe.answer_reading import AnswerReader
from plano_asgi.observe.content import content_of_call
from plano_asgi.observe.facts import CallOutcome
from plano_asgi.observe.request_parameters import request_parameters
from plano_asgi.providers import ModelCatalog, bare_model

DECISION_SPAN: Final = "plano.decide"
ATTEMPT_SPAN: Final = "plano.attempt"
MOST_NAME_CHARS: Final = 256
_NS_PER_MS: Final = 1_000_000
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_NOTHING: Final[Mapping[str, object]] = {}


class Tracing:
    """Makes spans; those of a host app are their parents, else what the caller's `traceparent` names."""

    def __init__(
        self,
        catalog: ModelCatalog,
        *,
        classifier: str,
        has_content: bool = False,
        provider: TracerProvider | None = None,
    ) -> None:
        """Get a tracer.

        Args:
            catalog: Where models are served.
            classifier: What decides as usual, as `classifier.kind` names it.
            has_content: Whether spans hold what callers and models say.
            provider: What makes tracers; without it, that of the process.
        """
        self._provider = provider
        self._tracer = trace.get_tracer("plano_asgi", version("plano-asgi"), tracer_provider=provider)
        self._catalog = catalog
        self._classifier = classifier
        self._has_content = has_content

    @property
    def is_live(self) -> bool:
        """Whether there is an SDK behind the API, whose own provider records nothing."""
        return not type(self._provider or trace.get_tracer_provider()).__module__.startswith(trace.__name__)

    def decided(self, call: LLMCall, decision: RoutingDecision, identity: CallIdentity | None) -> None:
        """Record a decision that has just been made, and tell the identity of its call the trace it is in."""
        end = time_ns()
        span = self._tracer.start_span(
            DECISION_SPAN, context=_parent(identity), start_time=end - int(decision.latency_ms * _NS_PER_MS)
        )
        if span.is_recording():
            span.set_attributes({**self._of_call(call, identity), **self._of_decision(decision)})
        _note(span, identity)
        span.end(end)

    def begin(self, call: LLMCall, identity: CallIdentity, body: Mapping[str, object]) -> Span:
        """Return the span of a call that we serve, begun; `body` is what the caller sent; `end` ends it."""
        asked = (call.model or "")[:MOST_NAME_CHARS]
        span = self._tracer.start_span(
            f"{names.CHAT} {asked}".rstrip(),
            context=_parent(identity),
            kind=SpanKind.CLIENT,
            attributes={names.OPERATION: names.CHAT},
        )
        if span.is_recording():
            span.set_attributes(self._of_call(call, identity, body))
            span.set_attributes(request_parameters(body, has_content=self._has_content))
            span.set_attribute(names.REQUEST_STREAM, call.is_stream)
        _note(span, identity)
        return span

    def reader(self, call: LLMCall, span: Span) -> AnswerReader | None:
        """Return what reads along with the answer to a call; None where its span does not hold that."""
        is_read = self._has_content and span.is_recording()
        return AnswerReader(call.api_format, is_stream=call.is_stream) if is_read else None

    @contextmanager
    def within(self, span: Span) -> Iterator[None]:
        """Let spans be the given one's children until the context ends."""
        token = otel_context.attach(trace.set_span_in_context(span))
        try:
            yield
        finally:
            otel_context.detach(token)

    def carried(self, span: Span) -> str | None:
        """Return the `traceparent` that tells a provider of a span; None where there is no trace."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
        return carrier.get("traceparent")

    def attempted(self, span: Span, attempt: Attempt) -> None:
        """Record an attempt that is just over."""
        if not span.is_recording():
            return
        end = time_ns()
        child = self._tracer.start_span(
            ATTEMPT_SPAN,
            context=trace.set_span_in_context(span),
            start_time=end - int(attempt.duration_ms * _NS_PER_MS),
            attributes={
                "plano.model": attempt.model,
                "plano.outcome": attempt.outcome,
                **({"http.response.status_code": attempt.status} if attempt.status else {}),
                **names.server_attributes(self._catalog.provider_of(attempt.model)),
            },
        )
        if attempt.outcome != "answered":
            child.set_attribute(names.ERROR_TYPE, attempt.outcome)
            child.set_status(Status(StatusCode.ERROR))
        child.end(end)

    def end(self, span: Span, outcome: CallOutcome, reader: AnswerReader | None = None) -> None:
        """End the span of a call with what has come of it, and what a reader has heard of its answer."""
        if span.is_recording():
            if outcome.decision:
                self._tell_who(span, outcome.decision)
            span.set_attributes(_of_outcome(outcome))
            if reader and (said := reader.messages(finish=_finish(outcome))):
                span.set_attribute(names.OUTPUT_MESSAGES, said)
            if outcome.error:
                span.set_attribute(names.ERROR_TYPE, outcome.error)
                span.set_status(Status(StatusCode.ERROR))
        span.end()

    def _tell_who(self, span: Span, decision: RoutingDecision) -> None:
        span.set_attributes(self._of_decision(decision))
        model = decision.served_by or decision.would_use
        if model is None:
            return
        span.update_name(f"{names.CHAT} {bare_model(model) or model}")
        span.set_attribute(names.PROVIDER, names.provider_name(model))
        span.set_attribute(names.REQUEST_MODEL, bare_model(model) or model)
        if decision.served_by:
            span.set_attribute(names.RESPONSE_MODEL, bare_model(decision.served_by))
            span.set_attributes(names.server_attributes(self._catalog.provider_of(decision.served_by)))

    def _of_call(
        self, call: LLMCall, identity: CallIdentity | None, body: Mapping[str, object] = _NOTHING
    ) -> names.Attributes:
        told = {
            "plano.api": call.api_format.value,
            "plano.requested_model": call.model and call.model[:MOST_NAME_CHARS],
            "plano.request_id": identity.request_id if identity else None,
        }
        content = content_of_call(call, body) if self._has_content and call.conversation else {}
        return {**{name: value for name, value in told.items() if value is not None}, **content}

    def _of_decision(self, decision: RoutingDecision) -> dict[str, str | float]:
        told: Mapping[str, str | float | None] = {
            "plano.route": decision.route,
            "plano.model": decision.would_use,
            "plano.reason": decision.reason.value,
            "plano.source": decision.source.value,
            "plano.policy": decision.policy.value,
            "plano.confidence": decision.confidence,
            "plano.classifier": decision.decided_by(self._classifier),
            "plano.stage": decision.stage,
            "plano.failed_stage": decision.failed_stage,
            "plano.experiment": decision.trial.experiment if decision.trial else None,
            "plano.experiment_arm": decision.trial.arm if decision.trial else None,
            "plano.decide_ms": round(decision.latency_ms, 3),
        }
        return {name: value for name, value in told.items() if value is not None}


def _of_outcome(outcome: CallOutcome) -> names.Attributes:
    told: Mapping[str, str | int | float | tuple[str, ...] | None] = {
        names.INPUT_TOKENS: outcome.usage.input_tokens,
        names.OUTPUT_TOKENS: outcome.usage.output_tokens,
        names.CACHE_READ_TOKENS: outcome.usage.cached_tokens,
        names.CACHE_WRITE_TOKENS: outcome.usage.cache_write_tokens,
        names.REASONING_TOKENS: outcome.usage.reasoning_tokens,
        names.FIRST_CHUNK: outcome.first_word_s,
        names.RESPONSE_ID: outcome.facts.id,
        names.FINISH_REASONS: outcome.facts.finish_reasons or None,
        "plano.attempts": len(outcome.decision.attempts) if outcome.decision else 0,
        "plano.losses": outcome.losses or None,
        "plano.cost_usd": outcome.cost_usd,
        "plano.status": outcome.status,
        "plano.end": outcome.end,
    }
    return {name: value for name, value in told.items() if value is not None}


def _parent(identity: CallIdentity | None) -> otel_context.Context | None:
    """Return the context of a new span: the current span's, else that of the caller's `traceparent`."""
    if trace.get_current_span().get_span_context().is_valid or identity is None or not identity.traceparent:
        return None
    return _PROPAGATOR.extract({"traceparent": identity.traceparent})


def _note(span: Span, identity: CallIdentity | None) -> None:
    found = span.get_span_context()
    if identity and found.is_valid:
        identity.trace_id = trace.format_trace_id(found.trace_id)


def _finish(outcome: CallOutcome) -> str:
    """Return why the first choice of an answer ended."""
    if outcome.end != "complete":
        return "error"
    return next(iter(outcome.facts.finish_reasons), "stop")
