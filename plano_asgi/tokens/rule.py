"""The stated rule, for models whose tokenizer nobody knows. Pure.

A token is four small letters or spaces, two capitals, two signs, one digit, or two bytes of anything beyond ASCII.
Bytes alone tell too little: prose has four of them in a token, JSON two, numbers one. How far the rule is off is told
in docs/governance.md.
"""

from collections.abc import Iterable
from typing import Final

_SMALL_LETTERS_AND_SPACES: Final = b"abcdefghijklmnopqrstuvwxyz \t\r\n"
_DIGITS: Final = b"0123456789"


def tokens_by_rule(texts: Iterable[str]) -> int:
    """Return about how many tokens some texts have together, rounded up; lone surrogates count as what they take."""
    data = "".join(texts).encode("utf-8", "surrogatepass")
    others = data.translate(None, _SMALL_LETTERS_AND_SPACES)
    digits = len(others) - len(others.translate(None, _DIGITS))
    quarters = len(data) + len(others) + 2 * digits
    return -(-quarters // 4)
