"""Watching a provider's stream as its bytes pass: whether it has begun, how it ends, and what it says it has used.

Nothing is changed: what comes out are the bytes that came in, held back only to the end of the event that they are
part of, so that an event which never ends, or ends as no JSON, is never half sent.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

import orjson

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import UnusableAnswerError
from plano_asgi.wire.answer_facts import AnswerFacts
from plano_asgi.wire.sse import MOST_EVENT_BYTES, EventReader, ServerSentEvent
from plano_asgi.wire.usage import Usage

_EVENT_END: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LONGEST_END: Final = 4
_DONE: Final = b"[DONE]"

Told = Mapping[str, object]


class Sign(Enum):
    """What one event says of the stream that it is part of."""

    PREAMBLE = auto()
    CONTENT = auto()
    END = auto()
    ERROR = auto()


_MESSAGES_SIGNS: Final = {
    "message_start": Sign.PREAMBLE,
    "ping": Sign.PREAMBLE,
    "message_stop": Sign.END,
    "error": Sign.ERROR,
}
_RESPONSES_SIGNS: Final = {
    "response.created": Sign.PREAMBLE,
    "response.queued": Sign.PREAMBLE,
    "response.in_progress": Sign.PREAMBLE,
    "response.completed": Sign.END,
    "response.incomplete": Sign.END,
    "response.failed": Sign.ERROR,
    "error": Sign.ERROR,
}


class WatchedStream:
    """Reads along with one stream of server-sent events.

    Attributes:
        has_begun: Whether anything has come that a caller waits for, or the stream's own end.
        has_ended: Whether its terminal event has come.
        error: The error that it ended with, as it came; None where it has not.
        usage: The tokens that were counted so far.
        facts: What the provider has said of its answer so far.
        events: How many events with content have come.
        sequence_number: What Responses would number the next event with.
    """

    def __init__(self, api_format: ApiFormat) -> None:
        """Start before the first byte."""
        self.has_begun = False
        self.has_ended = False
        self.error: object = None
        self.usage = Usage()
        self.facts = AnswerFacts()
        self.events = 0
        self.sequence_number = 0
        self._read = _READERS[api_format]
        self._sign_of_done = Sign.END if api_format is ApiFormat.CHAT_COMPLETIONS else Sign.PREAMBLE
        self._reader = EventReader()
        self._pending = bytearray()
        self._searched = 0

    def feed(self, chunk: bytes) -> tuple[bytes, UnusableAnswerError | None]:
        """Return the bytes of the events that are complete now, and what is wrong with the one after them, if it is."""
        self._pending += chunk
        whole = 0
        problem: UnusableAnswerError | None = None
        for end in _EVENT_END.finditer(self._pending, max(0, self._searched - _LONGEST_END)):
            try:
                self._watch(self._reader.feed(bytes(self._pending[whole : end.end()])))
            except UnusableAnswerError as error:
                problem = error
                break
            whole = end.end()
        passed = bytes(self._pending[:whole])
        del self._pending[:whole]
        self._searched = len(self._pending)
        if problem is None and len(self._pending) > MOST_EVENT_BYTES:
            problem = UnusableAnswerError(f"the provider's stream has an event of more than {MOST_EVENT_BYTES} bytes")
        return passed, problem

    def end(self) -> tuple[bytes, UnusableAnswerError | None]:
        """Return the bytes that the end of the stream completes, and what is wrong where it ends too early."""
        rest = bytes(self._pending)
        self._pending.clear()
        try:
            self._watch([*self._reader.feed(rest), *self._reader.end()])
        except UnusableAnswerError as error:
            return b"", error
        if self.has_ended or self.error is not None:
            return rest, None
        return b"", UnusableAnswerError("the provider's stream ended before its answer was complete")

    def _watch(self, events: list[ServerSentEvent]) -> None:
        told: Told
        for event in events:
            if event.data == _DONE:
                told, sign = {}, self._sign_of_done
            else:
                told = _told_by(event)
                self.facts = self.facts.with_news(told)
                sign = self._read(event.name, told, self)
            if sign is Sign.ERROR:
                self.error = told
            self.events += sign is Sign.CONTENT
            self.has_begun = self.has_begun or sign in {Sign.CONTENT, Sign.END}
            self.has_ended = self.has_ended or sign is Sign.END


def _told_by(event: ServerSentEvent) -> Told:
    try:
        told = orjson.loads(event.data)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        raise UnusableAnswerError("the provider's stream has an event that is no JSON object")
    return told


def _read_chat_completions(name: str, told: Told, stream: WatchedStream) -> Sign:
    if name == "error" or told.get("error"):
        return Sign.ERROR
    stream.usage = stream.usage.with_news(told.get("usage"))
    choices = told.get("choices")
    is_preamble = isinstance(choices, list) and all(_says_nothing(choice) for choice in choices)
    return Sign.PREAMBLE if is_preamble else Sign.CONTENT


def _says_nothing(choice: object) -> bool:
    """Return whether a choice only opens: a role, and no words, tools or end."""
    if not isinstance(choice, dict) or choice.get("finish_reason"):
        return False
    delta = choice.get("delta")
    return not isinstance(delta, dict) or not any(value for key, value in delta.items() if key != "role")


def _read_messages(name: str, told: Told, stream: WatchedStream) -> Sign:
    kind = told.get("type") or name
    message = told.get("message")
    stream.usage = stream.usage.with_news(told.get("usage"))
    if isinstance(message, dict):
        stream.usage = stream.usage.with_news(message.get("usage"))
    return _MESSAGES_SIGNS.get(str(kind), Sign.CONTENT)


def _read_responses(name: str, told: Told, stream: WatchedStream) -> Sign:
    number = told.get("sequence_number")
    if isinstance(number, int):
        stream.sequence_number = number + 1
    response = told.get("response")
    if isinstance(response, dict):
        stream.usage = stream.usage.with_news(response.get("usage"))
    return _RESPONSES_SIGNS.get(str(told.get("type") or name), Sign.CONTENT)


def error_in(told: object) -> object:
    """Return the error itself of an event that tells of one, wherever its API puts it."""
    if not isinstance(told, Mapping):
        return None
    response = told.get("response")
    if isinstance(response, Mapping):
        return response.get("error")
    return told.get("error") or told


_READERS: Final[Mapping[ApiFormat, Callable[[str, Told, WatchedStream], Sign]]] = MappingProxyType(
    {
        ApiFormat.CHAT_COMPLETIONS: _read_chat_completions,
        ApiFormat.MESSAGES: _read_messages,
        ApiFormat.RESPONSES: _read_responses,
    }
)
