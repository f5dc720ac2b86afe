"""Server-sent events, as the three APIs stream them: bytes in, however they are cut, and whole events out."""

import re
from dataclasses import dataclass, field
from typing import Final

from plano_asgi.errors import UnusableAnswerError

MOST_EVENT_BYTES: Final = 16 * 1024 * 1024
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event; its data is not in its `repr`.

    Attributes:
        data: The `data` lines, joined by a newline.
        name: The `event` field; empty where there was none.
    """

    data: bytes = field(repr=False)
    name: str = ""


def write_event(data: bytes, *, name: str = "") -> bytes:
    """Return an event as bytes; `data` is one line, as JSON is when it is written without spaces."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + data + b"\n\n"


class EventReader:
    """Reads events out of bytes that arrive in pieces; the pieces may end anywhere, also inside a character."""

    def __init__(self, *, most_event_bytes: int = MOST_EVENT_BYTES) -> None:
        """Start before the first byte of a stream whose events have at most that many bytes."""
        self._most = most_event_bytes
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = b""
        self._is_after_cr = False
        self._is_first_line = True

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that these bytes complete.

        Raises:
            UnusableAnswerError: One event is larger than is read.
        """
        if not chunk:
            return []
        if self._is_after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._is_after_cr = chunk.endswith(b"\r")
        events: list[ServerSentEvent] = []
        ends_here, *lines = _LINE_END.split(chunk)
        self._line += ends_here
        for line in lines:
            self._take_line(bytes(self._line), events)
            self._line = bytearray(line)
        if len(self._line) + self._data_bytes > self._most:
            raise UnusableAnswerError(f"the provider's stream has an event of more than {self._most} bytes")
        return events

    def end(self) -> list[ServerSentEvent]:
        """Return the event that the stream's end completes: its last one, where the blank line after it is missing."""
        events: list[ServerSentEvent] = []
        for line in (bytes(self._line), b""):
            self._take_line(line, events)
        self._line = bytearray()
        return events

    def _take_line(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if self._is_first_line:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            self._is_first_line = False
        if not line:
            if self._data:
                events.append(ServerSentEvent(b"\n".join(self._data), self._name.decode(errors="replace")))
            self._data, self._data_bytes, self._name = [], 0, b""
            return
        key, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if key == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
        elif key == b"event":
            self._name = value
