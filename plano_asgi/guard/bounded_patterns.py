"""Patterns whose search takes a bounded time, whatever the text: few ways to match at each place, in short windows.

Python's `re` tries one way to match after the other. How many there are at one place is bounded by the pattern alone:
those of a sequence multiply, those of alternatives add up
(of plain words, only where one begins with the other), and a repetition has one way for each number of times, with
as many again for each time where what is repeated can match in several ways. A repetition without an upper bound ends
with the window that is searched. `re` lets nothing else of the process run meanwhile, which is why the bound is needed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

MOST_WAYS: Final = 16_384
WINDOW: Final = 1_024
OVERLAP: Final = 256
MOST_MATCHED: Final = OVERLAP
"""Longest match, in characters, that is found wherever it stands; a longer one may lie across two windows."""
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_WORDS: Final = re.compile(r"[\w |]+")
_COUNTS: Final = re.compile(r"\{(\d*)(,?)(\d*)\}")
_GROUP_HEAD: Final = re.compile(r"\(\?(?:P?<[A-Za-z_]\w*>|P=\w+|<?[=!]|[aiLmsux-]*:|[aiLmsux]+(?=\))|>)|\(")


@dataclass(frozen=True, slots=True)
class BoundedPattern:
    """A pattern that was found to be bounded."""

    form: re.Pattern[str]

    def is_in(self, text: str, *, since: int = 0, until: float | None = None) -> bool:
        """Return whether it matches somewhere in a text, beyond the first `since` characters.

        Raises:
            TimeoutError: It is later than `until`, by `time.monotonic`.
        """
        for start in range(max(0, since - OVERLAP), max(1, len(text)), WINDOW):
            if until is not None and monotonic() > until:
                raise TimeoutError
            end = start + WINDOW + OVERLAP
            for match in self.form.finditer(text, start, end):
                is_whole = match.end() < min(end, len(text) + 1) or match.end() - match.start() > OVERLAP
                if match.end() > since and is_whole:  # what ends with the window is judged in the next one
                    return True
        return False


def bounded_pattern(text: str) -> BoundedPattern:
    """Return the pattern, which ignores case.

    Raises:
        ValueError: It is no pattern, or could take too long; the message says what to change, and not the pattern.
    """
    try:
        form = re.compile(text, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError):
        raise ValueError("is no regular expression that Python's re reads") from None
    if form.match("") is not None:
        raise ValueError("matches the empty text, and so every text; make part of it required")
    if ways_to_match(text) > MOST_WAYS:
        advice = "give repetitions a small bound, e.g. {0,20}, and repeat nothing that holds a repetition"
        raise ValueError(f"has more than {MOST_WAYS} ways to match at one place, which could take too long; {advice}")
    return BoundedPattern(form)


def ways_to_match(text: str) -> int:
    """Return in how many ways at most a pattern can match at one place of a window; counts no further than needed."""
    return _Reader(text).alternatives()


class _Reader:
    """Reads a pattern that `re` has accepted."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def alternatives(self) -> int:
        start, ways = self._at, self._sequence()
        while self._text[self._at : self._at + 1] == "|":
            self._at += 1
            ways += self._sequence()
        words = self._text[start : self._at]
        return _ways_of_words(words.lower().split("|")) if _WORDS.fullmatch(words) else _capped(ways)

    def _sequence(self) -> int:
        ways = 1
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            ways = _capped(ways * self._repeated(self._item()))
        return ways

    def _item(self) -> int:
        sign = self._text[self._at]
        if sign == "(":
            return self._group()
        found = _CLASS.match(self._text, self._at) if sign == "[" else None
        self._at = found.end() if found else self._at + (2 if sign == "\\" else 1)
        return 1

    def _group(self) -> int:
        head = _GROUP_HEAD.match(self._text, self._at)
        self._at = head.end() if head else self._at + 1
        ways = self.alternatives()
        self._at += 1
        return ways

    def _repeated(self, ways: int) -> int:
        for least, most in self._quantifiers():
            ways = _ways_of_repetition(ways, least, most)
        return ways

    def _quantifiers(self) -> Iterator[tuple[int, int]]:
        simple = {"*": (0, WINDOW), "+": (1, WINDOW), "?": (0, 1)}
        sign = self._text[self._at : self._at + 1]
        counts = _COUNTS.match(self._text, self._at)
        if sign in simple and sign:
            self._at += 1
            yield simple[sign]
        elif counts and (counts[1] or counts[3]):
            self._at = counts.end()
            least = int(counts[1] or 0)
            yield least, int(counts[3] or WINDOW) if counts[2] else least
        else:
            return
        if self._text[self._at : self._at + 1] in {"?", "+"}:  # reluctant or possessive, which tries no more ways
            self._at += 1


def _ways_of_repetition(ways: int, least: int, most: int) -> int:
    most = max(least, min(most, WINDOW))
    if ways <= 1:
        return most - least + 1
    total, once = 0, ways ** min(least, 64)
    for _ in range(most - least + 1):
        total, once = total + once, once * ways
        if total > MOST_WAYS:
            return MOST_WAYS + 1
    return total


def _ways_of_words(words: Sequence[str]) -> int:
    """Return how many of the words can stand at one place: those with which one and the same word begins."""
    return max(sum(word.startswith(beginning) for beginning in words) for word in words)


def _capped(ways: int) -> int:
    return min(ways, MOST_WAYS + 1)


def first_found(
    patterns: Sequence[BoundedPattern], text: str, *, since: int = 0, until: float | None = None
) -> int | None:
    """Return the number of the first of the patterns that is in a text, or None.

    Raises:
        TimeoutError: It is later than `until`.
    """
    found = (number for number, one in enumerate(patterns) if one.is_in(text, since=since, until=until))
    return next(found, None)
