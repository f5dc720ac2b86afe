"""Reading along with a stream: whatever way it is cut, its bytes and what is understood of it are the same."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.conversation import ApiFormat
from plano_asgi.upstream.streams import WatchedStream
from plano_asgi.wire.sse import MOST_EVENT_BYTES
from plano_asgi.wire.usage import Usage

FORMATS = {
    "/v1/chat/completions": ApiFormat.CHAT_COMPLETIONS,
    "/v1/messages": ApiFormat.MESSAGES,
    "/v1/responses": ApiFormat.RESPONSES,
}
TEXT = "日本語 \U0001f680"


def sse(*events: dict[str, Any] | str, end: str = "\n") -> bytes:
    """Return events, their lines ended as given."""
    texts = [event if isinstance(event, str) else json.dumps(event, ensure_ascii=False) for event in events]
    return "".join(f": c{end}data: {text}{end}{end}" for text in texts).encode()


CHAT_EVENTS: tuple[dict[str, Any] | str, ...] = (
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"content": TEXT}, "finish_reason": None}]},
    {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 4}},
    "[DONE]",
)
MESSAGES_EVENTS: tuple[dict[str, Any] | str, ...] = (
    {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}},
    {"type": "ping"},
    {"type": "content_block_delta", "delta": {"text": TEXT}},
    {"type": "message_delta", "usage": {"output_tokens": 4}},
    {"type": "message_stop"},
)
RESPONSES_EVENTS: tuple[dict[str, Any] | str, ...] = (
    {"type": "response.created", "sequence_number": 0, "response": {"usage": None}},
    {"type": "response.output_text.delta", "sequence_number": 1, "delta": TEXT},
    {
        "type": "response.completed",
        "sequence_number": 2,
        "response": {"usage": {"input_tokens": 7, "output_tokens": 4}},
    },
)
STREAMS = {
    ApiFormat.CHAT_COMPLETIONS: CHAT_EVENTS,
    ApiFormat.MESSAGES: MESSAGES_EVENTS,
    ApiFormat.RESPONSES: RESPONSES_EVENTS,
}
every_format = pytest.mark.parametrize("api_format", ApiFormat, ids=str)


@given(
    api_format=st.sampled_from(list(ApiFormat)),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(0, 600), max_size=30),
)
@settings(max_examples=200, deadline=None)
def test_any_way_to_cut_a_stream_is_the_same_stream(api_format: ApiFormat, end: str, cuts: list[int]) -> None:
    """What comes out are the bytes that went in, and begin, end and usage are understood alike."""
    data = sse(*STREAMS[api_format], end=end)
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    stream = WatchedStream(api_format)

    passed = b""
    for start, stop in pairwise(places):
        piece, problem = stream.feed(data[start:stop])
        assert problem is None
        passed += piece
    rest, problem = stream.end()

    assert problem is None
    assert passed + rest == data
    assert (stream.has_begun, stream.has_ended, stream.error) == (True, True, None)
    assert stream.usage == Usage(input_tokens=7, output_tokens=4)


@every_format
def test_stream_begins_with_its_first_word(api_format: ApiFormat) -> None:
    """What only opens a stream is no beginning: another model could still answer in its stead."""
    stream, begun = WatchedStream(api_format), []
    for event in STREAMS[api_format]:
        stream.feed(sse(event))
        begun.append(stream.has_begun)

    assert begun == sorted(begun)
    assert begun.index(True) == (2 if api_format is ApiFormat.MESSAGES else 1)


@every_format
def test_stream_that_lacks_its_end_is_found_out(api_format: ApiFormat) -> None:
    """The last event but one is no end, whole or not."""
    stream = WatchedStream(api_format)
    stream.feed(sse(*STREAMS[api_format][:-1]))

    assert stream.end()[1] is not None


@every_format
def test_end_without_its_blank_line_is_an_end(api_format: ApiFormat) -> None:
    """A stream that ends right after its last word is complete, and its bytes all pass."""
    data = sse(*STREAMS[api_format]).rstrip(b"\n")
    stream = WatchedStream(api_format)

    passed, _ = stream.feed(data)
    rest, problem = stream.end()

    assert (passed + rest, problem, stream.has_ended) == (data, None, True)


@every_format
@pytest.mark.parametrize("bad", ["{", "[1]", '"x"', "NaN", "words"])
def test_event_that_is_no_json_object_stops_the_stream_before_it(api_format: ApiFormat, bad: str) -> None:
    """The events before it pass, it does not."""
    good = sse(*STREAMS[api_format][:2])
    stream = WatchedStream(api_format)

    passed, problem = stream.feed(good + sse(bad, *STREAMS[api_format]))

    assert passed == good
    assert problem is not None


@every_format
def test_event_without_end_is_not_held_for_ever(api_format: ApiFormat) -> None:
    """Beyond its bound, an event that never ends is a fault."""
    stream = WatchedStream(api_format)
    problems = [stream.feed(b"data: " + b"x" * 1_048_576)[1] for _ in range(MOST_EVENT_BYTES // 1_048_576 + 1)]

    assert problems[0] is None
    assert problems[-1] is not None


@given(data=st.binary(max_size=300), api_format=st.sampled_from(list(ApiFormat)))
@settings(max_examples=200, deadline=None)
def test_no_bytes_break_the_reader(data: bytes, api_format: ApiFormat) -> None:
    """Whatever comes is passed or found wrong; nothing is raised, and nothing passes that did not come."""
    stream = WatchedStream(api_format)

    passed, problem = stream.feed(data)
    rest = b"" if problem else stream.end()[0]

    assert data.startswith(passed + rest)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.failed", "sequence_number": 4, "response": {"error": {"code": "server_error"}}},
        {"type": "error", "sequence_number": 4, "code": "server_error", "message": "x"},
    ],
    ids=["failed", "error"],
)
def test_failure_of_a_response_is_an_error_and_ends_it(event: dict[str, Any]) -> None:
    """A stream that says itself that it has failed needs no second word of it."""
    stream = WatchedStream(ApiFormat.RESPONSES)
    stream.feed(sse(*RESPONSES_EVENTS[:2], event))

    assert stream.error is not None
    assert stream.sequence_number == 5
    assert stream.end() == (b"", None)
