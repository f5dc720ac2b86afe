"""Calls of the three APIs: what is read out of a body, and which bodies are none."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from anthropic.types import MessageParam, TextBlockParam
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputParam

from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
from plano_asgi.errors import WireFormatError
from plano_asgi.wire import FORMATS, read_call, read_document, recognise, rewrite

CHAT, MESSAGES, RESPONSES = ApiFormat.CHAT_COMPLETIONS, ApiFormat.MESSAGES, ApiFormat.RESPONSES
IMAGE_URL: Final = "data:image/png;base64,AA=="

chat_messages: list[ChatCompletionMessageParam] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": IMAGE_URL}},
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "text", "text": "And that?"},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
            {"id": "2", "type": "custom", "custom": {"name": "run", "input": "ls"}},
        ],
    },
    {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "a cat"}]},
    {"role": "function", "name": "old", "content": "a dog"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]},
    {"role": "user", "content": ""},
]
CHAT_BODY: Final[Mapping[str, Any]] = {"model": "gpt-5", "messages": chat_messages, "stream": True, "n": 1}
CHAT_READ: Final = (
    Message(role=Role.SYSTEM, text="Be brief."),
    Message(role=Role.SYSTEM, text="Be kind."),
    Message(role=Role.USER, text="What is this?\nAnd that?", has_image=True),
    Message(role=Role.ASSISTANT, text="", tool_calls=("look", "run")),
    Message(role=Role.TOOL, text="a cat"),
    Message(role=Role.TOOL, text="a dog"),
    Message(role=Role.ASSISTANT, text="I cannot."),
    Message(role=Role.USER, text=""),
)

anthropic_system: list[TextBlockParam] = [
    {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
    {"type": "text", "text": "Be kind."},
]
anthropic_messages: list[MessageParam] = [
    {
        "role": "user",
        "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a page"}},
            {"type": "text", "text": "What is this?"},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "1", "name": "look", "input": {"at": "it"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "a cat"}]},
            {"type": "tool_result", "tool_use_id": "2", "content": "a dog", "is_error": True},
            {"type": "tool_result", "tool_use_id": "3"},
            {"type": "text", "text": "So?"},
        ],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "4", "content": "a cow"}]},
    {"role": "assistant", "content": "A cat."},
]
MESSAGES_BODY: Final[Mapping[str, Any]] = {
    "model": "claude-x",
    "max_tokens": 16,
    "system": anthropic_system,
    "messages": anthropic_messages,
}
MESSAGES_READ: Final = (
    Message(role=Role.SYSTEM, text="Be brief.\nBe kind."),
    Message(role=Role.USER, text="What is this?", has_image=True),
    Message(role=Role.ASSISTANT, text="I look.", tool_calls=("look",)),
    Message(role=Role.TOOL, text="a cat"),
    Message(role=Role.TOOL, text="a dog"),
    Message(role=Role.TOOL, text=""),
    Message(role=Role.USER, text="So?"),
    Message(role=Role.TOOL, text="a cow"),
    Message(role=Role.ASSISTANT, text="A cat."),
)

response_items: ResponseInputParam = [
    {"role": "developer", "content": "Be kind."},
    {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": IMAGE_URL, "detail": "auto"},
            {"type": "input_file", "file_id": "file-1"},
        ],
    },
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
    {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "1", "output": "a cat"},
    {"type": "custom_tool_call", "call_id": "2", "name": "run", "input": "ls"},
    {
        "type": "custom_tool_call_output",
        "call_id": "2",
        "output": [
            {"type": "input_text", "text": "a"},
            {"type": "input_image", "image_url": IMAGE_URL, "detail": "low"},
        ],
    },
    {"type": "item_reference", "id": "msg_1"},
    {"id": "msg_2"},
    {"id": "msg_3", "type": None},
    {
        "type": "message",
        "id": "msg_4",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": "A cat.", "annotations": []},
            {"type": "refusal", "refusal": "No more."},
        ],
    },
]
RESPONSES_BODY: Final[Mapping[str, Any]] = {
    "model": "gpt-5",
    "instructions": "Be brief.",
    "input": response_items,
    "stream": False,
}
RESPONSES_READ: Final = (
    Message(role=Role.SYSTEM, text="Be brief."),
    Message(role=Role.SYSTEM, text="Be kind."),
    Message(role=Role.USER, text="What is this?", has_image=True),
    Message(role=Role.ASSISTANT, text="", tool_calls=("look",)),
    Message(role=Role.TOOL, text="a cat"),
    Message(role=Role.ASSISTANT, text="", tool_calls=("run",)),
    Message(role=Role.TOOL, text="a", has_image=True),
    Message(role=Role.ASSISTANT, text="A cat.\nNo more."),
)

BODIES: Final = {CHAT: CHAT_BODY, MESSAGES: MESSAGES_BODY, RESPONSES: RESPONSES_BODY}
CONVERSATIONS: Final = {CHAT: CHAT_READ, MESSAGES: MESSAGES_READ, RESPONSES: RESPONSES_READ}
each_format = pytest.mark.parametrize("api_format", ApiFormat, ids=str)

USER: Final = [{"role": "user", "content": "hi"}]
SHORTEST: Final[Mapping[ApiFormat, Mapping[str, Any]]] = {
    CHAT: {"model": "m", "messages": USER},
    MESSAGES: {"model": "m", "max_tokens": 1, "messages": USER},
    RESPONSES: {"model": "m", "input": "hi"},
}


def read(body: Mapping[str, Any], api_format: ApiFormat) -> LLMCall:
    """Return the call that a body makes."""
    return read_call(read_document(json.dumps(body).encode()), api_format)


@each_format
def test_request_of_the_official_sdk_is_read_whole(api_format: ApiFormat) -> None:
    """Every kind of message and part that the SDKs' types know is read or passed over; nothing is lost or moved."""
    call = read(BODIES[api_format], api_format)

    assert call.conversation == CONVERSATIONS[api_format]
    assert (call.api_format, call.model) == (api_format, BODIES[api_format]["model"])
    assert call.is_stream is (api_format is CHAT)
    assert call.inline_policy is None


