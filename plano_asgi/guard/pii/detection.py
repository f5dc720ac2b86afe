"""Personal data in a text: where it is, and what."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from plano_asgi.guard.pii.kinds import Kind
from plano_asgi.guard.pii.patterns import PATTERNS, Pattern

EVERY_KIND: Final = frozenset(Kind)
Window = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """Personal data at `text[start:end]`; what it says is not kept."""

    kind: Kind
    start: int
    end: int


def find_personal(text: str, kinds: Collection[Kind] = EVERY_KIND) -> tuple[Finding, ...]:
    """Return what personal data a text holds, in its order; findings do not overlap.

    Args:
        text: The text.
        kinds: What is searched for.
    """
    lowered = text.lower()
    windows: dict[re.Pattern[str] | None, list[Window]] = {None: [(0, len(text))]}
    taken = bytearray(len(text))
    found: list[Finding] = []
    for pattern in PATTERNS:
        if pattern.kind not in kinds or (pattern.words and not any(word in lowered for word in pattern.words)):
            continue
        if pattern.near not in windows:
            windows[pattern.near] = _windows(text, pattern)
        for window in windows[pattern.near]:
            for one in _matches(text, pattern, window):
                if 1 not in taken[one.start : one.end]:
                    taken[one.start : one.end] = b"\1" * (one.end - one.start)
                    found.append(one)
    return tuple(sorted(found, key=lambda one: one.start))


def _windows(text: str, pattern: Pattern) -> list[Window]:
    """Return where a finding can be, around the signs of it; windows do not overlap."""
    windows: list[Window] = []
    before, after = pattern.reach
    for sign in pattern.near.finditer(text) if pattern.near else ():
        start, end = max(0, sign.start() - before), min(len(text), sign.end() + after)
        if windows and start <= windows[-1][1]:
            windows[-1] = (windows[-1][0], end)
        else:
            windows.append((start, end))
    return windows


def _matches(text: str, pattern: Pattern, window: Window) -> Iterator[Finding]:
    for match in pattern.form.finditer(text, *window):
        start, end = match.span("value" if "value" in pattern.form.groupindex else 0)
        if pattern.length:
            end = start + pattern.length(text[start:end])
        if end > start and pattern.is_one(text, start, end):
            yield Finding(pattern.kind, start, end)
