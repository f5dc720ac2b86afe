"""AWS's binary event stream (`application/vnd.amazon.eventstream`), in which Bedrock streams an answer.

A message is a prelude (its length, its headers' length, a CRC of both), headers, a payload and a CRC of all before it;
numbers are big-endian. Source: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from plano_asgi.errors import UnusableAnswerError

MOST_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_PRELUDE: Final = struct.Struct(">III")
_CRC: Final = struct.Struct(">I")
_SHORT: Final = struct.Struct(">H")
_OVERHEAD: Final = _PRELUDE.size + _CRC.size
_STRING: Final = 7
_SIZED: Final = frozenset({6, _STRING})  # bytes and strings: a length of two bytes comes first
_FIXED: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # header type to the bytes of its value


@dataclass(frozen=True, slots=True)
class EventStreamMessage:
    """One message: its headers that are strings, and its payload, which is not in its `repr`."""

    headers: Mapping[str, str]
    payload: bytes = field(repr=False)


class EventStreamReader:
    """Reads messages out of bytes that arrive in pieces, and checks both checksums of each."""

    def __init__(self, *, most_message_bytes: int = MOST_MESSAGE_BYTES) -> None:
        """Start before the first byte of a stream whose messages have at most that many bytes."""
        self._most = most_message_bytes
        self._bytes = bytearray()

    @property
    def is_between_messages(self) -> bool:
        """Whether all bytes so far belong to whole messages."""
        return not self._bytes

    def feed(self, chunk: bytes) -> list[EventStreamMessage]:
        """Return the messages that these bytes complete.

        Raises:
            UnusableAnswerError: A checksum or a length is wrong, or one message is larger than is read.
        """
        self._bytes += chunk
        messages: list[EventStreamMessage] = []
        start = 0
        while (total := self._length_at(start)) is not None and len(self._bytes) - start >= total:
            messages.append(_message(bytes(self._bytes[start : start + total])))
            start += total
        del self._bytes[:start]
        return messages

    def _length_at(self, start: int) -> int | None:
        """Return the length of the message that begins there, None while its prelude is not all here."""
        if len(self._bytes) - start < _PRELUDE.size:
            return None
        total, headers, checksum = _PRELUDE.unpack_from(self._bytes, start)
        if crc32(self._bytes[start : start + 8]) != checksum:
            raise _unusable("a prelude's checksum is wrong")
        if total < headers + _OVERHEAD or total > self._most:
            raise _unusable("a message's length is not possible")
        return int(total)


def write_message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return a message as bytes."""
    head = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    prelude = struct.pack(">II", len(head) + len(payload) + _OVERHEAD, len(head))
    message = prelude + _CRC.pack(crc32(prelude)) + head + payload
    return message + _CRC.pack(crc32(message))


def _header(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + bytes([_STRING]) + _SHORT.pack(len(value)) + value


def _message(data: bytes) -> EventStreamMessage:
    (checksum,) = _CRC.unpack_from(data, len(data) - _CRC.size)
    if crc32(data[: -_CRC.size]) != checksum:
        raise _unusable("a message's checksum is wrong")
    _, headers_length, _ = _PRELUDE.unpack_from(data)
    end = _PRELUDE.size + headers_length
    return EventStreamMessage(_headers(data[_PRELUDE.size : end]), data[end : -_CRC.size])


def _headers(data: bytes) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    position = 0
    try:
        while position < len(data):
            name_end = position + 1 + data[position]
            name, kind, value_start = data[position + 1 : name_end], data[name_end], name_end + 1
            if kind in _SIZED:
                (length,) = _SHORT.unpack_from(data, value_start)
                value_start += _SHORT.size
            else:
                length = _FIXED[kind]
            position = value_start + length
            if kind == _STRING:
                headers[name.decode()] = data[value_start:position].decode()
    except (IndexError, KeyError, struct.error, UnicodeDecodeError):
        raise _unusable("a message's headers are malformed") from None
    if position != len(data):
        raise _unusable("a message's headers are malformed")
    return headers


def _unusable(why: str) -> UnusableAnswerError:
    return UnusableAnswerError(f"the provider's event stream is damaged: {why}")
