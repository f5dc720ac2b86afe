"""What a provider says of its answer beside the words: what it is known by, and why it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MOST_ID_CHARS: Final = 256
MOST_REASON_CHARS: Final = 64
MOST_CHOICES: Final = 128
_UNDER_WAY: Final = frozenset({"in_progress", "queued"})

Told = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFacts:
    """What is known of an answer so far, in the provider's own words: 256 characters of its id, 64 of each reason.

    Attributes:
        id: What the provider knows it by; None where it has not said so.
        reasons: Why each of its choices ended, of 128 at the most, by the choice's number; empty until it has.
    """

    id: str | None = None
    reasons: tuple[tuple[int, str], ...] = ()

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        """Why each choice ended, in the choices' order."""
        return tuple(reason for _, reason in self.reasons)

    def with_news(self, told: Told) -> "AnswerFacts":
        """Return the facts with what a whole answer of any of the APIs, or an event of its stream, adds to them."""
        news = _reasons(told)
        if not news and self.id is not None:
            return self
        named = _said(told).get("id")
        id_ = named[:MOST_ID_CHARS] if self.id is None and isinstance(named, str) and named else self.id
        return AnswerFacts(id=id_, reasons=tuple(sorted({**dict(self.reasons), **news}.items()))[:MOST_CHOICES])


def _reasons(told: Told) -> dict[int, str]:
    """Return why choices have ended, by their numbers; only Chat Completions has more than one."""
    choices = told.get("choices")
    if isinstance(choices, list):
        return {
            _number(choice, at): reason[:MOST_REASON_CHARS]
            for at, choice in enumerate(choices)
            if isinstance(choice, dict) and isinstance(reason := choice.get("finish_reason"), str) and reason
        }
    delta = _object(told, "delta") or told
    reason = delta.get("stop_reason") or told.get("stopReason") or _state(_said(told))
    return {0: reason[:MOST_REASON_CHARS]} if isinstance(reason, str) else {}


def _said(told: Told) -> Told:
    """Return the answer that an event holds, else what may be one itself."""
    return _object(told, "response") or _object(told, "message") or told


def _state(said: Told) -> object:
    """Return the state in which a Responses answer has ended, or why it is incomplete."""
    state = said.get("status")
    if not isinstance(state, str) or state in _UNDER_WAY:
        return None
    return (_object(said, "incomplete_details") or {}).get("reason") or state


def _number(choice: Told, at: int) -> int:
    number = choice.get("index")
    return number if isinstance(number, int) else at


def _object(fields: Told, key: str) -> Told | None:
    value = fields.get(key)
    return value if isinstance(value, dict) else None
