"""The decision itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType

from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import PolicySource, Reason, RoutingDecision, Scores, Source
from plano_asgi.policy.tempering import tempered
from plano_asgi.preferences import RoutingPolicy


class Unmatched(StrEnum):
    """What serves a call that no route matches."""

    DEFAULT = "default"
    REQUESTED = "requested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How decisions are made.

    Attributes:
        threshold: Least confidence in [0, 1] that selects a route.
        default_model: The model for calls that no route matches, or None.
        unmatched: Whether such calls get the default model or keep the one the client named.
        applies_to: Patterns (`*`, `auto`, `openai/*`) of models a client may name and still be routed.
        temperature: By what the classifier's confidence is corrected, see `tempered`; 1 leaves it as it is.
        thresholds: Least confidence in [0, 1] of those routes of the configured policy that have one of their own.
    """

    threshold: float
    default_model: str | None
    unmatched: Unmatched = Unmatched.DEFAULT
    applies_to: tuple[str, ...] = ("*",)
    temperature: float = 1.0
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the mapping."""
        object.__setattr__(self, "thresholds", MappingProxyType(dict(self.thresholds)))

    def threshold_of(self, route: str, *, policy_source: PolicySource = PolicySource.CONFIG) -> float:
        """Return the least confidence that selects a route; one of an inline policy is another, whatever its name."""
        if policy_source is PolicySource.INLINE:
            return self.threshold
        return self.thresholds.get(route, self.threshold)

    def apply_to(self, call: LLMCall) -> bool:
        """Return whether the call is routed at all; one that names no model always is."""
        return call.model is None or any(fnmatchcase(call.model, pattern) for pattern in self.applies_to)


def decide(  # noqa: PLR0913 - the whole of what a decision depends on
    call: LLMCall,
    policy: RoutingPolicy,
    scores: Scores,
    *,
    rules: Rules,
    source: Source,
    policy_source: PolicySource,
) -> RoutingDecision:
    """Return the best-scored route if it reaches its threshold, else no match; ties go to the earlier route.

    Confidence and scores of the decision are those that the rules' temperature makes of the classifier's. Raising a
    threshold never adds a match.
    """
    scores = tempered(scores, rules.temperature)
    best = policy.named(best_route(scores, (preference.name for preference in policy.preferences)))
    confidence = scores.routes[best.name]
    least = rules.threshold_of(best.name, policy_source=policy_source) if scores.threshold is None else scores.threshold
    is_match = confidence >= least
    return RoutingDecision(
        route=best.name if is_match else None,
        models=best.models if is_match else (),
        would_use=best.models[0] if is_match else _unmatched_model(call, rules),
        reason=Reason.MATCHED if is_match else Reason.NO_MATCH,
        source=source,
        policy=policy_source,
        confidence=confidence,
        scores=scores,
        threshold=least,
    )


def best_route(scores: Scores, routes: Iterable[str]) -> str:
    """Return that of the routes, at least one, which has the highest score; the first of several that have."""
    return max(routes, key=scores.routes.__getitem__)


def undecided(call: LLMCall, *, rules: Rules, reason: Reason, policy_source: PolicySource) -> RoutingDecision:
    """Return the decision of a call that was not classified, for the reason given.

    A call that was bypassed or to which routing does not apply keeps the model it names.
    """
    keeps_model = reason in {Reason.BYPASSED, Reason.NOT_APPLICABLE} and call.model is not None
    return RoutingDecision(
        route=None,
        models=(),
        would_use=call.model if keeps_model else _unmatched_model(call, rules),
        reason=reason,
        source=Source.NONE,
        policy=policy_source,
    )


def _unmatched_model(call: LLMCall, rules: Rules) -> str | None:
    if rules.unmatched is Unmatched.REQUESTED:
        return call.model or rules.default_model
    return rules.default_model
