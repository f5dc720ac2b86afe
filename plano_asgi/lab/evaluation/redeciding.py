"""What would have been decided by other rules. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from plano_asgi.lab.evaluation.figures import Outcome
from plano_asgi.policy import Rules, best_route, tempered


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """How a router does with one threshold for all routes. Shares are in [0, 1].

    Attributes:
        threshold: The least confidence that selects a route.
        accuracy: Share of all cases decided rightly.
        in_scope_accuracy: The same of the cases that a route is right for; None where there are none.
        abstention: Share of all cases for which no route is chosen; failures are none of them.
    """

    threshold: float
    accuracy: float
    in_scope_accuracy: float | None
    abstention: float


def redecided(outcome: Outcome, rules: Rules) -> Outcome:
    """Return what the rules would have made of an outcome's scores; one without scores is returned as it is."""
    if outcome.scores is None:
        return outcome
    scores = tempered(outcome.scores, rules.temperature)
    best = best_route(scores, scores.routes)
    is_match = scores.routes[best] >= rules.threshold_of(best)
    route, confidence = (best, scores.routes[best]) if is_match else (None, scores.other)
    return replace(outcome, route=route, confidence=confidence, scores=scores)


def sweep(outcomes: Sequence[Outcome], thresholds: Iterable[float]) -> tuple[SweepPoint, ...]:
    """Return how the router that made the outcomes, at least one, would do at each of the thresholds."""
    return tuple(_point(outcomes, Rules(threshold=threshold, default_model=None)) for threshold in thresholds)


def _point(outcomes: Sequence[Outcome], rules: Rules) -> SweepPoint:
    decided = [redecided(outcome, rules) for outcome in outcomes]
    in_scope = [each.is_right for each in decided if each.expect is not None]
    return SweepPoint(
        threshold=rules.threshold,
        accuracy=sum(each.is_right for each in decided) / len(decided),
        in_scope_accuracy=sum(in_scope) / len(in_scope) if in_scope else None,
        abstention=sum(each.is_abstention for each in decided) / len(decided),
    )
