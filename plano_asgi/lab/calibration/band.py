"""When a cascade asks its second classifier: no more often than it has to. Pure.

Theory of operation: the first classifier holds some route likeliest in some cases, and none in the others. Of the
former those below `high` are asked on, by the probability of the best route; of the latter those above `low`, by that
of all routes together (`plano_asgi.classify.cascade.band`). Each line of numbers is cut somewhere between two cases;
for every cut of the one, the least asking cut of the other that leaves no more disagreements than allowed is looked up.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from math import floor
from typing import Final

from plano_asgi.decisions import Scores

_LEAST_ROOM: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class BandChoice:
    """A band, and what it does to the cases that it was chosen on.

    Attributes:
        low: For `classifier.cascade.low`.
        high: For `classifier.cascade.high`; not below `low`.
        share: Share of the cases in [0, 1] in which the second classifier is asked.
        agreement: Share of the cases in [0, 1] in which the cascade decides as the second by itself.
    """

    low: float
    high: float
    share: float
    agreement: float


@dataclass(frozen=True, slots=True)
class _Cut:
    """A place between two cases; `asked` fall to the second, and so many of the others differ from it."""

    asked: int
    differing: int
    lower: float
    upper: float


def choose_band(
    scores: Sequence[Scores], first: Sequence[str | None], second: Sequence[str | None], *, target: float
) -> BandChoice:
    """Return the band that asks the second classifier least, of those with which the cascade agrees with it so often.

    Where none does, since the first is wholly certain of what the second would not decide, it is the least asking of
    those that agree most.

    Args:
        scores: What the first classifier thinks of each case, at least one.
        first: What it decides by that; None for no route.
        second: What the second decides.
        target: Least share of the cases in [0, 1] in which the cascade shall decide as the second.

    Raises:
        ValueError: There are not as many of one as of the others.
    """
    taken: list[tuple[float, bool]] = []
    left: list[tuple[float, bool]] = []
    for each, one, other in zip(scores, first, second, strict=True):
        best = max(each.routes.values(), default=0.0)
        side, confidence = (taken, best) if best > each.other else (left, 1 - each.other)
        side.append((confidence, one != other))
    highs = _cuts(taken, is_asked_below=True)
    lows = _cuts(left, is_asked_below=False)
    allowed = floor((1 - target) * len(scores) + 1e-9)  # 1 - target is not what it says, by some 1e-16
    allowed = max(allowed, lows[-1].differing + highs[-1].differing)
    pairs = [(low, high) for high in highs for low in _least_asking(lows, high, allowed)]
    low, high = min(pairs, key=lambda pair: (pair[0].asked + pair[1].asked, pair[0].differing + pair[1].differing))
    ends = _ends(low, high)
    return BandChoice(
        low=ends[0],
        high=ends[1],
        share=(low.asked + high.asked) / len(scores),
        agreement=1 - (low.differing + high.differing) / len(scores),
    )


def _cuts(cases: Iterable[tuple[float, bool]], *, is_asked_below: bool) -> list[_Cut]:
    """Return every cut of cases that are a confidence and whether both differ, the least asking first."""
    levels = [
        (level, [differs for _, differs in group]) for level, group in groupby(sorted(cases), lambda case: case[0])
    ]
    edges = [0.0, *(level for level, _ in levels), 1.0]
    n_below = list(accumulate((len(differs) for _, differs in levels), initial=0))
    differing_below = list(accumulate((sum(differs) for _, differs in levels), initial=0))
    cuts = []
    for place, (below, differing) in enumerate(zip(n_below, differing_below, strict=True)):
        if edges[place + 1] - edges[place] < _LEAST_ROOM:
            continue  # nothing lies between
        asked, unasked_differing = below, differing_below[-1] - differing
        if not is_asked_below:
            asked, unasked_differing = n_below[-1] - below, differing
        cuts.append(_Cut(asked, unasked_differing, edges[place], edges[place + 1]))
    return cuts if is_asked_below else cuts[::-1]


def _least_asking(lows: Sequence[_Cut], high: _Cut, allowed: int) -> Iterator[_Cut]:
    """Yield the least asking of the lower cuts that goes with an upper one, if there is one."""

    def fits(low: _Cut) -> int:
        return low.differing + high.differing <= allowed and low.lower < high.upper

    place = bisect_left(lows, 1, key=fits)  # the more a cut asks, the less is left to it
    yield from lows[place : place + 1]


def _ends(low: _Cut, high: _Cut) -> tuple[float, float]:
    """Return a number within each cut, in the middle unless the lower one would be above the upper one."""
    ends = ((low.lower + low.upper) / 2, (high.lower + high.upper) / 2)
    if ends[0] <= ends[1]:
        return ends
    between = (max(low.lower, high.lower) + min(low.upper, high.upper)) / 2
    return between, between
