"""Other ways of saying the same: typos, casing and punctuation of calls, styles of names and descriptions of routes.

Pure: what is drawn comes from the generator that is handed in, so that a seed repeats it.
"""

import re
from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np

_NEIGHBOURS: Final = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "w", "r": "et", "s": "ad", "t": "ry",
    "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}  # fmt: skip
_LEADS: Final = (
    "user wants {}", "requests about {}", "{}", "Use this for {}", "the user asks for: {}", "Handles {}",
    "{} and similar",
)  # fmt: skip
_MISTYPABLE: Final = re.compile(r"\S{4,}")

Item = TypeVar("Item")


def with_typos(text: str, share: float, rng: np.random.Generator) -> str:
    """Return the text with about that share of its words mistyped: a letter swapped, lost, doubled or a neighbour's.

    Words of fewer than four characters are left alone, and so is white space.
    """
    return _MISTYPABLE.sub(lambda word: _mistyped(word[0], rng) if rng.random() < share else word[0], text)


def recased(text: str, rng: np.random.Generator) -> str:
    """Return the text in another casing; the shipped tokenizer lowers case, others may not."""
    return (text.lower, text.upper, text.title)[int(rng.integers(3))]()


def unpunctuated(text: str) -> str:
    """Return the text without the punctuation that hasty people leave out."""
    return re.sub(r"[.,!?;:'\"]+(?=\s|$)", "", text)


def noisy(text: str, rng: np.random.Generator) -> str:
    """Return the text as a hasty person might have typed it, three times in ten."""
    draw = rng.random()
    if draw < 0.15:  # noqa: PLR2004 - shares
        return with_typos(text, 0.12, rng)
    if draw < 0.25:  # noqa: PLR2004
        return unpunctuated(text)
    if draw < 0.30:  # noqa: PLR2004
        return with_typos(unpunctuated(text), 0.25, rng)
    return text


def reworded(name: str, description: str, rng: np.random.Generator) -> tuple[str, str]:
    """Return a route as another person might have written it: the name's style, the lead of the description."""
    if rng.random() < 0.3:  # noqa: PLR2004
        lead = _LEADS[int(rng.integers(len(_LEADS)))]
        description = lead.format(description.rstrip("."))
    if rng.random() < 0.1:  # noqa: PLR2004 - names that say nothing are in use
        name = f"route_{int(rng.integers(1, 20))}"
    elif rng.random() < 0.1:  # noqa: PLR2004
        name = with_typos(name, 0.5, rng)
    return name, description


def led(description: str) -> str:
    """Return a description with a lead that says nothing."""
    return f"Use this for {description}"


def restopped(description: str) -> str:
    """Return a description with a full stop where it had none, and without where it had one."""
    return description[:-1] if description.endswith(".") else f"{description}."


def reordered(items: Sequence[Item], rng: np.random.Generator) -> tuple[Item, ...]:
    """Return the items in another order; in the same where there are fewer than two."""
    same = range(len(items))
    order = rng.permutation(len(items))
    while len(items) > 1 and (order == same).all():
        order = rng.permutation(len(items))
    return tuple(items[index] for index in order)


def _mistyped(word: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(1, len(word) - 1))
    forms: Sequence[str] = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:at] + _neighbour(word[at], rng) + word[at + 1 :],
    )
    return forms[int(rng.integers(len(forms)))]


def _neighbour(letter: str, rng: np.random.Generator) -> str:
    others = _NEIGHBOURS.get(letter.lower(), letter)
    return others[int(rng.integers(len(others)))]