@each_format
def test_shortest_request_is_one_user_message(api_format: ApiFormat) -> None:
    """The three APIs' ways to say one thing are one conversation."""
    call = read(SHORTEST[api_format], api_format)

    assert call == LLMCall(api_format=api_format, model="m", conversation=LLMCall.from_text("hi").conversation)


@each_format
def test_rewritten_request_reads_as_the_same_call_to_another_model(api_format: ApiFormat) -> None:
    """Rewriting a call changes its model and nothing else about it."""
    document = read_document(json.dumps(BODIES[api_format]).encode())

    again = read_call(read_document(rewrite(document, model="other")), api_format)

    assert again.model == "other"
    assert again.conversation == CONVERSATIONS[api_format]


@each_format
@pytest.mark.parametrize("given_model", [{}, {"model": None}], ids=["missing", "null"])
def test_call_without_model_is_a_call(api_format: ApiFormat, given_model: Mapping[str, Any]) -> None:
    """A client may leave the choice of a model to the router."""
    body = {key: value for key, value in SHORTEST[api_format].items() if key != "model"}

    assert read({**body, **given_model}, api_format).model is None


@pytest.mark.parametrize(
    "more", [{"prompt": {"id": "p"}}, {"previous_response_id": "r"}, {"conversation": "c"}], ids=min
)
def test_response_without_input_of_its_own_is_read(more: Mapping[str, Any]) -> None:
    """Input that is stored at the provider need not be sent again."""
    assert read(more, RESPONSES).conversation == ()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None}, ""),
        ({}, ""),
        ({"content": []}, ""),
        ({"content": [{"type": "from_2030", "text": 7}]}, ""),
        ({"content": "\x00\x1b[31m"}, "\x00\x1b[31m"),
        ({"content": "</conversation> <|im_start|>"}, "</conversation> <|im_start|>"),
        ({"content": "x", "tool_calls": []}, "x"),
    ],
    ids=["null", "missing", "no parts", "unknown part", "control characters", "markup", "no tool calls"],
)
def test_odd_content_that_an_api_allows_is_read(message: Mapping[str, Any], text: str) -> None:
    """What says nothing is empty text; what says odd things is kept as it is."""
    call = read({"messages": [{"role": "assistant", **message}]}, CHAT)

    assert call.conversation == (Message(role=Role.ASSISTANT, text=text),)


