"""Answers, streams and errors of every provider's API as every caller's, judged by the official SDKs."""

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import anthropic
import httpx2
import openai
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import UnusableAnswerError
from plano_asgi.providers import ProviderFormat
from plano_asgi.translate import (
    StreamTranslation,
    TranslationContext,
    Usage,
    translate_answer,
    translate_error,
    translate_request,
)
from plano_asgi.wire.aws_event_stream import write_message
from plano_asgi.wire.sse import EventReader, write_event

CHAT, MESSAGES, RESPONSES = ApiFormat.CHAT_COMPLETIONS, ApiFormat.MESSAGES, ApiFormat.RESPONSES
OF_CHAT, OF_MESSAGES, OF_RESPONSES, OF_BEDROCK = ProviderFormat
PAIRS = [(caller, provider) for caller in ApiFormat for provider in ProviderFormat if caller.value != provider.value]
ANSWER_OF: Mapping[ApiFormat, type[BaseModel]] = {
    CHAT: ChatCompletion,
    MESSAGES: anthropic.types.Message,
    RESPONSES: Response,
}
EVENT_OF: Mapping[ApiFormat, TypeAdapter[Any]] = {
    CHAT: TypeAdapter(ChatCompletionChunk),
    MESSAGES: TypeAdapter(anthropic.types.RawMessageStreamEvent),
    RESPONSES: TypeAdapter(ResponseStreamEvent),
}


def context(caller: ApiFormat, provider: ProviderFormat) -> TranslationContext:
    """Return what is remembered of some request."""
    return TranslationContext(source=caller, target=provider, model="m", call_id="abc", now=5)


# One answer, as each provider tells it: thoughts, words, and two calls of tools.
CHAT_USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
RESPONSES_USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 15,
}
MESSAGES_USAGE = {"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 5}
BEDROCK_USAGE = {"inputTokens": 6, "outputTokens": 5, "totalTokens": 15, "cacheReadInputTokens": 4}
RESPONSES_OUTPUT: list[dict[str, Any]] = [
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "enc",
    },
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Größe 🙂", "annotations": []}],
    },
    {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}'},
    {"type": "function_call", "id": "fc_2", "call_id": "call_2", "name": "g", "arguments": "{}"},
]
ANSWERS: Mapping[ProviderFormat, dict[str, Any]] = {
    OF_CHAT: {
        "id": "id_1",
        "object": "chat.completion",
        "created": 1,
        "model": "real",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Größe 🙂",
                    "reasoning_content": "hm",
                    "tool_calls": [
                        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                        {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": ""}},
                    ],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": CHAT_USAGE,
    },
    OF_MESSAGES: {
        "id": "id_1",
        "type": "message",
        "role": "assistant",
        "model": "real",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "Größe 🙂"},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "call_2", "name": "g", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": MESSAGES_USAGE,
    },
    OF_RESPONSES: {
        "id": "id_1",
        "object": "response",
        "status": "completed",
        "model": "real",
        "output": RESPONSES_OUTPUT,
        "usage": RESPONSES_USAGE,
    },
    OF_BEDROCK: {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
                    {"text": "Größe 🙂"},
                    {"toolUse": {"toolUseId": "call_1", "name": "f", "input": {"a": 1}}},
                    {"toolUse": {"toolUseId": "call_2", "name": "g", "input": {}}},
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": BEDROCK_USAGE,
        "metrics": {"latencyMs": 1},
    },
}


def chunk(delta: Any, finish: str | None = None, **fields: Any) -> bytes:
    """Return a chunk of Chat Completions."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return write_event(orjson.dumps({"id": "id_1", "model": "real", "choices": [choice], **fields}))


def called(index: int, **call: Any) -> dict[str, Any]:
    """Return the delta of a tool's call."""
    return {"tool_calls": [{"index": index, **call}]}


def event(kind: str, **fields: Any) -> bytes:
    """Return an event of Messages or Responses."""
    return write_event(orjson.dumps({"type": kind, **fields}), name=kind)


def block(index: int, start: Any, *deltas: Any) -> bytes:
    """Return the events of one block of Messages."""
    events = [event("content_block_start", index=index, content_block=start)]
    events += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
    return b"".join([*events, event("content_block_stop", index=index)])


def frame(kind: str, fields: Any, *, message_type: str = "event") -> bytes:
    """Return a message of Bedrock's event stream."""
    return write_message({f":{message_type}-type": kind, ":message-type": message_type}, orjson.dumps(fields))


