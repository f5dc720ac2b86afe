"""What filters are given, and what they say of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol, Self

from plano_asgi.conversation import ApiFormat, Conversation
from plano_asgi.guard.pii import Placeholders

BLOCKED_STATUS: Final = 403
MOST_REASON_CHARS: Final = 200
_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The body of a call, or of its answer; its words are not in its `repr`.

    Attributes:
        api_format: The API of the call.
        path: The path of that API, e.g. `/v1/chat/completions`.
        body: The body: JSON, or the events of a streamed answer.
        value: What the body means, numbers beyond 64 bits approximately; None of a streamed answer.
        conversation: The messages of a call; empty for an answer.
        is_answer: Whether this is an answer.
        is_stream: Whether this is a streamed answer.
        request_id: What the call is known by.
    """

    api_format: ApiFormat
    path: str
    body: bytes = field(repr=False)
    value: object = field(repr=False)
    conversation: Conversation = field(default=(), repr=False)
    is_answer: bool = False
    is_stream: bool = False
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a filter says; made by `passed`, `changed` and `blocked`.

    Attributes:
        is_blocked: Whether it ends here.
        reason: Why, for the caller; quotes nothing of the body.
        status: The HTTP status of a refusal.
        body: What takes the body's place; None where it stays.
        found: How many of what was found, by its kind.
        placeholders: What was masked, to be put back in the answer; None where nothing is.
    """

    is_blocked: bool = False
    reason: str = ""
    status: int = BLOCKED_STATUS
    body: bytes | None = field(default=None, repr=False)
    found: Mapping[str, int] = field(default_factory=dict)
    placeholders: Placeholders | None = field(default=None, repr=False)

    @classmethod
    def passed(cls, *, found: Mapping[str, int] = _NOTHING) -> Self:
        """Return that the body may go on as it is, whatever was found."""
        return cls(found=found)

    @classmethod
    def changed(cls, body: bytes, *, found: Mapping[str, int] = _NOTHING) -> Self:
        """Return that another body goes on in its place: of the same API, and streamed where the first was."""
        return cls(body=body, found=found)

    @classmethod
    def blocked(cls, reason: str, *, status: int = BLOCKED_STATUS, found: Mapping[str, int] = _NOTHING) -> Self:
        """Return that it ends here; the caller is told the first 200 characters of the reason."""
        return cls(is_blocked=True, reason=reason[:MOST_REASON_CHARS], status=status, found=found)

    @property
    def word(self) -> str:
        """What logs call it."""
        if self.is_blocked:
            return "blocked"
        if self.body is not None:
            return "changed"
        return "reported" if self.found else "passed"


class TextStep(Protocol):
    """One text of an answer as it comes, which may hold a part of it back."""

    def feed(self, piece: str) -> str:
        """Return what can be told by now.

        Raises:
            GuardrailError: The answer ends here.
        """

    def end(self) -> str:
        """Return what was held back, which nothing follows.

        Raises:
            GuardrailError: The answer ends here.
        """


class AnswerWatch(Protocol):
    """What one filter does with one answer."""

    @property
    def found(self) -> Mapping[str, int]:
        """How many of what was found so far, by its kind."""

    def text(self, *, in_json: bool) -> TextStep:
        """Return what is done with one text; `in_json` where the text is JSON itself."""


class Filter(Protocol):
    """Judges calls, or answers that are all there."""

    async def judge(self, subject: Subject) -> Verdict:
        """Return what it says; any exception is a failure of the filter."""

    async def aclose(self) -> None:
        """Close this event loop's connections."""


class TextFilter(Filter, Protocol):
    """A filter of ours, which judges an answer's texts as they come."""

    def watch(self) -> AnswerWatch:
        """Return what is done with one answer."""
