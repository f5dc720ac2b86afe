"""Probabilities made more or less sure of themselves, by one number."""

from dataclasses import replace
from math import exp, log
from typing import Final

from plano_asgi.decisions import Scores

LEAST_CHANCE: Final = 1e-6  # what is less counts as this, so that an answer of 0 or 1 can be doubted, too


def tempered(scores: Scores, temperature: float) -> Scores:
    """Return the scores at a temperature: the softmax of their logarithms divided by it.

    Above 1 they are less sure, below 1 more; the order of routes stays, and they sum to 1 (Guo et al. 2017, On
    Calibration of Modern Neural Networks, section 4.2). At 1 they are returned as they are.

    Args:
        scores: Any classifier's; a probability below a millionth counts as a millionth.
        temperature: Above 0.
    """
    if temperature == 1.0:
        return scores
    logits = [log(max(chance, LEAST_CHANCE)) / temperature for chance in (*scores.routes.values(), scores.other)]
    highest = max(logits)
    weights = [exp(logit - highest) for logit in logits]
    total = sum(weights)
    *chances, other = (weight / total for weight in weights)
    return replace(scores, routes=dict(zip(scores.routes, chances, strict=True)), other=other)
