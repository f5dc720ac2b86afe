"""Two routers on the same cases: which is better, and whether that can be chance. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

from plano_asgi.lab.evaluation.figures import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How two routers, a and b, fare on the same cases.

    Attributes:
        both_right: Cases that both decide rightly.
        only_a: Cases that a alone does.
        only_b: Cases that b alone does.
        both_wrong: Cases that neither does.
        mcnemar_p: See `mcnemar_p`.
        p50_ratio: How many times as long as a's median b's median takes; None where a's takes no time.
    """

    both_right: int
    only_a: int
    only_b: int
    both_wrong: int
    mcnemar_p: float
    p50_ratio: float | None


def compare(a: Sequence[Outcome], b: Sequence[Outcome]) -> Comparison:
    """Return how two routers' outcomes compare; those of a case stand at the same place in both, and there is one.

    Raises:
        ValueError: There are not as many of one as of the other.
    """
    pairs = [(of_a.is_right, of_b.is_right) for of_a, of_b in zip(a, b, strict=True)]
    only_a, only_b = pairs.count((True, False)), pairs.count((False, True))
    a_ms, b_ms = (median(outcome.elapsed_ms for outcome in outcomes) for outcomes in (a, b))
    return Comparison(
        both_right=pairs.count((True, True)),
        only_a=only_a,
        only_b=only_b,
        both_wrong=pairs.count((False, False)),
        mcnemar_p=mcnemar_p(only_a, only_b),
        p50_ratio=b_ms / a_ms if a_ms else None,
    )


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value in [0, 1] of McNemar's exact test (McNemar 1947, in its binomial form).

    It is the probability of a split at least as uneven as this one if, wherever only one of the two is right, either
    were equally likely to be it: twice the tail of the binomial distribution with probability 1/2, and 1 at the most.

    Args:
        only_a: Cases that a alone decides rightly.
        only_b: Cases that b alone decides rightly.
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    ways = accumulate(range(fewer), lambda chosen, k: chosen * (n - k) // (k + 1), initial=1)
    return min(1.0, 2 * sum(ways) / (1 << n))  # whole numbers up to the division, which Python rounds once
