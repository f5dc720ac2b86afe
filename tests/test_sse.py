"""Server-sent events and AWS's event stream: the same events however the bytes are cut."""

import struct
from itertools import pairwise
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.errors import UnusableAnswerError
from plano_asgi.wire.aws_event_stream import EventStreamReader, write_message
from plano_asgi.wire.sse import EventReader, ServerSentEvent, write_event

STREAM = (
    b'\xef\xbb\xbfevent: message_start\r\n: a comment\r\ndata: {"a":1}\r\n\r\n'
    b"id: 7\ndata: first\ndata: second\nretry: 10\n\n"
    b"data:no space\r\rdata\n\n"
    b": ping\n\nevent: alone\n\n" + "data: größer 🙂\n\n".encode() + b"data: [DONE]\n\n"
)
EVENTS = [
    ServerSentEvent(b'{"a":1}', "message_start"),
    ServerSentEvent(b"first\nsecond"),
    ServerSentEvent(b"no space"),
    ServerSentEvent(b""),
    ServerSentEvent("größer 🙂".encode()),
    ServerSentEvent(b"[DONE]"),
]
CUTS = st.lists(st.integers(0, 400), max_size=30)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return the data cut at those places."""
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


@settings(deadline=None)
@given(cuts=CUTS)
def test_events_do_not_depend_on_the_cuts(cuts: list[int]) -> None:
    """However a stream is cut, also within a character or between CR and LF, its events are the same."""
    reader = EventReader()

    assert [event for piece in pieces(STREAM, cuts) for event in reader.feed(piece)] == EVENTS
    assert reader.end() == []


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_events_come_byte_by_byte(size: int) -> None:
    """A stream that comes a few bytes at a time gives the same events."""
    reader = EventReader()
    chunks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]

    assert [event for chunk in chunks for event in reader.feed(chunk)] == EVENTS


def test_the_last_event_needs_no_blank_line() -> None:
    """An event that the end of the stream cuts off before its blank line is given at the end, once."""
    reader = EventReader()

    assert reader.feed(b"data: one\n\ndata: two") == [ServerSentEvent(b"one")]
    assert reader.end() == [ServerSentEvent(b"two")]
    assert reader.end() == []


@settings(deadline=None)
@given(
    data=st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])),
    name=st.from_regex("[a-z_.]{0,9}", fullmatch=True),
)
def test_what_is_written_is_read(data: str, name: str) -> None:
    """An event that is written is read as the same event."""
    assert EventReader().feed(write_event(data.encode(), name=name)) == [ServerSentEvent(data.encode(), name)]


@pytest.mark.parametrize("line", [b"data: " + b"x" * 200, b"data: x\n" * 40], ids=["one line", "many lines"])
def test_one_event_is_bounded(line: bytes) -> None:
    """An event of more bytes than are allowed is refused, in one line or in many."""
    reader = EventReader(most_event_bytes=64)

    with pytest.raises(UnusableAnswerError, match="more than 64 bytes"):
        reader.feed(line)


def test_data_is_not_in_the_repr() -> None:
    """The words of a stream do not reach a log by way of a `repr`."""
    assert "secret" not in repr(ServerSentEvent(b"secret"))


MESSAGE = write_message({":event-type": "messageStop", ":message-type": "event"}, b'{"stopReason":"end_turn"}')


def test_an_empty_message_is_as_the_specification_has_it() -> None:
    """A message without headers and payload is the sixteen bytes that its specification gives."""
    assert write_message({}, b"") == bytes.fromhex("00000010 00000000 05c248eb 7d98c8ff")


@settings(deadline=None)
@given(cuts=CUTS)
def test_messages_do_not_depend_on_the_cuts(cuts: list[int]) -> None:
    """However an event stream is cut, its messages are the same, and none is left over."""
    reader = EventStreamReader()
    read = [message for piece in pieces(MESSAGE * 3, cuts) for message in reader.feed(piece)]

    assert [(m.headers[":event-type"], m.payload) for m in read] == [("messageStop", b'{"stopReason":"end_turn"}')] * 3
    assert reader.is_between_messages


@settings(deadline=None)
@given(place=st.integers(0, len(MESSAGE) - 1), flip=st.integers(1, 255))
def test_a_damaged_message_is_never_read(place: int, flip: int) -> None:
    """A message with any byte changed is refused, or waited for; it is never given as good."""
    damaged = bytearray(MESSAGE)
    damaged[place] ^= flip

    try:
        assert EventStreamReader().feed(bytes(damaged)) == []
    except UnusableAnswerError as error:
        assert "damaged" in error.message  # noqa: PT017 - either way is right


def test_headers_of_other_types_are_passed_over() -> None:
    """A header that is no string is skipped, and those after it are read."""
    number = bytes([1]) + b"n" + bytes([4]) + struct.pack(">i", 7)
    blob = bytes([1]) + b"b" + bytes([6]) + struct.pack(">H", 2) + b"xy"
    text = bytes([1]) + b"t" + bytes([7]) + struct.pack(">H", 2) + b"ok"
    head = number + blob + text
    prelude = struct.pack(">II", len(head) + 16, len(head))
    message = prelude + struct.pack(">I", crc32(prelude)) + head

    (read,) = EventStreamReader().feed(message + struct.pack(">I", crc32(message)))

    assert read.headers == {"t": "ok"}


@pytest.mark.parametrize("head", [b"\x05ab", b"\x01n\x63", b"\x01t\x07\x00\x09ab"], ids=["name", "type", "value"])
def test_malformed_headers_are_refused(head: bytes) -> None:
    """Headers that reach beyond their part of the message, or are of an unknown type, are refused."""
    prelude = struct.pack(">II", len(head) + 16, len(head))
    message = prelude + struct.pack(">I", crc32(prelude)) + head

    with pytest.raises(UnusableAnswerError, match="headers are malformed"):
        EventStreamReader().feed(message + struct.pack(">I", crc32(message)))


def test_one_message_is_bounded() -> None:
    """A message that says it is larger than is read is refused before its bytes are waited for."""
    with pytest.raises(UnusableAnswerError, match="length is not possible"):
        EventStreamReader(most_message_bytes=32).feed(MESSAGE[:12])
