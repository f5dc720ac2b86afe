"""`CallObserver`: one call's facts, told to spans, metrics and the decision log; none of them can fail the call."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import Attempt, RoutingDecision
from plano_asgi.events import OBSERVER_FAILED, CallIdentity, current_identity, get_logger, identified
from plano_asgi.observe.facts import CallOutcome
from plano_asgi.observe.journal import DecisionJournal
from plano_asgi.observe.measures import Measures
from plano_asgi.prices import PriceList

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from plano_asgi.observe.answer_reading import AnswerReader
    from plano_asgi.observe.tracing import Tracing

RawHeaders = Iterable[tuple[bytes, bytes]]
_NOTHING: Final[Mapping[str, object]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallObserver:
    """Who watches the calls of one service.

    Attributes:
        tracing: What makes spans; None where OpenTelemetry is not there, or not wanted.
        measures: What measures; None where nobody reads metrics.
        journal: What keeps decisions; None where nobody reads them.
        prices: What models cost; None where nobody knows.
    """

    tracing: "Tracing | None" = None
    measures: Measures | None = None
    journal: DecisionJournal | None = None
    prices: PriceList | None = None

    def decided(self, call: LLMCall, decision: RoutingDecision, *, waiting: int) -> None:
        """Take note of a decision, just made; called on any thread, and never raises."""
        try:
            identity = current_identity()
            if self.tracing and self.tracing.is_live:
                self.tracing.decided(call, decision, identity)
            if self.measures and self.measures.is_live:
                self.measures.decided(call, decision, waiting=waiting)
            if self.journal:
                self.journal.decided(call, decision, identity)
        except Exception as error:  # noqa: BLE001 - whatever a library of the host's raises
            _tell_of(error)

    def begin(self, call: LLMCall, identity: CallIdentity, body: Mapping[str, object] = _NOTHING) -> "ObservedCall":
        """Return the observation of a call that we serve, begun; its `ended` is to be called once.

        Args:
            call: The call, as it may be told of.
            identity: What it is known by.
            body: What it was read from, by the names of its fields; empty where nothing of that may be told.
        """
        identity.is_served = True
        span = reader = None
        with _harmless():
            if self.tracing and self.tracing.is_live:
                span = self.tracing.begin(call, identity, body)
                reader = self.tracing.reader(call, span)
        return ObservedCall(
            observer=self, api=call.api_format.value, identity=identity, span=span, answer_reader=reader
        )

    def close(self) -> None:
        """Have everything written that is still to be written."""
        if self.journal:
            self.journal.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedCall:
    """One call that we serve, while it is watched.

    Attributes:
        observer: Who watches.
        api: The caller's API.
        identity: What the call is known by.
        span: Its span; None where there is no tracing.
        answer_reader: What is to hear of its answer; None where nobody wants to see that.
    """

    observer: CallObserver
    api: str
    identity: CallIdentity
    span: "Span | None" = field(default=None, repr=False)
    answer_reader: "AnswerReader | None" = field(default=None, repr=False)

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Let what is decided, logged and recorded until the context ends be the call's."""
        with identified(self.identity):
            if self.span is None or self.observer.tracing is None:
                yield
                return
            with self.observer.tracing.within(self.span):
                yield

    def carried(self, headers: RawHeaders) -> list[tuple[bytes, bytes]]:
        """Return a caller's headers with the `traceparent` that leads to this call's span, where there is one."""
        kept = list(headers)
        carried = self.observer.tracing.carried(self.span) if self.span and self.observer.tracing else None
        if carried is None:
            return kept
        return [
            *((name, value) for name, value in kept if name.lower() != b"traceparent"),
            (b"traceparent", carried.encode()),
        ]

    def trail(self, breaker_of: Callable[[str], int]) -> "Trail":
        """Return an empty trail whose attempts are observed as they are over.

        Args:
            breaker_of: Tells the state of a model's breaker: 0 closed, 1 half open, 2 open.
        """
        return Trail(self, breaker_of)

    def attempted(self, attempt: Attempt, *, breaker: int) -> None:
        """Take note of an attempt that is just over; never raises."""
        with _harmless():
            if self.span and self.observer.tracing:
                self.observer.tracing.attempted(self.span, attempt)
            if self.observer.measures and self.observer.measures.is_live:
                self.observer.measures.attempted(attempt, breaker=breaker)

    def left_alone(self) -> None:
        """Take note that the call is not served here after all; never raises."""
        with _harmless():
            if self.span:
                self.span.set_attribute("plano.end", "left_alone")
                self.span.end()
            if self.observer.journal:
                self.observer.journal.left_alone(self.identity)

    def ended(self, outcome: CallOutcome) -> None:
        """Take note of how the call has ended; never raises."""
        with _harmless():
            outcome = outcome.priced(self.observer.prices) if self.observer.prices else outcome
            if self.span and self.observer.tracing:
                self.observer.tracing.end(self.span, outcome, self.answer_reader)
            if self.observer.measures and self.observer.measures.is_live:
                self.observer.measures.ended(self.api, outcome)
            if self.observer.journal:
                self.observer.journal.ended(self.identity, outcome)


class Trail(list[Attempt]):
    """The attempts of one call, each observed as it is appended."""

    def __init__(self, observed: ObservedCall, breaker_of: Callable[[str], int]) -> None:
        """Start without an attempt."""
        super().__init__()
        self._observed = observed
        self._breaker_of = breaker_of

    def append(self, attempt: Attempt) -> None:
        """Add an attempt that is just over."""
        super().append(attempt)
        self._observed.attempted(attempt, breaker=self._breaker_of(attempt.model))


@contextmanager
def _harmless() -> Iterator[None]:
    """Let nothing that goes wrong in watching a call become the call's."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever a library of the host's raises
        _tell_of(error)


def _tell_of(error: Exception) -> None:
    get_logger().warning(OBSERVER_FAILED, error=type(error).__name__)
