"""Content encodings of request bodies, decoded within a bound."""

import zlib
from typing import Final

from plano_asgi.errors import WireFormatError

ACCEPTED: Final = "gzip, deflate"

_GZIP: Final = zlib.MAX_WBITS | 16
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


def too_large(limit: int) -> WireFormatError:
    """Return the error for a body over the bound."""
    return WireFormatError(
        f"the body has more than {limit} bytes, the limit of this service; send less",
        code="request_too_large",
        status=413,
    )


def decode_body(data: bytes, encoding: str, *, limit: int) -> bytes:
    """Return the body without its content encoding; never holds more than `limit` decoded bytes.

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
        case _:
            raise WireFormatError(
                f"this content-encoding cannot be read here; send one of {ACCEPTED} or none",
                code="unsupported_encoding",
                status=415,
            )
    if len(decoded) > limit:
        raise too_large(limit)
    return decoded


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


def _damaged() -> WireFormatError:
    return WireFormatError("the body is not what its content-encoding says; check the encoder", code="invalid_encoding")
