"""Content encodings of request bodies, decoded within a bound.

gzip and deflate can always be read; br and zstd where the packages of the extra `compression` are installed.
"""

import zlib
from importlib import import_module
from typing import Any, Final

from plano_asgi.errors import WireFormatError

UNSUPPORTED_ENCODING: Final = "unsupported_encoding"

_EXTRA: Final = "compression"
_DECODERS: Final = {  # by encoding: package, class, and what that can do in every version that will do
    "br": ("brotli", "Decompressor", "can_accept_more_data"),
    "zstd": ("zstandard", "ZstdDecompressor", "stream_reader"),
}
_GZIP: Final = zlib.MAX_WBITS | 16
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_STEP_BYTES: Final = 65_536
_ZSTD_WINDOW_BYTES: Final = 8_388_608  # the most that a zstd content encoding may ask for (RFC 9659, section 3)


def too_large(limit: int) -> WireFormatError:
    """Return the error for a body over the bound."""
    return WireFormatError(
        f"the body has more than {limit} bytes, the limit of this service; send less",
        code="request_too_large",
        status=413,
    )


def accepted_encodings() -> str:
    """Return the encodings that can be read here, as the value of `accept-encoding`."""
    return ", ".join(["gzip", "deflate", *(name for name in _DECODERS if _package(name))])


def decode_body(data: bytes, encoding: str, *, limit: int) -> bytes:
    """Return the body without its content encoding; never holds more than `limit` decoded bytes and one step beyond.

    Raises:
        WireFormatError: 415 for an encoding unknown here or several on top of each other, 413 beyond the limit,
            400 for data that is cut short, damaged or followed by something else.
    """
    match encoding.strip().lower():
        case "" | "identity":
            decoded = data
        case "gzip" | "x-gzip":
            decoded = _inflate(data, _GZIP, limit)
        case "deflate":  # RFC 9110 means zlib; some clients send the bare stream
            decoded = _inflate(data, _ZLIB if _is_zlib(data) else _RAW, limit)
        case "br":
            decoded = _decode_brotli(_required("br"), data, limit)
        case "zstd":
            decoded = _decode_zstd(_required("zstd"), data, limit)
        case _:
            raise _unsupported()
    if len(decoded) > limit:
        raise too_large(limit)
    return decoded


def _unsupported(advice: str = "") -> WireFormatError:
    message = f"this content-encoding cannot be read here; send one of {accepted_encodings()} or none{advice}"
    return WireFormatError(message, code=UNSUPPORTED_ENCODING, status=415)


def _package(encoding: str) -> Any:  # noqa: ANN401 - a module
    """Return the package that reads an encoding, imported when it is first needed; None where it is not there."""
    name, decoder, ability = _DECODERS[encoding]
    try:
        package = import_module(name)
    except ImportError:
        return None
    return package if hasattr(getattr(package, decoder, None), ability) else None


def _required(encoding: str) -> Any:  # noqa: ANN401 - a module
    package = _package(encoding)
    if package is None:
        raise _unsupported(f"; for {encoding}, the service needs an extra: pip install 'plano-asgi[{_EXTRA}]'")
    return package


def _is_zlib(data: bytes) -> bool:
    """Return whether the data has a zlib header (RFC 1950, section 2.2)."""
    return len(data) > 1 and data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0


def _inflate(data: bytes, window_bits: int, limit: int) -> bytes:
    decoder = zlib.decompressobj(window_bits)
    try:
        decoded = decoder.decompress(data, limit + 1)
    except zlib.error:
        raise _damaged() from None
    if len(decoded) > limit:
        raise too_large(limit)
    if not decoder.eof or decoder.unused_data:
        raise _damaged()
    return decoded


def _decode_brotli(brotli: Any, data: bytes, limit: int) -> bytes:  # noqa: ANN401 - a module
    decoder = brotli.Decompressor()
    decoded = bytearray()
    try:
        while not decoder.is_finished():
            step: bytes = decoder.process(data, output_buffer_limit=_STEP_BYTES)
            if not step and not decoder.is_finished():
                raise _damaged()  # it wants more, and there is no more
            decoded += step
            if len(decoded) > limit:
                raise too_large(limit)
            data = b""
    except brotli.error:
        raise _damaged() from None
    return bytes(decoded)


def _decode_zstd(zstandard: Any, data: bytes, limit: int) -> bytes:  # noqa: ANN401 - a module
    """Measure what the data holds before it is decoded at once: only that tells where the first frame ends."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    try:
        size, reader = 0, decompressor.stream_reader(data)
        while step := len(reader.read(_STEP_BYTES)):
            size += step
            if size > limit:
                raise too_large(limit)
        decoder = decompressor.decompressobj()
        decoded: bytes = decoder.decompress(data)
    except zstandard.ZstdError:
        raise _damaged() from None
    if not decoder.eof or decoder.unused_data:
        raise _damaged()
    return decoded


def _damaged() -> WireFormatError:
    return WireFormatError("the body is not what its content-encoding says; check the encoder", code="invalid_encoding")