@pytest.mark.parametrize(
    "content", ["", [], [{"type": "thinking", "thinking": "hm"}]], ids=["text", "parts", "thinking"]
)
def test_turn_without_words_is_still_a_turn(content: object) -> None:
    """A turn that says nothing to a router keeps its place in the conversation."""
    call = read({"max_tokens": 1, "messages": [{"role": "assistant", "content": content}]}, MESSAGES)

    assert call.conversation == (Message(role=Role.ASSISTANT, text=""),)


def test_image_in_a_tool_result_is_seen() -> None:
    """A picture counts wherever it stands, for a model that reads none must not get the call."""
    image = {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}
    turn = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [image]}]}

    call = read({"max_tokens": 1, "messages": [turn]}, MESSAGES)

    assert any(message.has_image for message in call.conversation)


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value inside a body."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inside:
        yield (*path, key)
        yield from places(child, (*path, key))


def replaced(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    """Return a body with another value at a path; `...` takes the value out."""
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    changed[path[0]] = replaced(changed[path[0]], path[1:], new)
    kept = {key: child for key, child in changed.items() if child is not ...}
    return kept if isinstance(value, dict) else list(kept.values())


words = st.sampled_from(["text", "image", "tool_use", "tool_result", "refusal", "message", "function_call", "user", ""])
names = st.sampled_from(["type", "text", "content", "role", "name", "function", "output", "refusal", "id"])
any_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)),
    max_leaves=8,
)


@each_format
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_json_at_any_place_is_a_call_or_a_wire_format_error(api_format: ApiFormat, data: st.DataObject) -> None:
    """Whatever JSON stands in a documented field, the answer is a call in good order or a 400 that names a place."""
    body = replaced(
        BODIES[api_format],
        data.draw(st.sampled_from([(), *places(BODIES[api_format])])),
        data.draw(any_json | st.just(...)),
    )

    try:
        call = read_call(read_document(json.dumps({} if body is ... else body).encode()), api_format)
    except WireFormatError as error:
        assert error.status == 400  # noqa: PT017 - both outcomes are right
    else:
        assert call.model is None or call.model.isascii()
        for message in call.conversation:
            assert isinstance(message.text, str)
            assert all(isinstance(name, str) for name in message.tool_calls)


@pytest.mark.parametrize(
    ("path", "api_format"),
    [
        ("/v1/chat/completions", CHAT),
        ("/openai/v1/chat/completions", CHAT),
        ("/v1/messages", MESSAGES),
        ("/v1/responses", RESPONSES),
        ("/v1/messages/count_tokens", None),
        ("/v1/messages/batches", None),
        ("/v1/responses/resp_1", None),
        ("/v1/messages/", None),
        ("/V1/messages", None),
        ("/apiv1/messages", None),
        ("/v1/completions", None),
        ("", None),
    ],
)
def test_path_tells_the_format(path: str, api_format: ApiFormat | None) -> None:
    """A path is recognised by its end, and neighbours of an endpoint are not."""
    assert recognise(path) is api_format
    assert set(FORMATS) == set(ApiFormat)


def test_deep_tool_results_are_read_without_recursion_trouble() -> None:
    """Results within results stay within the depth that a document may have."""
    content: Any = "x"
    for _ in range(120):
        content = [{"type": "tool_result", "content": content}]

    call = read({"max_tokens": 1, "messages": [{"role": "user", "content": content}]}, MESSAGES)

    assert [message.role for message in call.conversation] == [Role.TOOL]
