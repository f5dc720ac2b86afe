"""The decision itself."""

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import PolicySource, Reason, RoutingDecision, Scores, Source
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
    """

    threshold: float
    default_model: str | None
    unmatched: Unmatched = Unmatched.DEFAULT
    applies_to: tuple[str, ...] = ("*",)

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
    """Return the best-scored route that reaches the threshold, else no match; ties go to the earlier route.

    Raising the threshold never adds a match.
    """
    best = max(policy.preferences, key=lambda preference: scores.routes[preference.name])
    confidence = scores.routes[best.name]
    is_match = confidence >= rules.threshold
    return RoutingDecision(
        route=best.name if is_match else None,
        models=best.models if is_match else (),
        would_use=best.models[0] if is_match else _unmatched_model(call, rules),
        reason=Reason.MATCHED if is_match else Reason.NO_MATCH,
        source=source,
        policy=policy_source,
        confidence=confidence,
        scores=scores,
    )


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
