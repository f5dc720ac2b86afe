"""Figures of a router's answers: how many are right, how sure it is when it is, how long it takes. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from statistics import fmean
from typing import Final

import numpy as np

from plano_asgi.decisions import Scores

BINS: Final = 15
_UPPER_EDGES: Final = tuple(number / BINS for number in range(1, BINS + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a router made of one case.

    Attributes:
        expect: The right route; None where none should match.
        route: The route it chose; None where it abstained or failed.
        confidence: Probability in [0, 1] that it gave to what it decided: to `route`, or to "none of these" where it
            abstained; None where nothing was classified.
        elapsed_ms: Milliseconds from the call to the decision.
        is_failure: Whether it had no answer, or none in time; the service goes by `routing.on_error` then.
        scores: The probabilities that it decided by; None where nothing was classified.
    """

    expect: str | None
    route: str | None
    confidence: float | None
    elapsed_ms: float
    is_failure: bool = False
    scores: Scores | None = None

    @property
    def is_right(self) -> bool:
        """Whether the decision is the expected one; a failure never is, though it looks like abstention."""
        return not self.is_failure and self.route == self.expect

    @property
    def is_abstention(self) -> bool:
        """Whether it decided that no route matches."""
        return not self.is_failure and self.route is None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFigures:
    """How well one route is told from all else.

    Attributes:
        route: Its name.
        n: How many cases it is right for.
        precision: Share of the cases it was chosen for that it is right for; None where it never was.
        recall: Share of the cases it is right for that it was chosen for; None where there are none.
    """

    route: str
    n: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """One way of being wrong; None stands for no route.

    Attributes:
        expect: What was right.
        route: What was chosen.
        n: How many times.
    """

    expect: str | None
    route: str | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Decisions of about the same confidence.

    Attributes:
        n: How many there are, at least one.
        confidence: Their mean confidence, in [0, 1].
        accuracy: The share of them that is right.
    """

    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How well a router decides. Shares are in [0, 1], and None where there is nothing to have a share of.

    Attributes:
        n: How many cases there are.
        accuracy: Share of all cases decided rightly.
        in_scope_accuracy: The same of the cases that a route is right for.
        abstain_precision: Share of the abstentions that are right.
        abstain_recall: Share of the cases without a right route on which it abstained.
        ece: Expected calibration error, see `calibration_error`.
        p50_ms: Median of the milliseconds from call to decision, over all cases.
        p95_ms: Their 95th percentile; both interpolate linearly between the two nearest.
        failures: How many cases had no answer, or none in time; they count as wrong, and not as abstentions.
        per_route: Each route, in the policy's order.
        confusions: Each way of being wrong, the commonest first; failures are none of them.
    """

    n: int
    accuracy: float
    in_scope_accuracy: float | None
    abstain_precision: float | None
    abstain_recall: float | None
    ece: float | None
    p50_ms: float
    p95_ms: float
    failures: int
    per_route: tuple[RouteFigures, ...]
    confusions: tuple[Confusion, ...]


def figures_of(outcomes: Sequence[Outcome], *, routes: Iterable[str]) -> Figures:
    """Return the figures of at least one outcome.

    Args:
        outcomes: The outcomes, in any order.
        routes: The names of the routes to report on by themselves.
    """
    elapsed_ms = [outcome.elapsed_ms for outcome in outcomes]
    return Figures(
        n=len(outcomes),
        accuracy=sum(outcome.is_right for outcome in outcomes) / len(outcomes),
        in_scope_accuracy=_share_right(outcome for outcome in outcomes if outcome.expect is not None),
        abstain_precision=_share_right(outcome for outcome in outcomes if outcome.is_abstention),
        abstain_recall=_share_right(outcome for outcome in outcomes if outcome.expect is None),
        ece=calibration_error(outcomes),
        p50_ms=float(np.percentile(elapsed_ms, 50)),
        p95_ms=float(np.percentile(elapsed_ms, 95)),
        failures=sum(outcome.is_failure for outcome in outcomes),
        per_route=tuple(_route_figures(route, outcomes) for route in routes),
        confusions=_confusions(outcomes),
    )


def calibration_error(outcomes: Iterable[Outcome]) -> float | None:
    """Return the expected calibration error in [0, 1]; None where nothing was classified.

    In each bin of `reliability` the share that is right and the mean confidence differ by a gap; the error is the mean
    of the gaps' absolute values, weighted by the bins' sizes (Guo et al. 2017, On Calibration of Modern Neural
    Networks, section 2).
    """
    bins = reliability(outcomes)
    classified = sum(each.n for each in bins)
    return fsum(each.n * abs(each.accuracy - each.confidence) for each in bins) / classified if classified else None


def reliability(outcomes: Iterable[Outcome]) -> tuple[Bin, ...]:
    """Return how often decisions are right at which confidence: the bins that are not empty, the least sure first.

    Outcomes fall into 15 bins of equal width by their confidence, ((m - 1)/15, m/15], and 0 into the first. Confidence
    is that in the decision: the probability of the chosen route, or of "none of these" where the router abstained.
    """
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for outcome in outcomes:
        if outcome.confidence is not None:
            bins[bisect_left(_UPPER_EDGES, outcome.confidence)].append((outcome.confidence, outcome.is_right))
    return tuple(
        Bin(n=len(each), confidence=fsum(sure for sure, _ in each) / len(each), accuracy=fmean(ok for _, ok in each))
        for each in bins
        if each
    )


def confusion_matrix(outcomes: Iterable[Outcome], *, routes: Iterable[str]) -> dict[str | None, dict[str | None, int]]:
    """Return how many cases that expect a route (the outer key) were decided for which (the inner one).

    Each of the routes is a key of both, in their order, and last None, which stands for no route. Failures decided
    nothing and are not counted.
    """
    keys = (*routes, None)
    counted = Counter((outcome.expect, outcome.route) for outcome in outcomes if not outcome.is_failure)
    return {expect: {route: counted[expect, route] for route in keys} for expect in keys}


def _share_right(outcomes: Iterable[Outcome]) -> float | None:
    results = [outcome.is_right for outcome in outcomes]
    return sum(results) / len(results) if results else None


def _route_figures(route: str, outcomes: Sequence[Outcome]) -> RouteFigures:
    expecting = [outcome for outcome in outcomes if outcome.expect == route]
    return RouteFigures(
        route=route,
        n=len(expecting),
        precision=_share_right(outcome for outcome in outcomes if outcome.route == route),
        recall=_share_right(expecting),
    )


def _confusions(outcomes: Iterable[Outcome]) -> tuple[Confusion, ...]:
    wrong = (outcome for outcome in outcomes if not outcome.is_right and not outcome.is_failure)
    counted = Counter((outcome.expect, outcome.route) for outcome in wrong)
    return tuple(Confusion(expect=expect, route=route, n=n) for (expect, route), n in counted.most_common())
