"""Texts of an answer as they come: several steps in a row, and judgement word by word."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from plano_asgi.guard.pii import Placeholders, TextRestorer
from plano_asgi.guard.verdicts import AnswerWatch, TextStep

LOOKED_BACK: Final = 256
"""How long what is found in a streamed text can be: characters."""
_WORD_END: Final = re.compile(r"[\s\"',;<>]")

Judge = Callable[[str, int], None]
"""Judges a text of which that many characters have been judged before; raises GuardrailError where it ends here."""


class TextPipe:
    """Several steps, each of which is fed what the one before tells."""

    def __init__(self, steps: Sequence[TextStep]) -> None:
        """Take the steps in their order."""
        self._steps = steps

    def feed(self, piece: str) -> str:
        """Return what the last step tells."""
        for step in self._steps:
            piece = step.feed(piece)
        return piece

    def end(self) -> str:
        """Return what was held back anywhere."""
        rest = ""
        for step in self._steps:
            rest = step.feed(rest) + step.end()
        return rest


class JudgedText:
    """A text that is told word by word, each judged before it is told; holds back a word of at most 256 characters."""

    def __init__(self, judge: Judge) -> None:
        """Start before the first piece."""
        self._judge = judge
        self._told = ""
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return the words that are complete."""
        self._held += piece
        end = max((match.end() for match in _WORD_END.finditer(self._held)), default=0)
        return self._tell(end or max(0, len(self._held) - LOOKED_BACK))

    def end(self) -> str:
        """Return the last word."""
        return self._tell(len(self._held))

    def _tell(self, end: int) -> str:
        if not end:
            return ""
        words, self._held = self._held[:end], self._held[end:]
        self._judge(self._told + words, len(self._told))
        self._told = (self._told + words)[-LOOKED_BACK:]
        return words


class ChangedText:
    """A text that is changed as a whole, and told when it is complete."""

    def __init__(self, change: Callable[[str], str], *, most_chars: int) -> None:
        """Hold at most that many characters; what is longer is changed in parts."""
        self._change = change
        self._most = most_chars
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return nothing, unless too much is held."""
        self._held += piece
        return self.end() if len(self._held) > self._most else ""

    def end(self) -> str:
        """Return the text, changed."""
        text, self._held = self._held, ""
        return self._change(text) if text else ""


class Restoring:
    """Puts back what was masked in the call."""

    found: Mapping[str, int] = {}

    def __init__(self, placeholders: Placeholders) -> None:
        """Know what was masked."""
        self._placeholders = placeholders

    def text(self, *, in_json: bool) -> TextStep:
        """Return what restores one text."""
        return TextRestorer(self._placeholders, in_json=in_json)


def text_of(watches: Sequence[AnswerWatch], *, in_json: bool) -> TextStep:
    """Return what all the watches do with one text, in their order."""
    return TextPipe([watch.text(in_json=in_json) for watch in watches])
