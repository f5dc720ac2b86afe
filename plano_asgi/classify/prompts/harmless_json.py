"""JSON in which no text can pass for a part of the prompt.

A text that imitates the prompt's tags, or a word that the tokenizer reads as a command, is written with its first
character as a JSON escape: readers of JSON read the same text, and the prompt does not hold the imitation. Lone
surrogates, which UTF-8 cannot carry, are escaped too. Everything else is as `json.dumps` writes it, byte for byte.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final

_TAG: Final = r"<(?=\s*+(?:/\s*+)?(?i:routes|conversation)\s*+>)"
_LONE_SURROGATE: Final = "[\ud800-\udfff]"


class HarmlessJson:
    """Writes flat objects of texts, and lists of them."""

    def __init__(self, *, is_spaced_ascii: bool, unspeakable: Iterable[str] = ()) -> None:
        """Choose how JSON is written.

        Args:
            is_spaced_ascii: As `json.dumps` does by default; else compact, in raw UTF-8.
            unspeakable: Words that must not stand in a text, such as a tokenizer's special tokens.
        """
        self._ensure_ascii = is_spaced_ascii
        self._comma, self._colon = (", ", ": ") if is_spaced_ascii else (",", ":")
        words = sorted({word for word in unspeakable if word})
        first_characters = (f"{re.escape(word[0])}(?={re.escape(word[1:])})" for word in words)
        self._escaped = re.compile("|".join((_TAG, *first_characters, _LONE_SURROGATE)))

    def a_list(self, objects: Sequence[str]) -> str:
        """Return the list of objects that are written already."""
        return f"[{self._comma.join(objects)}]"

    def an_object(self, **texts: str) -> str:
        """Return an object; its keys stand as they are."""
        members = (f'"{key}"{self._colon}{self._text(text)}' for key, text in texts.items())
        return "{" + self._comma.join(members) + "}"

    def _text(self, text: str) -> str:
        parts, position = [], 0
        for found in self._escaped.finditer(text):
            parts += [self._plain(text[position : found.start()]), _escape(found[0])]
            position = found.end()
        return '"' + "".join((*parts, self._plain(text[position:]))) + '"'

    def _plain(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=self._ensure_ascii)[1:-1]


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