def bedrock_block(index: int, *deltas: Any, start: Any = None) -> bytes:
    """Return the messages of one block of Bedrock."""
    frames = [frame("contentBlockStart", {"contentBlockIndex": index, "start": start})] if start else []
    frames += [frame("contentBlockDelta", {"contentBlockIndex": index, "delta": delta}) for delta in deltas]
    return b"".join([*frames, frame("contentBlockStop", {"contentBlockIndex": index})])


def responses_stream() -> Iterator[bytes]:
    """Yield the events of the answer as Responses streams it."""
    begun = {"id": "id_1", "model": "real", "status": "in_progress", "output": []}
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    for index, item in enumerate(RESPONSES_OUTPUT):
        yield event("response.output_item.added", output_index=index, item=item | {"arguments": ""})
        if item["type"] == "reasoning":
            yield event("response.reasoning_summary_text.delta", output_index=index, summary_index=0, delta="hm")
        elif item["type"] == "message":
            for words in ("Grö", "ße 🙂"):
                yield event("response.output_text.delta", output_index=index, content_index=0, delta=words)
            yield event("response.content_part.done", output_index=index, content_index=0, part={})
        elif item["arguments"] != "{}":
            for words in ('{"a"', ": 1}"):
                yield event("response.function_call_arguments.delta", output_index=index, delta=words)
        yield event("response.output_item.done", output_index=index, item=item)
    yield event("response.completed", response=ANSWERS[OF_RESPONSES])


MESSAGES_BLOCKS = (
    block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "sig"},
    ),
    block(1, {"type": "text", "text": ""}, *({"type": "text_delta", "text": words} for words in ("Grö", "ße 🙂"))),
    block(
        2,
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {}},
        *({"type": "input_json_delta", "partial_json": words} for words in ("", '{"a"', ": 1}")),
    ),
    block(3, {"type": "tool_use", "id": "call_2", "name": "g", "input": {}}),
)
MESSAGES_START = event(
    "message_start",
    message={"id": "id_1", "model": "real", "usage": MESSAGES_USAGE | {"output_tokens": 1}},
)
MESSAGES_END = event(
    "message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 5}
) + event("message_stop")
STREAMS: Mapping[ProviderFormat, bytes] = {
    OF_CHAT: b"".join(
        [
            b": OPENROUTER PROCESSING\n\n",
            chunk({"role": "assistant", "content": ""}),
            chunk({"reasoning_content": "hm"}),
            chunk({"content": "Grö"}),
            chunk({"content": "ße 🙂"}),
            chunk(called(0, id="call_1", type="function", function={"name": "f", "arguments": ""})),
            chunk(called(0, function={"arguments": '{"a"'})),
            chunk(called(0, function={"arguments": ": 1}"})),
            chunk(called(1, id="call_2", type="function", function={"name": "g", "arguments": ""})),
            chunk({}, "tool_calls"),
            write_event(orjson.dumps({"id": "id_1", "model": "real", "choices": [], "usage": CHAT_USAGE})),
            write_event(b"[DONE]"),
        ]
    ),
    OF_MESSAGES: b"".join([MESSAGES_START, event("ping"), *MESSAGES_BLOCKS, MESSAGES_END]),
    OF_RESPONSES: b"".join(responses_stream()),
    OF_BEDROCK: b"".join(
        [
            frame("messageStart", {"role": "assistant"}),
            bedrock_block(0, {"reasoningContent": {"text": "hm"}}, {"reasoningContent": {"signature": "sig"}}),
            bedrock_block(1, {"text": "Grö"}, {"text": "ße 🙂"}),
            bedrock_block(
                2,
                {"toolUse": {"input": '{"a"'}},
                {"toolUse": {"input": ": 1}"}},
                start={"toolUse": {"toolUseId": "call_1", "name": "f"}},
            ),
            bedrock_block(3, start={"toolUse": {"toolUseId": "call_2", "name": "g"}}),
            frame("messageStop", {"stopReason": "tool_use"}),
            frame("metadata", {"usage": BEDROCK_USAGE, "metrics": {"latencyMs": 1}}),
        ]
    ),
}


def answer(caller: ApiFormat, provider: ProviderFormat, body: Any) -> tuple[Any, list[str]]:
    """Return the caller's answer, and where something was lost."""
    translated = translate_answer(orjson.dumps(body), context(caller, provider))
    return json.loads(translated.body), [loss.path for loss in translated.losses]


def streamed(caller: ApiFormat, provider: ProviderFormat, *chunks: bytes) -> tuple[bytes, StreamTranslation]:
    """Return the caller's stream, and what it was made with."""
    stream = StreamTranslation(context(caller, provider))
    return b"".join([*(stream.feed(chunk) for chunk in chunks), stream.end()]), stream


