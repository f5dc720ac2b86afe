"""Temperature and thresholds from cases with known answers. Pure.

Theory of operation: the temperature is the one at which the right answers are likeliest, least log loss; the loss is
convex in its reciprocal, so a search on a line finds it. At that temperature each route gets the threshold that decides
most cases rightly. Few cases say little, and are not believed more than they deserve: the classifier as it was counts
like 20 cases more when the temperature is fitted, and all routes' cases together count like 20 more cases of a route
when its threshold is chosen. So a route without cases has the threshold of all, one with hundreds its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plano_asgi.lab.calibration.objective import Objective
from plano_asgi.lab.evaluation import Outcome, redecided
from plano_asgi.policy import Rules, best_route, tempered
from plano_asgi.policy.tempering import LEAST_CHANCE

LEAST_CASES: Final = 10
FOLDS: Final = 5
PRIOR_CASES: Final = 20.0
MOST_TEMPERATURE: Final = 20.0
_DIGITS: Final = 6
_LEAST_ROOM: Final = 1e-5
_GOLDEN: Final = (5**0.5 - 1) / 2

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What was fitted.

    Attributes:
        temperature: See `plano_asgi.policy.tempered`; from 1/20 to 20.
        threshold: Least confidence in [0, 1], at that temperature, that selects a route.
        thresholds: The same of each route.
    """

    temperature: float
    threshold: float
    thresholds: Mapping[str, float]

    def __post_init__(self) -> None:
        """Freeze the mapping."""
        object.__setattr__(self, "thresholds", MappingProxyType(dict(self.thresholds)))

    @property
    def rules(self) -> Rules:
        """Rules that decide by it."""
        return Rules(
            threshold=self.threshold, default_model=None, temperature=self.temperature, thresholds=self.thresholds
        )


def fit(outcomes: Sequence[Outcome], *, objective: Objective = Objective.ACCURACY) -> Fit:
    """Return what makes the most of the outcomes' scores, as the module's theory of operation says.

    Args:
        outcomes: Outcomes of one policy and one classifier, by scores that were not calibrated; those without scores
            say nothing, and at least one has some.
        objective: Whether a case is worth as much as any other (`accuracy`), or all cases that a route is right for are
            together worth as much as all others (`balanced`).
    """
    scored = [outcome for outcome in outcomes if outcome.scores is not None]
    temperature = round(_temperature(scored), _DIGITS)
    votes = _Votes.of(scored, temperature, objective)
    routes = tuple(scored[0].scores.routes) if scored[0].scores else ()
    return Fit(
        temperature=temperature,
        threshold=votes.threshold(votes.weight),
        thresholds={route: votes.threshold(votes.weight_for(route)) for route in routes},
    )


def cross_validated(
    outcomes: Sequence[Outcome], *, objective: Objective = Objective.ACCURACY, seed: int = 0
) -> tuple[Outcome, ...]:
    """Return what would have been decided of each case by a fit on other cases, in their order.

    The cases are dealt into five parts, those with the same right answer evenly; each part is decided by what was
    fitted on the four others.

    Args:
        outcomes: As for `fit`, all of them with scores, and at least `LEAST_CASES`.
        objective: As for `fit`.
        seed: Of the dealing.
    """
    shuffled = np.random.default_rng(seed).permutation(len(outcomes))
    dealt = sorted(shuffled, key=lambda index: outcomes[index].expect or "")
    part_of = {int(index): place % FOLDS for place, index in enumerate(dealt)}
    rules = [
        fit([each for index, each in enumerate(outcomes) if part_of[index] != part], objective=objective).rules
        for part in range(FOLDS)
    ]
    return tuple(redecided(each, rules[part_of[index]]) for index, each in enumerate(outcomes))


def _temperature(scored: Sequence[Outcome]) -> float:
    chances = np.array([[*each.scores.routes.values(), each.scores.other] for each in scored if each.scores])
    logits: _Floats = np.log(np.maximum(chances, LEAST_CHANCE))
    own: _Floats = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    right = np.zeros_like(own)
    for row, outcome in zip(right, scored, strict=True):
        routes = [*outcome.scores.routes] if outcome.scores else []
        row[routes.index(outcome.expect) if outcome.expect in routes else -1] = 1
    wanted: _Floats = right + own * (PRIOR_CASES / len(scored))

    def loss(sharpness: float) -> float:
        scaled = logits * sharpness
        highest = scaled.max(axis=1, keepdims=True)
        log_sums = highest + np.log(np.exp(scaled - highest).sum(axis=1, keepdims=True))
        return float((wanted * (log_sums - scaled)).sum())

    return 1 / _lowest(loss, 1 / MOST_TEMPERATURE, MOST_TEMPERATURE)


def _lowest(loss: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function with one valley is least, by golden sections of a logarithmic scale."""
    left, right = log(low), log(high)
    while right - left > 1e-7:  # noqa: PLR2004 - a part of the answer
        third, two_thirds = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
        if loss(exp(third)) <= loss(exp(two_thirds)):
            right = two_thirds
        else:
            left = third
    return exp((left + right) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Votes:
    """What each case says of the threshold, in the order of the best routes' confidences.

    Attributes:
        best: The best route of each case.
        confidence: Its probability.
        takes: 1 where taking the best route would be right, else 0.
        leaves: 1 where taking none would be right, else 0.
        weight: What the case is worth; 1 on average.
    """

    best: Sequence[str]
    confidence: _Floats
    takes: _Floats
    leaves: _Floats
    weight: _Floats

    @classmethod
    def of(cls, scored: Sequence[Outcome], temperature: float, objective: Objective) -> "_Votes":
        rows = []
        for outcome in scored:
            if outcome.scores is not None:
                scores = tempered(outcome.scores, temperature)
                best = best_route(scores, scores.routes)
                rows.append((scores.routes[best], best, outcome.expect))
        rows.sort(key=lambda row: row[0])
        leaves = np.array([expect is None for _, _, expect in rows], dtype=np.float64)
        weight = np.ones(len(rows))
        if objective is Objective.BALANCED and 0 < leaves.sum() < len(rows):
            weight = np.where(leaves > 0, 1 / leaves.sum(), 1 / (1 - leaves).sum()) * len(rows) / 2
        return cls(
            best=[best for _, best, _ in rows],
            confidence=np.array([confidence for confidence, _, _ in rows]),
            takes=np.array([best == expect for _, best, expect in rows], dtype=np.float64),
            leaves=leaves,
            weight=weight,
        )

    def weight_for(self, route: str) -> _Floats:
        """Return what the cases are worth for one route's threshold: its own wholly, all of them like 20 more."""
        own = np.array([best == route for best in self.best])
        return self.weight * (own + PRIOR_CASES / len(self.best))

    def threshold(self, weight: _Floats) -> float:
        """Return the threshold with most right decisions; of equal ones the one with most room to either side."""
        edges = np.concatenate([[0.0], self.confidence, [1.0]])
        left_below = np.concatenate([[0.0], np.cumsum(self.leaves * weight)])
        taken_below = np.concatenate([[0.0], np.cumsum(self.takes * weight)])
        value = left_below + taken_below[-1] - taken_below
        room = np.diff(edges)
        value[1:][room[1:] < _LEAST_ROOM] = -1.0  # no threshold parts confidences that are as good as equal
        best = np.flatnonzero(value >= value.max() - 1e-9)
        place = int(best[np.argmax(room[best])])
        return round(float(edges[place] + edges[place + 1]) / 2, _DIGITS)
