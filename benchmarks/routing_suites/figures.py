"""What the guesses add up to: accuracy by family with its interval, abstention, calibration, time."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.routing_suites.contenders import Guess
from plano_asgi.lab.evaluation import Outcome, figures_of

THRESHOLDS: Final = np.arange(0.0, 1.0, 0.01)
Figures = Mapping[str, Any]


def figures_by_family(guesses: Mapping[str, Sequence[Guess]], threshold: float | None) -> dict[str, Figures]:
    """Return the figures of each family of suites; without a threshold each has the one that is best for it."""
    return {family: _figures(found, threshold) for family, found in guesses.items()}


def overall(guesses: Mapping[str, Sequence[Guess]], by_family: Mapping[str, Figures]) -> Figures:
    """Return the mean over families; over all cases the time and, of probabilities, the expected calibration error."""
    everything = [guess for found in guesses.values() for guess in found]
    means: dict[str, Any] = {
        "mean_accuracy": _rounded(float(np.mean([figures["accuracy"] for figures in by_family.values()]))),
        "p50_ms": round(median(guess.elapsed_ms for guess in everything), 2),
    }
    if any(guess.other is None for guess in everything):
        means["mean_accuracy_with_one_threshold"] = _rounded(max(_mean(guesses, float(t)) for t in THRESHOLDS))
    else:
        threshold = next(iter(by_family.values()))["threshold"]
        outcomes = [_outcome(guess, threshold) for guess in everything]
        means["ece"] = _rounded(figures_of(outcomes, routes=()).ece)
    return means


def _mean(guesses: Mapping[str, Sequence[Guess]], threshold: float) -> float:
    """Return the mean accuracy over families where all have the same threshold."""
    return float(np.mean([np.mean([guess.is_right(threshold) for guess in found]) for found in guesses.values()]))


def interval(right: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share (Wilson 1927)."""
    z = 1.96
    share = right / n
    middle, spread = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def _figures(found: Sequence[Guess], threshold: float | None) -> Figures:
    chosen = threshold if threshold is not None else max(THRESHOLDS, key=lambda t: sum(g.is_right(t) for g in found))
    outcomes = [_outcome(guess, chosen) for guess in found]
    figures = figures_of(outcomes, routes=())
    several = [guess.is_right(chosen) for guess in found if guess.turns > 1]
    low, high = interval(sum(outcome.is_right for outcome in outcomes), len(outcomes))
    return {
        "n": figures.n,
        "threshold": round(float(chosen), 3),
        "accuracy": _rounded(figures.accuracy),
        "interval": [_rounded(low), _rounded(high)],
        "in_scope_accuracy": _rounded(figures.in_scope_accuracy),
        "abstain_precision": _rounded(figures.abstain_precision),
        "abstain_recall": _rounded(figures.abstain_recall),
        "multi_turn_accuracy": _rounded(sum(several) / len(several)) if several else None,
        "ece": _rounded(figures.ece) if all(guess.other is not None for guess in found) else None,
    }


def _outcome(guess: Guess, threshold: float) -> Outcome:
    is_match = guess.score >= threshold
    return Outcome(
        expect=guess.expect,
        route=guess.best if is_match else None,
        confidence=guess.score if is_match or guess.other is None else guess.other,
        elapsed_ms=guess.elapsed_ms,
    )


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 3)