def told(stream: bytes) -> list[Any]:
    """Return the events of a caller's stream, but for `[DONE]`."""
    return [orjson.loads(event.data) for event in EventReader().feed(stream) if event.data != b"[DONE]"]


SAID: Mapping[ApiFormat, Any] = {
    CHAT: {
        "role": "assistant",
        "content": "Größe 🙂",
        "refusal": None,
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}},
            {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": {}}},
        ],
    },
    MESSAGES: [
        {"type": "thinking", "thinking": "hm", "signature": ...},
        *ANSWERS[OF_MESSAGES]["content"][1:],
    ],
    RESPONSES: [
        ("reasoning", "hm"),
        ("message", "Größe 🙂"),
        ("function_call", {"a": 1}),
        ("function_call", {}),
    ],
}


def said(caller: ApiFormat, body: Any) -> Any:
    """Return what an answer says, in a form in which two can be compared: without ids, spaces and signatures."""
    if caller is CHAT:
        message = body["choices"][0]["message"]
        for call in message["tool_calls"]:
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        return {key: value for key, value in message.items() if key in SAID[CHAT]}
    if caller is MESSAGES:
        blocks = [{key: value for key, value in b.items() if value is not None} for b in body["content"]]
        return [b | {"signature": ...} if b["type"] == "thinking" else b for b in blocks]
    return [
        (
            item["type"],
            item["summary"][0]["text"]
            if item["type"] == "reasoning"
            else item["content"][0]["text"]
            if item["type"] == "message"
            else json.loads(item["arguments"]),
        )
        for item in body["output"]
    ]


@pytest.mark.parametrize(("caller", "provider"), PAIRS, ids=str)
def test_an_answer_says_the_same_in_every_api(caller: ApiFormat, provider: ProviderFormat) -> None:
    """Thoughts, words, calls, the reason to end and the usage arrive, in a body that the caller's SDK takes."""
    body, _ = answer(caller, provider, ANSWERS[provider])

    ANSWER_OF[caller].model_validate_json(orjson.dumps(body), strict=True)
    assert said(caller, body) == SAID[caller]
    assert body["id"].endswith("id_1" if provider is not OF_BEDROCK else "abc")
    assert body["model"] == ("real" if provider is not OF_BEDROCK else "m")
    usage = body["usage"]
    if caller is CHAT:
        assert body["choices"][0]["finish_reason"] == "tool_calls"
        assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (10, 4)
        assert usage["total_tokens"] == 15
    elif caller is MESSAGES:
        assert body["stop_reason"] == "tool_use"
        assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (6, 4, 5)
    else:
        assert body["status"] == "completed"
        assert (usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"]) == (10, 4)


@pytest.mark.parametrize(("caller", "provider"), PAIRS, ids=str)
def test_a_stream_is_one_of_the_callers_api(caller: ApiFormat, provider: ProviderFormat) -> None:
    """Every event of a translated stream is one that the caller's SDK knows, and the usage is known at its end."""
    out, stream = streamed(caller, provider, STREAMS[provider])

    for one in told(out):
        EVENT_OF[caller].validate_json(orjson.dumps(one | ({"created": 5} if caller is CHAT else {})), strict=True)
    assert (stream.is_finished, stream.failure) == (True, None)
    reasoning = 2 if provider in {OF_CHAT, OF_RESPONSES} else None
    assert stream.usage == Usage(input_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=reasoning)


def accumulated(caller: ApiFormat, stream: bytes) -> Any:
    """Return what the caller's official SDK makes of a stream."""
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=stream, headers=headers))
    with httpx2.Client(transport=transport) as http:
        if caller is MESSAGES:
            client = anthropic.Anthropic(api_key="k", base_url="http://a.test", http_client=http, max_retries=0)
            with client.messages.stream(model="m", max_tokens=9, messages=[]) as events:
                return json.loads(events.get_final_message().to_json())
        client_of_openai = openai.OpenAI(api_key="k", base_url="http://a.test", http_client=http, max_retries=0)
        if caller is CHAT:
            with client_of_openai.chat.completions.stream(model="m", messages=[]) as chunks:
                return json.loads(chunks.get_final_completion().to_json())
        with client_of_openai.responses.stream(model="m", input="hi") as events_of_openai:
            return json.loads(events_of_openai.get_final_response().to_json())


