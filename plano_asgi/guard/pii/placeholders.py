"""Stand-ins for personal data: the same for the same value throughout a conversation, and nobody else's text."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from plano_asgi.guard.pii.detection import Finding, find_personal
from plano_asgi.guard.pii.kinds import label_of

MOST_LABEL_CHARS: Final = 32
PLACEHOLDER: Final = re.compile(rf"\[[A-Z][A-Z0-9_]{{0,{MOST_LABEL_CHARS - 1}}}_[0-9]{{1,9}}\]")
LONGEST_PLACEHOLDER: Final = MOST_LABEL_CHARS + len("[_]") + 9


class Placeholders:
    """What one call's personal data is called while it is away; belongs to that call, and ends with it.

    Values are numbered in the order in which they are met, so the same conversation with one more turn calls them the
    same. What already looks like a placeholder in the caller's own texts is left alone, and its number not given away.
    """

    def __init__(self, texts: Iterable[str], *, find: Callable[[str], Sequence[Finding]] = find_personal) -> None:
        """Take note of everything in a call's texts that looks like a placeholder.

        Args:
            texts: All texts of the call.
            find: Returns what is to be masked, in its order, without overlaps.
        """
        self._find = find
        self._taken = {found for text in texts if "[" in text for found in PLACEHOLDER.findall(text)}
        self._by_value: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._given = Counter[str]()

    @property
    def found(self) -> dict[str, int]:
        """How many different values of each kind were masked; holds none of them."""
        return dict(Counter(str(kind) for kind, _ in self._by_value))

    def mask(self, text: str) -> str:
        """Return a text with a placeholder in the place of everything personal."""
        parts: list[str] = []
        end = 0
        for finding in self._find(text):
            parts += (text[end : finding.start], self._placeholder(finding.kind, text[finding.start : finding.end]))
            end = finding.end
        return "".join((*parts, text[end:])) if parts else text

    def restore(self, text: str, *, in_json: bool = False) -> str:
        """Return a text with every placeholder of ours replaced by what it stands for.

        Args:
            text: The text, or a part of one that ends between two placeholders.
            in_json: Whether the text is JSON, so that a value is written as inside of a JSON string.
        """
        if not self._values or "[" not in text:
            return text
        return PLACEHOLDER.sub(lambda match: self._value(match.group(), in_json=in_json), text)

    def __len__(self) -> int:
        """Return how many values are masked."""
        return len(self._values)

    def _value(self, placeholder: str, *, in_json: bool) -> str:
        value = self._values.get(placeholder, placeholder)
        return json.dumps(value, ensure_ascii=False)[1:-1] if in_json else value

    def _placeholder(self, kind: str, value: str) -> str:
        known = self._by_value.get((kind, value))
        if known is None:
            known = self._by_value[kind, value] = self._new(kind)
            self._values[known] = value
        return known

    def _new(self, kind: str) -> str:
        while True:
            self._given[kind] += 1
            placeholder = f"[{label_of(kind)}_{self._given[kind]}]"
            if placeholder not in self._taken:
                return placeholder
