"""Placeholders put back in a text that comes in pieces, wherever they are cut."""

import re
from typing import Final

from plano_asgi.guard.pii.placeholders import LONGEST_PLACEHOLDER, Placeholders

_MAY_BEGIN_ONE: Final = re.compile(rf"\[(?:[A-Z][A-Z0-9_]{{0,{LONGEST_PLACEHOLDER}}})?\Z")


class TextRestorer:
    """One text of an answer as it comes; holds back at most what may be the beginning of a placeholder."""

    def __init__(self, placeholders: Placeholders, *, in_json: bool = False) -> None:
        """Start before the first piece of a text, or of one that is JSON."""
        self._placeholders = placeholders
        self._in_json = in_json
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what can be told by now."""
        text = self._held + piece
        self._held = ""
        opening = text.rfind("[", max(0, len(text) - LONGEST_PLACEHOLDER))
        if opening >= 0 and _MAY_BEGIN_ONE.match(text, opening):
            text, self._held = text[:opening], text[opening:]
        return self._placeholders.restore(text, in_json=self._in_json)

    def end(self) -> str:
        """Return what was held back, which nothing follows."""
        text, self._held = self._held, ""
        return self._placeholders.restore(text, in_json=self._in_json)