@pytest.mark.parametrize(("caller", "provider"), PAIRS, ids=str)
def test_the_callers_sdk_makes_the_same_answer_of_a_stream(caller: ApiFormat, provider: ProviderFormat) -> None:
    """What the official SDK accumulates from a translated stream is what the plain answer says."""
    out, _ = streamed(caller, provider, STREAMS[provider])
    whole = accumulated(caller, out)
    plain, _ = answer(caller, provider, ANSWERS[provider])

    assert said(caller, whole) == SAID[caller]
    assert whole["usage"] == {key: value for key, value in plain["usage"].items() if key in whole["usage"]}
    assert whole.get("stop_reason") == plain.get("stop_reason")
    assert whole.get("status") == plain.get("status")


@pytest.mark.parametrize(("caller", "provider"), PAIRS, ids=str)
def test_a_stream_does_not_depend_on_the_cuts(caller: ApiFormat, provider: ProviderFormat) -> None:
    """A stream that comes byte by byte becomes the same bytes as one that comes at once."""
    data = STREAMS[provider]
    whole, _ = streamed(caller, provider, data)
    by_bytes, _ = streamed(caller, provider, *(data[i : i + 1] for i in range(len(data))))

    assert by_bytes == whole


@settings(deadline=None)
@given(pair=st.sampled_from(PAIRS), cuts=st.lists(st.integers(0, 4000), max_size=20))
def test_a_stream_does_not_depend_on_any_cuts(pair: tuple[ApiFormat, ProviderFormat], cuts: list[int]) -> None:
    """However a provider's stream is cut, the caller's is the same bytes."""
    data = STREAMS[pair[1]]
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]

    assert streamed(*pair, *(data[a:b] for a, b in pairwise(places)))[0] == streamed(*pair, data)[0]


@settings(deadline=None)
@given(pair=st.sampled_from(PAIRS), place=st.integers(min_value=3))
def test_a_stream_that_is_cut_short_never_looks_complete(pair: tuple[ApiFormat, ProviderFormat], place: int) -> None:
    """A stream that breaks off ends with the caller's own error event, unless its reason to end had come."""
    caller, provider = pair
    whole = STREAMS[provider]
    out, stream = streamed(caller, provider, whole[: -(place % len(whole)) - 3])
    last = told(out)[-1]
    is_complete = b"[DONE]" in out or last.get("type") in {"message_stop", "response.completed"}

    assert is_complete == stream.is_finished
    assert is_complete != (stream.failure is not None)
    if stream.failure:
        assert stream.failure.code == "upstream_incomplete"
        assert "error" in last or last["type"] == "error"
    else:
        assert provider in {OF_CHAT, OF_BEDROCK}


@settings(deadline=None)
@given(st.data())
def test_no_bytes_make_a_stream_raise(data: st.DataObject) -> None:
    """Whatever a provider streams, the translation does not raise; what is no stream of its API ends with an error."""
    caller, provider = data.draw(st.sampled_from(PAIRS))
    stream = STREAMS[provider]
    start, end = sorted((data.draw(st.integers(0, len(stream))), data.draw(st.integers(0, len(stream)))))
    out, translation = streamed(caller, provider, stream[:start] + data.draw(st.binary(max_size=9)) + stream[end:])

    assert translation.is_finished != (translation.failure is not None)
    assert told(out)


