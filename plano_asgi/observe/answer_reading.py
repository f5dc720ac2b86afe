"""Reading along with the answer that a caller is given, for who wants to see it afterwards."""

from dataclasses import dataclass
from typing import Final

import orjson

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError
from plano_asgi.observe.content import MOST_CHARS, Said, content_of_answer
from plano_asgi.providers import ProviderFormat
from plano_asgi.translate.answer import Delta, Kind, PartKey
from plano_asgi.translate.call import Refusal, Text, Thinking, ToolCall
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.tables import PROVIDERS, StreamReader
from plano_asgi.translate.taking import Taking
from plano_asgi.wire.exact_json import read_json
from plano_asgi.wire.sse import EventReader

MOST_READ_BYTES: Final = 262_144
MOST_PARTS: Final = 64
_DONE: Final = b"[DONE]"


@dataclass(slots=True)
class _Growing:
    """A part of a streamed answer so far."""

    kind: Kind
    id: str
    name: str
    text: str = ""

    @property
    def said(self) -> Said:
        match self.kind:
            case Kind.TOOL_CALL:
                return ToolCall(self.id, self.name, self.text)
            case Kind.THINKING:
                return Thinking(self.text)
            case Kind.REFUSAL:
                return Refusal(self.text)
            case Kind.TEXT:
                return Text(self.text)


class AnswerReader:
    """Reads the first choice of one answer while it passes, in the API that its caller speaks; nothing is changed.

    Of a whole answer of more than 256 KiB nothing is read. Of a stream 64 parts are held at the most, and no more words
    than are told. Where an answer is not what its API allows, what was read before holds. Never raises.
    """

    def __init__(self, api_format: ApiFormat, *, is_stream: bool) -> None:
        """Start before the first byte."""
        side = PROVIDERS[ProviderFormat(api_format.value)]
        self._read_whole = side.read_answer
        self._stream = side.stream_reader() if is_stream else None
        self._events = EventReader(most_event_bytes=MOST_READ_BYTES)
        self._whole = b""
        self._parts: dict[PartKey, _Growing] = {}
        self._read_chars = 0
        self._is_over = False

    def feed(self, piece: bytes) -> None:
        """Take the next bytes; none at the end."""
        if self._stream is None:
            self._whole = piece or self._whole
        elif not self._is_over:
            try:
                self._read_on(self._stream, piece)
            except (CallError, ValueError):
                self._is_over = True

    def messages(self, *, finish: str) -> str | None:
        """Return what was said as the conventions write it, None where nothing was; it ended for that reason."""
        said = [part.said for part in self._parts.values()] if self._stream else self._all_said()
        return content_of_answer(said, finish=finish) if said else None

    def _read_on(self, stream: StreamReader, piece: bytes) -> None:
        for event in self._events.feed(piece):
            if event.data == _DONE:
                continue
            for told in stream.read(event.name, Taking(_object(orjson.loads(event.data)), "", Losses())):
                if isinstance(told, Delta):
                    self._grow(told)

    def _grow(self, delta: Delta) -> None:
        part = self._parts.get(delta.key)
        if part is None:
            if len(self._parts) >= MOST_PARTS:
                return
            part = self._parts[delta.key] = _Growing(delta.kind, delta.id, delta.name)
        part.text += delta.text[: max(0, MOST_CHARS + 1 - self._read_chars)]
        self._read_chars += len(delta.text)
        self._is_over = self._read_chars > MOST_CHARS

    def _all_said(self) -> list[Said]:
        if not 0 < len(self._whole) <= MOST_READ_BYTES:
            return []
        try:
            return list(self._read_whole(Taking(_object(read_json(self._whole)), "", Losses())).parts)
        except (CallError, ValueError):
            return []


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - as of JSON that cannot be read
    return value
