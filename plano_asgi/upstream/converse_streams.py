"""Watching a Bedrock Converse stream as its bytes pass; its events are AWS's binary messages."""

from typing import Final

import orjson

from plano_asgi.errors import UnusableAnswerError
from plano_asgi.upstream.streams import Sign, Told
from plano_asgi.wire.answer_facts import AnswerFacts
from plano_asgi.wire.aws_event_stream import EventStreamMessage, EventStreamReader
from plano_asgi.wire.sse import MOST_EVENT_BYTES
from plano_asgi.wire.usage import Usage

_SIGNS: Final = {"messageStart": Sign.PREAMBLE, "metadata": Sign.END}
_FAILED: Final = frozenset({"exception", "error"})


class WatchedConverseStream:
    """Reads along with one stream, as `WatchedStream` does with the others; its attributes mean the same.

    Both checksums of every message are checked. The last message is `metadata`, with the usage; a stream that ends
    after `messageStop` and without it has ended well, too.
    """

    def __init__(self) -> None:
        """Start before the first byte."""
        self.has_begun = False
        self.has_ended = False
        self.error: object = None
        self.usage = Usage()
        self.facts = AnswerFacts()
        self.events = 0
        self.sequence_number = 0
        self._reader = EventStreamReader(most_message_bytes=MOST_EVENT_BYTES)
        self._has_stopped = False

    def feed(self, chunk: bytes) -> tuple[bytes, UnusableAnswerError | None]:
        """Return the bytes, and what is wrong with a message that they complete; of bytes with such a one, none."""
        try:
            for message in self._reader.feed(chunk):
                self._watch(message)
        except UnusableAnswerError as error:
            return b"", error
        return chunk, None

    def end(self) -> tuple[bytes, UnusableAnswerError | None]:
        """Return no more bytes, and what is wrong where the stream ends too early."""
        if self._has_stopped or self.has_ended or self.error is not None:
            return b"", None
        return b"", UnusableAnswerError("the provider's stream ended before its answer was complete")

    def _watch(self, message: EventStreamMessage) -> None:
        told = _told_by(message)
        if message.headers.get(":message-type") in _FAILED:
            kind = message.headers.get(":exception-type") or message.headers.get(":error-code", "")
            self.error = {"type": kind, **told}
            return
        name = message.headers.get(":event-type", "")
        sign = _SIGNS.get(name, Sign.CONTENT)
        self.usage = self.usage.with_news(told.get("usage"))
        self.facts = self.facts.with_news(told)
        self.events += sign is Sign.CONTENT
        self.has_begun = self.has_begun or sign is not Sign.PREAMBLE
        self.has_ended = self.has_ended or sign is Sign.END
        self._has_stopped = self._has_stopped or name == "messageStop"


def _told_by(message: EventStreamMessage) -> Told:
    try:
        told = orjson.loads(message.payload)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        raise UnusableAnswerError("the provider's stream has an event that is no JSON object")
    return told