KEYS = [
    *("arguments", "choices", "content", "content_block", "delta", "encrypted_content", "error", "finish_reason"),
    *("function", "id", "index", "input", "item", "message", "name", "output", "reasoning", "response", "role"),
    *("start", "status", "stop_reason", "summary", "text", "toolUse", "tool_calls", "type", "usage"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    pair=st.sampled_from(PAIRS),
    body=JSON,
    kind=st.sampled_from(
        ["message_start", "content_block_delta", "response.completed", "response.output_item.done", "error"]
    ),
)
def test_no_shape_of_json_makes_an_answer_or_stream_raise(
    pair: tuple[ApiFormat, ProviderFormat], body: Any, kind: str
) -> None:
    """Whatever JSON a provider answers or streams, it becomes an answer or a fault of the provider."""
    try:
        translate_answer(orjson.dumps(body), context(*pair))
    except UnusableAnswerError as error:
        assert error.status == 502  # noqa: PT017 - either way is right
    data = frame(kind, body) if pair[1] is OF_BEDROCK else write_event(orjson.dumps(body), name=kind)
    _, stream = streamed(*pair, data)

    assert stream.is_finished != (stream.failure is not None)


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(("caller", "provider"), [pair for pair in PAIRS if CHAT not in pair and OF_CHAT not in pair])
def test_signed_thoughts_go_full_circle(caller: ApiFormat, provider: ProviderFormat, *, is_stream: bool) -> None:
    """What a provider signed comes back to it, signature and all, when the caller sends the answer again."""
    if is_stream:
        body = accumulated(caller, streamed(caller, provider, STREAMS[provider])[0])
    else:
        body, _ = answer(caller, provider, ANSWERS[provider])
    request = sent_again(caller, provider, body)
    thought = request["input"][0] if provider is OF_RESPONSES else request["messages"][0]["content"][0]

    assert thought in (
        ANSWERS[OF_MESSAGES]["content"][0],
        RESPONSES_OUTPUT[0],
        ANSWERS[OF_BEDROCK]["output"]["message"]["content"][0],
    )


@pytest.mark.parametrize("caller", [MESSAGES, RESPONSES], ids=str)
def test_redacted_thoughts_go_full_circle(caller: ApiFormat) -> None:
    """Thoughts that Anthropic has encrypted come back to it as such, streamed by Bedrock or not."""
    sealed = {"reasoningContent": {"redactedContent": "eA=="}}
    plain = {"output": {"message": {"content": [sealed, {"text": "x"}]}}, "stopReason": "end_turn"}
    blocks = bedrock_block(0, sealed) + bedrock_block(1, {"text": "x"})
    out, _ = streamed(caller, OF_BEDROCK, blocks + frame("messageStop", {"stopReason": "end_turn"}))

    for body in (answer(caller, OF_BEDROCK, plain)[0], accumulated(caller, out)):
        assert sent_again(caller, OF_BEDROCK, body)["messages"][0]["content"] == [sealed, {"text": "x"}]


def sent_again(caller: ApiFormat, provider: ProviderFormat, body: Any) -> Any:
    """Return what the provider is sent when the caller sends an answer as a part of the conversation."""
    if caller is MESSAGES:
        said: dict[str, Any] = {"messages": [{"role": "assistant", "content": body["content"]}]}
    else:
        said = {"input": body["output"]}
    call = orjson.dumps({"max_tokens": 9, **said})
    return json.loads(translate_request(call, caller, provider, model="m").body)


def test_bedrock_may_leave_its_usage_out() -> None:
    """A Converse stream that ends after its reason to end is complete; only its usage is not known."""
    stream = bedrock_block(0, {"text": "x"}) + frame("messageStop", {"stopReason": "end_turn"})
    out, translation = streamed(CHAT, OF_BEDROCK, stream)

    assert (translation.is_finished, translation.usage) == (True, None)
    assert out.endswith(b"data: [DONE]\n\n")


def test_mixed_tool_calls_come_one_after_the_other() -> None:
    """Calls whose arguments a provider streams in turns are told whole, one after the other, and none is lost."""
    chunks = [
        chunk(called(0, id="c0", function={"name": "f", "arguments": '{"a":'})),
        chunk(called(1, id="c1", function={"name": "g", "arguments": '{"b":'})),
        chunk(called(0, function={"arguments": "1}"})),
        chunk({"content": "late"}),
        chunk(called(1, function={"arguments": "2}"})),
        chunk({}, "tool_calls"),
    ]
    out, _ = streamed(MESSAGES, OF_CHAT, *chunks)
    message = accumulated(MESSAGES, out)

    assert [b.get("input") or b.get("text") for b in message["content"]] == [{"a": 1}, {"b": 2}, "late"]


@pytest.mark.parametrize("caller", [CHAT, MESSAGES], ids=str)
def test_a_call_that_has_waited_goes_on(caller: ApiFormat) -> None:
    """A call that began while another was open is told from the other's end on, as it comes."""
    calls = [{"type": "function_call", "call_id": f"c{index}", "name": "f", "arguments": ""} for index in range(2)]
    pieces = [(0, '{"a":'), (1, '{"b":'), (0, "1}"), (0, None), (1, "2}"), (1, None)]
    events = [event("response.output_item.added", output_index=index, item=call) for index, call in enumerate(calls)]
    events += [
        event("response.output_item.done", output_index=index, item=calls[index])
        if text is None
        else event("response.function_call_arguments.delta", output_index=index, delta=text)
        for index, text in pieces
    ]
    out, stream = streamed(caller, OF_RESPONSES, *events, event("response.completed", response={"status": "completed"}))
    body = accumulated(caller, out)
    arguments = (
        [block["input"] for block in body["content"]]
        if caller is MESSAGES
        else [json.loads(call["function"]["arguments"]) for call in body["choices"][0]["message"]["tool_calls"]]
    )

    assert stream.is_finished
    assert arguments == [{"a": 1}, {"b": 2}]


def test_a_call_that_goes_on_after_its_end_is_a_fault() -> None:
    """More arguments for a call that was complete end the stream with an error, since they cannot be told any more."""
    chunks = [
        chunk(called(0, id="c0", function={"name": "f", "arguments": "{}"})),
        chunk({"content": "words"}),
        chunk(called(0, function={"arguments": "1}"})),
    ]
    out, stream = streamed(MESSAGES, OF_CHAT, *chunks)

    assert stream.failure
    assert told(out)[-1]["type"] == "error"


def test_calls_without_an_index_are_counted() -> None:
    """Calls that a provider does not number are told apart by their ids."""
    chunks = [
        chunk({"tool_calls": [{"id": "c0", "function": {"name": "f", "arguments": "{}"}}]}),
        chunk({"tool_calls": [{"id": "c1", "function": {"name": "g", "arguments": "{}"}}]}),
        chunk({}, "stop"),
    ]
    out, _ = streamed(MESSAGES, OF_CHAT, *chunks)
    message = accumulated(MESSAGES, out)

    assert [(b["id"], b["name"]) for b in message["content"]] == [("c0", "f"), ("c1", "g")]
    assert message["stop_reason"] == "tool_use"


STOPS = [
    (OF_MESSAGES, "end_turn", "stop", "completed", "end_turn", ()),
    (OF_MESSAGES, "max_tokens", "length", "max_output_tokens", None, ()),
    (OF_MESSAGES, "stop_sequence", "stop", "completed", None, ("stop_reason",)),
    (OF_MESSAGES, "refusal", "content_filter", "content_filter", None, ()),
    (OF_MESSAGES, "pause_turn", "stop", "completed", None, ("stop_reason",)),
    (OF_MESSAGES, "model_context_window_exceeded", "length", "max_output_tokens", None, ("stop_reason",)),
    (OF_BEDROCK, "guardrail_intervened", "content_filter", "content_filter", "refusal", ()),
    (OF_BEDROCK, "malformed_tool_use", "stop", "completed", "end_turn", ("stopReason",)),
    (OF_BEDROCK, "stop_sequence", "stop", "completed", "stop_sequence", ("stop_reason",)),
    (OF_CHAT, "stop", None, "completed", "end_turn", ()),
    (OF_CHAT, "length", None, "max_output_tokens", "max_tokens", ()),
    (OF_CHAT, "content_filter", None, "content_filter", "refusal", ()),
    (OF_CHAT, None, None, "completed", "end_turn", ()),
]


@pytest.mark.parametrize("row", STOPS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_reason_to_end_is_told(row: Any) -> None:
    """Every reason to end becomes the nearest one of the caller's API, plain and streamed; a difference is noted."""
    provider, reason, chat, responses, messages, lost = row
    plain = {
        OF_MESSAGES: {"content": [], "stop_reason": reason},
        OF_BEDROCK: {"output": {"message": {"content": []}}, "stopReason": reason},
        OF_CHAT: {"choices": [{"message": {"content": "x"}, "finish_reason": reason}]},
    }[provider]
    stream = {
        OF_MESSAGES: MESSAGES_START + event("message_delta", delta={"stop_reason": reason}) + event("message_stop"),
        OF_BEDROCK: frame("messageStop", {"stopReason": reason}) + frame("metadata", {}),
        OF_CHAT: chunk({"content": "x"}, reason) + write_event(b"[DONE]"),
    }[provider]
    for caller, expected in ((CHAT, chat), (RESPONSES, responses), (MESSAGES, messages)):
        if expected is None:
            continue
        body, losses = answer(caller, provider, plain)
        out, translation = streamed(caller, provider, stream)
        finished = [_reason(caller, one) for one in told(out)]

        assert _reason(caller, body) == expected
        assert [found for found in finished if found][-1] == expected
        if caller is not MESSAGES:
            assert tuple(losses) == tuple(loss.path for loss in translation.losses) == lost


def _reason(caller: ApiFormat, body: Any) -> Any:
    """Return the reason to end that an answer or an event tells, None where it tells none."""
    if caller is CHAT:
        return body["choices"][0]["finish_reason"] if body["choices"] else None
    if caller is MESSAGES:
        return body.get("stop_reason") or (body.get("delta") or {}).get("stop_reason")
    response = body.get("response", body)
    return (response.get("incomplete_details") or {}).get("reason") or (
        response.get("status") if response.get("status") == "completed" else None
    )


def test_a_refusal_keeps_its_words() -> None:
    """The words of a refusal arrive as such where the caller's API has them apart, and as words where not."""
    refused = {"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]}
    stream = chunk({"refusal": "No."}) + chunk({}, "stop") + write_event(b"[DONE]")
    responses, _ = answer(RESPONSES, OF_CHAT, refused)
    messages, _ = answer(MESSAGES, OF_CHAT, refused)
    chat, _ = answer(CHAT, OF_RESPONSES, responses)

    assert responses["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]
    assert (messages["content"], messages["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")
    assert chat["choices"][0]["message"]["refusal"] == "No."
    assert chat["choices"][0]["finish_reason"] == "stop"
    assert (
        accumulated(RESPONSES, streamed(RESPONSES, OF_CHAT, stream)[0])["output"][0]["content"][0]["refusal"] == "No."
    )
    assert accumulated(MESSAGES, streamed(MESSAGES, OF_CHAT, stream)[0])["stop_reason"] == "refusal"


def test_anthropics_refusal_explains_itself() -> None:
    """The explanation of a refusal by Anthropic's classifiers arrives as the refusal's words."""
    body = {
        "content": [{"type": "text", "text": "First,"}],
        "stop_reason": "refusal",
        "stop_details": {"type": "refusal", "category": "bio", "explanation": "Not this."},
    }
    chat, losses = answer(CHAT, OF_MESSAGES, body)

    assert chat["choices"][0]["message"]["refusal"] == "Not this."
    assert chat["choices"][0]["message"]["content"] == "First,"
    assert losses == ["stop_details.category"]


LOST = [
    (
        CHAT,
        OF_MESSAGES,
        {"content": [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}]},
        ["content[0]"],
    ),
    (
        CHAT,
        OF_MESSAGES,
        {"content": [{"type": "text", "text": "x", "citations": [{"type": "x"}]}]},
        ["content[0].citations"],
    ),
    (
        MESSAGES,
        OF_CHAT,
        {"choices": [{"message": {"content": "x", "annotations": [{"type": "url_citation"}]}}, {"message": {}}]},
        ["choices[1]", "choices[0].message.annotations"],
    ),
    (
        MESSAGES,
        OF_CHAT,
        {"choices": [{"message": {"content": "x"}, "logprobs": {"content": []}}]},
        ["choices[0].logprobs"],
    ),
    (MESSAGES, OF_RESPONSES, {"output": [{"type": "web_search_call", "id": "w"}]}, ["output[0]"]),
    (
        MESSAGES,
        OF_BEDROCK,
        {
            "output": {"message": {"content": [{"citationsContent": {"content": [{"text": "x"}]}}]}},
            "stopReason": "end_turn",
        },
        ["output.message.content[0].citationsContent"],
    ),
]


@pytest.mark.parametrize(("caller", "provider", "body", "lost"), LOST, ids=lambda value: str(value)[:30])
def test_what_an_answer_loses_is_noted(caller: ApiFormat, provider: ProviderFormat, body: Any, lost: list[str]) -> None:
    """What a provider did that the caller's API cannot tell is noted with its place in the provider's answer."""
    assert answer(caller, provider, body)[1] == lost


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":{"message":"x"}}', b'{"choices":[]}', b"[" * 5000])
@pytest.mark.parametrize("provider", ProviderFormat, ids=str)
def test_what_is_no_answer_is_a_fault_of_the_provider(provider: ProviderFormat, body: bytes) -> None:
    """A body that is not an answer of the provider's API is a fault of the provider, which quotes nothing of it."""
    caller = CHAT if provider is not OF_CHAT else MESSAGES
    with pytest.raises(UnusableAnswerError) as unusable:
        translate_answer(body, context(caller, provider))

    assert (unusable.value.status, unusable.value.is_retryable) == (502, True)
    assert "html" not in unusable.value.message


def test_an_answer_of_responses_repeats_its_request() -> None:
    """The tools and settings of a Responses request stand in its translated answer, as they do in OpenAI's own."""
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    body = {"model": "auto", "input": "hi", "tools": [tool], "temperature": 0.5, "max_output_tokens": 9}
    request = translate_request(orjson.dumps(body), RESPONSES, OF_MESSAGES, model="m", now=7, call_id="id")
    written = translate_answer(orjson.dumps(ANSWERS[OF_MESSAGES]), request.context).body
    whole = Response.model_validate_json(written, strict=True)

    assert (whole.temperature, whole.max_output_tokens, whole.created_at) == (0.5, 9, 7)
    assert whole.tools[0].to_dict() == tool | {"strict": None}


@pytest.mark.parametrize("wanted", [True, False])
def test_usage_is_streamed_to_chat_callers_who_ask(wanted: bool) -> None:  # noqa: FBT001 - a case
    """A stream of Chat Completions ends with the usage where the caller asked for it, and without where not."""
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    body |= {"stream_options": {"include_usage": True}} if wanted else {}
    request = translate_request(orjson.dumps(body), CHAT, OF_MESSAGES, model="m")
    stream = StreamTranslation(request.context)
    out = stream.feed(STREAMS[OF_MESSAGES]) + stream.end()

    assert (b'"usage"' in out) == wanted
    assert stream.usage is not None


@pytest.mark.parametrize("caller", ApiFormat, ids=str)
def test_a_stream_of_the_same_api_passes_as_it_is(caller: ApiFormat) -> None:
    """A native stream keeps every byte, and its usage is read all the same; cut off, an error is added."""
    provider = ProviderFormat(caller.value)
    data = STREAMS[provider]

    out, stream = streamed(caller, provider, data)
    assert (out, stream.losses, stream.is_finished) == (data, (), True)
    assert stream.usage
    assert stream.usage.input_tokens == 10

    out, stream = streamed(caller, provider, data[:300])
    assert out.startswith(data[:300])
    assert stream.failure


IN_STREAM = [
    (OF_MESSAGES, event("error", error={"type": "overloaded_error", "message": "Overloaded"}), 503, "overloaded_error"),
    (
        OF_CHAT,
        write_event(b'{"error":{"message":"Overloaded","type":"server_error","code":null}}'),
        500,
        "server_error",
    ),
    (OF_CHAT, write_event(b'{"error":{"message":"Overloaded"}}'), 502, "upstream_error"),
    (OF_RESPONSES, event("error", code="rate_limit_exceeded", message="Overloaded"), 429, "rate_limit_exceeded"),
    (
        OF_RESPONSES,
        event("response.failed", response={"error": {"code": "server_error", "message": "Overloaded"}}),
        500,
        "server_error",
    ),
    (
        OF_BEDROCK,
        frame("throttlingException", {"message": "Overloaded"}, message_type="exception"),
        429,
        "upstream_error",
    ),
]


@pytest.mark.parametrize(("provider", "data", "status", "code"), IN_STREAM, ids=lambda value: str(value)[:24])
def test_an_error_within_a_stream_is_told_in_the_callers_words(
    provider: ProviderFormat, data: bytes, status: int, code: str
) -> None:
    """An error that a provider streams ends the caller's stream as its API tells errors, and its SDK raises it."""
    for caller in ApiFormat:
        if caller.value == provider.value:
            continue
        out, stream = streamed(caller, provider, data)

        assert stream.failure
        assert (stream.failure.status, stream.failure.code) == (status, code)
        with pytest.raises((openai.APIError, anthropic.APIError, RuntimeError)):
            accumulated(caller, out)
        assert told(out)[-1].get("message") == "Overloaded" or "Overloaded" in str(told(out)[-1]["error"])


ERRORS = [
    (
        OF_MESSAGES,
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}},
        CHAT,
        503,
        "overloaded_error",
        "Busy",
    ),
    (
        OF_MESSAGES,
        400,
        {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}},
        CHAT,
        400,
        "context_length_exceeded",
        "prompt is too long: 9 > 8",
    ),
    (
        OF_CHAT,
        503,
        {"error": {"message": "Busy", "type": "server_error", "code": None}},
        MESSAGES,
        529,
        "overloaded_error",
        "Busy",
    ),
    (
        OF_CHAT,
        429,
        {"error": {"message": "Slow", "code": "insufficient_quota"}},
        RESPONSES,
        429,
        "insufficient_quota",
        "Slow",
    ),
    (
        OF_CHAT,
        401,
        {"error": {"message": "Incorrect API key provided: sk-abc"}},
        MESSAGES,
        401,
        "authentication_error",
        "the provider refused the credentials that it was called with",
    ),
    (
        OF_BEDROCK,
        400,
        {"message": "Input is too long for requested model."},
        CHAT,
        400,
        "context_length_exceeded",
        "Input is too long for requested model.",
    ),
    (
        OF_BEDROCK,
        403,
        {"Message": "User: arn:aws:iam::1:user/x is not authorized"},
        CHAT,
        403,
        "upstream_error",
        "the provider refused the credentials that it was called with",
    ),
    (
        OF_RESPONSES,
        500,
        b"<html>secret</html>",
        MESSAGES,
        500,
        "api_error",
        "the provider answered with status 500 and no error of its API",
    ),
]


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_an_error_is_told_in_the_callers_words(row: Any) -> None:
    """A provider's error keeps its meaning and its words in the caller's API, but for credentials and pages."""
    provider, status, body, caller, expected_status, code, message = row
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    got, written = translate_error(status, data, context(caller, provider))
    error = json.loads(written)["error"]

    assert got == expected_status
    assert error["message"] == message
    assert (error["type"] if caller is MESSAGES else error["code"]) == code
    assert translate_error(status, data, context(CHAT, OF_CHAT)) == (status, data)
