"""How much a call will use, before anybody has counted it.

Input is what the model concerned reads, by its own tokenizer where that is known. Output is what the call allows at the
most, times the answers that it asks for; where it says nothing, a setting.
"""

from collections.abc import Mapping
from typing import Final

from plano_asgi.govern.counting import MOST_AMOUNT

MOST_ANSWERS: Final = 128

_MOST_OUTPUT: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")


def output_estimate(body: Mapping[str, object], *, otherwise: int) -> int:
    """Return how many tokens the answers to a call take at the most; `otherwise` for an answer without a limit."""
    written = [body[name] for name in _MOST_OUTPUT if name in body]
    limits = [limit for value in written if (limit := _count(value, most=MOST_AMOUNT)) is not None]
    most = limits[0] if limits else otherwise
    answers = _count(body.get("n"), most=MOST_ANSWERS) or 1
    return min(most * answers, MOST_AMOUNT)


def _count(value: object, *, most: int) -> int | None:
    """Return a number that a caller wrote, bounded; None where it is no number that can be meant."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        return None
    return min(value, most)
