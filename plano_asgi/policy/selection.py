"""In which order the models of a route are tried: as written, or by what they cost or how fast they are."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from plano_asgi.prices import Price

ANSWER_TOKENS: Final = 200  # of an answer by which speeds are compared


def ranked(models: Sequence[str], measure: Callable[[str], float | None]) -> tuple[str, ...]:
    """Return the models, the least measure first; those without one last. Equals keep their order, and none is lost."""

    def key(model: str) -> float:
        measured = measure(model)
        return math.inf if measured is None or math.isnan(measured) else measured

    return tuple(sorted(models, key=key))


def cost_of(price: Price | None) -> float | None:
    """Return by what prices are compared: those of a million tokens read and a million written, together, in USD."""
    return None if price is None else price.input + price.output


def answer_s(*, first_token_s: float | None, token_s: float | None) -> float | None:
    """Return about how many seconds an answer takes, by the time to its first token and that for each further one."""
    if first_token_s is None and token_s is None:
        return None
    return (first_token_s or 0.0) + ANSWER_TOKENS * (token_s or 0.0)
