"""`Measures`: the facts of calls as measurements; no label has more values than the configuration gives it."""

from collections.abc import Mapping, Sequence
from typing import Final

from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import Attempt, PolicySource, RoutingDecision
from plano_asgi.events import (
    CALL_FORWARDED,
    CALL_PASSED_ON,
    CALL_REFUSED,
    CALL_ROUTED,
    CLASSIFIER_READY,
    CONFIGURATION_RELOADED,
    EXPERIMENT_DIFFERS,
    GUARDRAIL,
    LIMIT_HIT,
    MODEL_METRICS_READ,
    SECOND_STAGE_BACK,
    TOKENIZER_READY,
)
from plano_asgi.observe import conventions as names
from plano_asgi.observe import metrics
from plano_asgi.observe.facts import CallOutcome
from plano_asgi.observe.metrics import INLINE, NONE, OTHER, Instruments, Metric
from plano_asgi.providers import ModelCatalog, bare_model

_COUNTED: Final = {
    CALL_PASSED_ON: (metrics.PASSED_ON, ("api_format", "code")),
    CALL_REFUSED: (metrics.REFUSALS, ("api_format", "code")),
    GUARDRAIL: (metrics.GUARDRAILS, ("filter", "of", "verdict")),
    LIMIT_HIT: (metrics.LIMITS, ("limit", "measure")),
}
_NO_PROBLEMS: Final = frozenset(
    {
        *_COUNTED,
        *(CALL_FORWARDED, CALL_ROUTED, CLASSIFIER_READY, CONFIGURATION_RELOADED),
        *(EXPERIMENT_DIFFERS, MODEL_METRICS_READ, SECOND_STAGE_BACK, TOKENIZER_READY),
    }
)


class Measures:
    """Tells measurements to instruments; also those of events, which are the whole process's."""

    def __init__(self, instruments: Sequence[Instruments], *, catalog: ModelCatalog, classifier: str) -> None:
        """Take who is told, and what gives labels their values."""
        self._instruments = tuple(instruments)
        self._models = catalog.models
        self._classifier = classifier
        self._live: tuple[Instruments, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether anybody keeps what is measured; a host may set its telemetry up at any time."""
        if len(self._live) < len(self._instruments):
            self._live = tuple(instruments for instruments in self._instruments if instruments.is_live)
        return bool(self._live)

    def decided(self, call: LLMCall, decision: RoutingDecision, *, waiting: int) -> None:
        """Measure a decision."""
        classifier = decision.decided_by(self._classifier)
        self._put(
            metrics.DECISIONS,
            1,
            call.api_format.value,
            _route(decision),
            self._model(decision.would_use),
            decision.reason.value,
            decision.source.value,
            classifier,
            decision.stage or NONE,
        )
        self._put(metrics.DECISION_SECONDS, decision.latency_ms / 1000, decision.source.value, classifier)
        self._put(metrics.QUEUE, waiting)
        if decision.trial:
            self._put(metrics.EXPERIMENTS, 1, decision.trial.experiment, decision.trial.arm)

    def attempted(self, attempt: Attempt, *, breaker: int) -> None:
        """Measure an attempt, and the state of its model's breaker after it."""
        model = self._model(attempt.model)
        self._put(metrics.ATTEMPTS, 1, model, attempt.outcome)
        self._put(metrics.ATTEMPT_SECONDS, attempt.duration_ms / 1000, model, attempt.outcome)
        self._put(metrics.BREAKER, breaker, model)

    def ended(self, api: str, outcome: CallOutcome) -> None:
        """Measure a call that we have served."""
        decision = outcome.decision
        if decision is None:
            return
        model = self._model(decision.served_by)
        self._put(metrics.CALLS, 1, api, _route(decision), model, outcome.error or outcome.end)
        self._put(metrics.CALL_SECONDS, outcome.duration_s, api, model)
        if outcome.losses:
            self._put(metrics.LOSSES, len(outcome.losses), api, model)
        if outcome.first_word_s is not None:
            self._put(metrics.FIRST_WORD_SECONDS, outcome.first_word_s, model)
        for kind, tokens in _tokens(outcome):
            self._put(metrics.TOKENS, tokens, model, kind)
        if outcome.cost_usd is not None:
            self._put(metrics.COST, outcome.cost_usd, _route(decision), model)
        self._put_conventional(decision.served_by or decision.would_use, outcome)

    def heard(self, event: str, fields: Mapping[str, object]) -> None:
        """Count what has gone wrong, by its event."""
        if not self.is_live:
            return
        if event in _COUNTED:
            metric, names_of_labels = _COUNTED[event]
            self._put(metric, 1, *(str(fields.get(name, NONE)) for name in names_of_labels))
        elif event == EXPERIMENT_DIFFERS:
            self._put(metrics.EXPERIMENTS, 1, str(fields.get("experiment", NONE)), "differs")
        if "error" in fields or event not in _NO_PROBLEMS:
            self._put(metrics.PROBLEMS, 1, event)

    def _put_conventional(self, asked: str | None, outcome: CallOutcome) -> None:
        """Measure a call as OpenTelemetry's conventions name it."""
        if asked not in self._models:
            return
        shared = (names.CHAT, names.provider_name(asked), bare_model(asked))
        self._put(metrics.OPERATION_SECONDS, outcome.duration_s, *shared, outcome.error or "")
        if outcome.first_word_s is not None:
            self._put(metrics.FIRST_CHUNK_SECONDS, outcome.first_word_s, *shared)
        for kind, tokens in _tokens(outcome):
            self._put(metrics.TOKEN_USAGE, tokens, *shared, kind)

    def _put(self, metric: Metric, value: float, *labels: str) -> None:
        for instruments in self._live:
            instruments.put(metric, value, *labels)

    def _model(self, model: str | None) -> str:
        if model is None:
            return NONE
        return model if model in self._models else OTHER


def _route(decision: RoutingDecision) -> str:
    if decision.route is None:
        return NONE
    return INLINE if decision.policy is PolicySource.INLINE else decision.route


def _tokens(outcome: CallOutcome) -> Sequence[tuple[str, int]]:
    counted = (("input", outcome.usage.input_tokens), ("output", outcome.usage.output_tokens))
    return [(kind, tokens) for kind, tokens in counted if tokens is not None and tokens >= 0]
