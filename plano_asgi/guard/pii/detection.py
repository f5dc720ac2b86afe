"""Personal data in a text: where it is, and what."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from plano_asgi.guard.pii.kinds import Kind
from plano_asgi.guard.pii.patterns import LOOKED_BACK, PATTERNS, Pattern, Sign

EVERY_KIND: Final = frozenset(Kind)
Window = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """Personal data at `text[start:end]`; what it says is not kept.

    Attributes:
        kind: One of `Kind`, or what another detector calls it: lower case letters, digits and underscores.
        start: Its first character.
        end: The one after its last.
    """

    kind: str
    start: int
    end: int


def find_personal(text: str, kinds: Collection[Kind] = EVERY_KIND) -> tuple[Finding, ...]:
    """Return what personal data a text holds, in its order; findings do not overlap.

    Args:
        text: The text.
        kinds: What is searched for.
    """
    everywhere = ((0, len(text)),)
    windows: dict[Sign | None, Sequence[Window]] = {None: everywhere}
    lowered = _in_lower_case(text)
    taken = bytearray(len(text))
    found: list[Finding] = []
    for pattern in PATTERNS:
        if pattern.kind not in kinds:
            continue
        if pattern.sign and pattern.sign not in windows:
            searched = lowered if pattern.sign.in_lower_case else text
            windows[pattern.sign] = everywhere if searched is None else _windows(searched, pattern.sign)
        for window in windows[pattern.sign]:
            if pattern.needs and lowered is not None and not _stands_in(lowered, pattern.needs, window):
                continue
            for match in pattern.form.finditer(text, *window):
                one = _finding(text, pattern, match)
                if one and 1 not in taken[one.start : one.end]:
                    taken[one.start : one.end] = b"\1" * (one.end - one.start)
                    found.append(one)
    return tuple(sorted(found, key=lambda one: one.start))


def _in_lower_case(text: str) -> str | None:
    """Return a text as patterns read it that ignore case; None where its letters stand elsewhere then."""
    lowered = text.lower().replace("\u0131", "i").replace("\u017f", "s")  # such patterns read these letters so
    return lowered if len(lowered) == len(text) else None


def _stands_in(lowered: str, words: Sequence[str], window: Window) -> bool:
    """Return whether one of the words is in a window, or before it as far as patterns look back."""
    start, end = max(0, window[0] - LOOKED_BACK), window[1]
    for word in words:  # noqa: SIM110 - a generator takes as long as the search
        if lowered.find(word, start, end) >= 0:
            return True
    return False


def _windows(text: str, sign: Sign) -> Sequence[Window]:
    """Return where a finding can be, around the signs of it; windows do not overlap."""
    before, after = sign.reach
    spans = [match.span() for held, form in sign.forms if held in text for match in form.finditer(text)]
    windows: list[Window] = []
    for start, end in sorted(spans):
        if windows and start - before <= windows[-1][1]:
            windows[-1] = (windows[-1][0], max(windows[-1][1], end + after))
        else:
            windows.append((max(0, start - before), end + after))
    return windows


def _finding(text: str, pattern: Pattern, match: re.Match[str]) -> Finding | None:
    start, end = match.span("value" if "value" in pattern.form.groupindex else 0)
    if pattern.length:
        end = start + pattern.length(text[start:end])
    return Finding(pattern.kind, start, end) if end > start and pattern.is_one(text, start, end) else None
