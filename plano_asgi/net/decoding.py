"""Content encodings of answers, decoded as they arrive, a bounded piece at a time."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, Protocol

from plano_asgi.errors import NetworkError

_PIECE_BYTES: Final = 65_536
_ZSTD_SLICE_BYTES: Final = 256  # a few bytes may stand for 128 KiB, and its decoder has no bound of its own
_ZSTD_WINDOW_BYTES: Final = 8_388_608  # the most that a zstd content encoding may ask for (RFC 9659, section 3)


class Decoder(Protocol):
    """What turns the bytes of an answer into those that were meant."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what more of the answer means, in pieces."""

    def is_at_end(self) -> bool:
        """Return whether the answer may end here."""


def decoder_of(encoding: str) -> Decoder:
    """Return a decoder for a content encoding.

    Raises:
        NetworkError: It cannot be read here.
    """
    make = _DECODERS.get(encoding.strip().lower())
    try:
        if make:
            return make()
    except ImportError:
        pass
    raise NetworkError("the answer has a content encoding that cannot be read here, though none was asked for")


class _Identity:
    def feed(self, data: bytes) -> Iterator[bytes]:
        if data:
            yield data

    def is_at_end(self) -> bool:
        return True


class _Zlib:
    """gzip and zlib tell themselves apart."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            while data:
                if piece := self._decoder.decompress(data, _PIECE_BYTES):
                    yield piece
                data = self._decoder.unconsumed_tail
        except zlib.error:
            raise _damaged() from None

    def is_at_end(self) -> bool:
        return self._decoder.eof


class _Brotli:
    def __init__(self) -> None:
        self._package: Any = import_module("brotli")
        self._decoder = self._package.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            while piece := self._decoder.process(data, output_buffer_limit=_PIECE_BYTES):
                yield piece
                data = b""
        except self._package.error:
            raise _damaged() from None

    def is_at_end(self) -> bool:
        return bool(self._decoder.is_finished())


class _Zstd:
    def __init__(self) -> None:
        self._package: Any = import_module("zstandard")
        self._decoder = self._package.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            for start in range(0, len(data), _ZSTD_SLICE_BYTES):
                if piece := self._decoder.decompress(data[start : start + _ZSTD_SLICE_BYTES]):
                    yield piece
        except self._package.ZstdError:
            raise _damaged() from None

    def is_at_end(self) -> bool:
        return bool(self._decoder.eof)


_DECODERS: Final[Mapping[str, Callable[[], Decoder]]] = MappingProxyType(
    {
        "": _Identity,
        "identity": _Identity,
        "gzip": _Zlib,
        "x-gzip": _Zlib,
        "deflate": _Zlib,
        "br": _Brotli,
        "zstd": _Zstd,
    }
)


def _damaged() -> NetworkError:
    return NetworkError("the answer is not what its content-encoding says")
