"""Bodies of WSGI requests: taken within a bound, and given to the app again."""

from dataclasses import dataclass
from io import BufferedReader, BytesIO, RawIOBase
from typing import Any, Protocol

from plano_asgi.intake import Headers
from plano_asgi.intake.environ import Environ


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Body:
    """What was taken of a body.

    Attributes:
        data: Its bytes; None where it is larger than the limit.
        again: What the app is to read; None where nothing was taken.
    """

    data: bytes | None
    again: BytesIO | BufferedReader | None = None


def take_body(environ: Environ, headers: Headers, *, limit: int) -> Body:
    """Return the body of a request; one that is announced as too large, or has no end, is not touched.

    A body without a length is read only where the server says that it ends by itself (`wsgi.input_terminated`), as
    Flask reads it; otherwise it is empty, for Flask and for us.
    """
    source: _Readable = environ["wsgi.input"]
    length = headers.content_length
    if length is None and not environ.get("wsgi.input_terminated"):
        return Body(b"")
    if length is not None and length > limit:
        return Body(None)
    data = _read(source, limit + 1 if length is None else length)
    if len(data) > limit:
        return Body(None, BufferedReader(_Rest(data, source)))
    return Body(data, BytesIO(data))


def _read(source: _Readable, most: int) -> bytes:
    """Return as many bytes, or all there are; servers may give fewer at a time than they are asked for."""
    data = bytearray()
    while len(data) < most and (piece := source.read(most - len(data))):
        data += piece
    return bytes(data)


class _Rest(RawIOBase):
    """What was taken of a body, and then the rest of it."""

    def __init__(self, taken: bytes, source: _Readable) -> None:
        self._taken = memoryview(taken)
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Fill the buffer with what was taken first, then with what still comes."""
        piece: bytes | memoryview = self._taken[: len(buffer)] or self._source.read(len(buffer))
        self._taken = self._taken[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)
