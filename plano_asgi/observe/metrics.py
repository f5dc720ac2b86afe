"""The metrics there are: one table, from which both Prometheus and OpenTelemetry are served."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from plano_asgi.observe import conventions as names

NONE: Final = "none"
OTHER: Final = "other"
INLINE: Final = "inline"


class MetricKind(StrEnum):
    """What a metric does with a value."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        name: As OpenTelemetry writes it.
        kind: What it does with a value.
        help: What it tells, for people.
        labels: Names of its labels; their values come from the configuration, or from closed lists.
        unit: As UCUM writes it: `s`, `{token}`; empty for a plain count.
        buckets: Upper bounds of a histogram's buckets.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """The name under which Prometheus finds it."""
        unit = "_seconds" if self.unit == "s" else ""
        return self.name.replace(".", "_") + unit + ("_total" if self.kind is MetricKind.COUNTER else "")


class Instruments(Protocol):
    """Takes measurements."""

    @property
    def is_live(self) -> bool:
        """Whether anybody keeps what is measured; once that is so, it stays so."""

    def put(self, metric: Metric, value: float, *labels: str) -> None:
        """Add to a counter, record in a histogram, or set a gauge; the labels' values in the metric's order."""


_QUICK: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_LONG: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


def _counter(name: str, told: str, *labels: str) -> Metric:
    return Metric(name=name, kind=MetricKind.COUNTER, help=told, labels=labels)


def _gauge(name: str, told: str, *labels: str) -> Metric:
    return Metric(name=name, kind=MetricKind.GAUGE, help=told, labels=labels)


def _seconds(name: str, told: str, *labels: str, buckets: tuple[float, ...] = _LONG) -> Metric:
    return Metric(name=name, kind=MetricKind.HISTOGRAM, help=told, labels=labels, unit="s", buckets=buckets)


DECISIONS: Final = _counter(
    "plano.decisions",
    "Decisions, by what came of them; source cache is the cache's hits, stage a cascade's shares.",
    *("api", "route", "model", "reason", "source", "classifier", "stage"),
)
DECISION_SECONDS: Final = _seconds(
    "plano.decision.duration", "Time from call to decision.", "source", "classifier", buckets=_QUICK
)
QUEUE: Final = _gauge("plano.queue.depth", "Classifications under way or waiting, at the latest decision.")
PROBLEMS: Final = _counter(
    "plano.problems", "What went wrong and was survived: a classifier, a cache, a store; by event.", "event"
)
EXPERIMENTS: Final = _counter(
    "plano.experiments", "Calls of experiments: variant and shadow, and shadows that differ.", "experiment", "outcome"
)
REFUSALS: Final = _counter("plano.refusals", "Calls that were answered with an error of ours.", "api", "code")
PASSED_ON: Final = _counter("plano.passed_on", "Calls that went on unrouted, since they were not read.", "api", "code")
CALLS: Final = _counter(
    "plano.calls", "Calls that were served here, by how they ended.", "api", "route", "model", "end"
)
CALL_SECONDS: Final = _seconds("plano.call.duration", "Time from call to the end of its answer.", "api", "model")
FIRST_WORD_SECONDS: Final = _seconds("plano.first_token.duration", "Time to the first word of a stream.", "model")
ATTEMPTS: Final = _counter("plano.attempts", "Attempts to have a call served, by outcome.", "model", "outcome")
ATTEMPT_SECONDS: Final = _seconds(
    "plano.attempt.duration", "Time until an answer began, or the attempt failed.", "model", "outcome"
)
BREAKER: Final = _gauge("plano.breaker.state", "At a model's latest attempt: 0 closed, 1 half open, 2 open.", "model")
TOKENS: Final = _counter("plano.tokens", "Tokens as providers count them.", "model", "type")
COST: Final = _counter("plano.cost.usd", "US dollars that calls have cost, where prices are known.", "route", "model")
LIMITS: Final = _counter("plano.limits.hit", "Attempts for which a limit or budget had no room.", "limit", "measure")
GUARDRAILS: Final = _counter(
    "plano.guardrails", "What guardrails have found, changed or stopped, or could not judge.", "filter", "of", "verdict"
)
LOSSES: Final = _counter("plano.losses", "Things that a translation could not carry.", "api", "model")

METRICS: Final = (
    *(DECISIONS, DECISION_SECONDS, QUEUE, PROBLEMS, REFUSALS, PASSED_ON, CALLS, CALL_SECONDS, FIRST_WORD_SECONDS),
    *(ATTEMPTS, ATTEMPT_SECONDS, BREAKER, TOKENS, COST, LIMITS, GUARDRAILS, LOSSES, EXPERIMENTS),
)

_GENAI: Final = (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL)
OPERATION_SECONDS: Final = _seconds(
    "gen_ai.client.operation.duration", "GenAI operation duration.", *_GENAI, names.ERROR_TYPE
)
FIRST_CHUNK_SECONDS: Final = _seconds(
    "gen_ai.client.operation.time_to_first_chunk", "Time to receive the first chunk.", *_GENAI
)
TOKEN_USAGE: Final = Metric(
    name="gen_ai.client.token.usage",
    kind=MetricKind.HISTOGRAM,
    help="Number of input and output tokens used.",
    labels=(*_GENAI, names.KIND_OF_TOKENS),
    unit="{token}",
    buckets=_TOKENS,
)

GENAI_METRICS: Final = (OPERATION_SECONDS, FIRST_CHUNK_SECONDS, TOKEN_USAGE)
"""What OpenTelemetry's conventions name; Prometheus has the same under names of ours."""
