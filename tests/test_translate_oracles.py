"""Translations judged from outside: by the SDKs' own types, by going there and back, and by hostile bodies."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsBase
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from pydantic import TypeAdapter

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError
from plano_asgi.providers import ProviderFormat
from plano_asgi.translate import translate_request

CHAT, MESSAGES, RESPONSES = ApiFormat.CHAT_COMPLETIONS, ApiFormat.MESSAGES, ApiFormat.RESPONSES
PAIRS = [(caller, provider) for caller in ApiFormat for provider in ProviderFormat if caller.value != provider.value]
PARAMETERS: Mapping[ProviderFormat, TypeAdapter[Any]] = {
    ProviderFormat.CHAT_COMPLETIONS: TypeAdapter(CompletionCreateParamsBase),
    ProviderFormat.MESSAGES: TypeAdapter(MessageCreateParamsBase),
    ProviderFormat.RESPONSES: TypeAdapter(ResponseCreateParamsBase),
}


def dumped(value: Any) -> bytes:
    """Return a value as JSON, integers of any size among it."""
    return json.dumps(value, ensure_ascii=False).encode()


def forced(value: Any) -> Any:
    """Return a value with everything that pydantic validates lazily validated."""
    if isinstance(value, Mapping):
        return {key: forced(inner) for key, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [forced(inner) for inner in value]
    return value


WORDS = st.text(alphabet='abcäß🙂 \n"\\', min_size=1, max_size=9).filter(str.strip)
NAMES = st.sampled_from(["weather", "search", "a-b_C9"])
NUMBERS = st.integers(-(2**63), 2**64 - 1)  # what is larger is read as a float
OBJECTS = st.dictionaries(WORDS, st.none() | NUMBERS | WORDS | st.lists(st.floats(-9, 9), max_size=2), max_size=2)
SCHEMAS = st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(WORDS, OBJECTS, max_size=2)})
IMAGES = st.just({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}})
TEXTS = st.builds(lambda text: {"type": "text", "text": text}, WORDS)


@st.composite
def conversations(draw: st.DrawFn) -> list[Any]:
    """Draw messages of Chat Completions: instructions, then turns, each of which may call tools and be answered."""
    messages: list[Any] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(WORDS)})
    for _ in range(draw(st.integers(1, 3))):
        seen = draw(WORDS | st.lists(TEXTS | IMAGES, min_size=2, max_size=3))
        messages.append({"role": "user", "content": seen})
        calls = [
            {"id": f"call_{len(messages)}_{index}", "type": "function", "function": {"name": name, "arguments": text}}
            for index, (name, text) in enumerate(draw(st.lists(st.tuples(NAMES, OBJECTS.map(json.dumps)), max_size=2)))
        ]
        words = draw(WORDS | st.none()) if calls else draw(WORDS)
        messages.append({"role": "assistant", "content": words, **({"tool_calls": calls} if calls else {})})
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": draw(WORDS)} for call in calls]
    return [*messages, {"role": "user", "content": draw(WORDS)}]


def tools(names: list[str], schemas: list[Any], *, is_strict: bool) -> list[Any]:
    """Return tools of Chat Completions."""
    strict = {"strict": True} if is_strict else {}
    return [
        {"type": "function", "function": {"name": name, "description": "d", "parameters": schema, **strict}}
        for name, schema in zip(names, schemas, strict=False)
    ]


CALLS = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": conversations(), "max_tokens": st.integers(1, 9999)},
    optional={
        "tools": st.builds(
            tools, st.just(["weather", "search"]), st.lists(SCHEMAS, min_size=1, max_size=2), is_strict=st.booleans()
        ),
        "tool_choice": st.sampled_from(
            ["auto", "none", "required", {"type": "function", "function": {"name": "weather"}}]
        ),
        "temperature": st.floats(0, 1),
        "user": WORDS,
        "stream": st.just(value=True),
        "response_format": st.builds(
            lambda schema: {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": True},
            },
            SCHEMAS,
        ),
    },
)


def comparable(body: bytes) -> Any:
    """Return a body of Chat Completions with arguments as JSON, so that only their meaning is compared."""
    value = json.loads(body)
    for message in value["messages"]:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    value.pop("stream_options", None)
    if not value.get("tools"):
        value.pop("tool_choice", None)
    if value.get("tool_choice") == "auto":
        del value["tool_choice"]
    return value


@settings(deadline=None, max_examples=150)
@given(call=CALLS, through=st.sampled_from([MESSAGES, RESPONSES]))
def test_a_call_that_loses_nothing_comes_back_the_same(through: ApiFormat, call: dict[str, Any]) -> None:
    """A call within what both APIs can say loses nothing on its way to the other and back, and is the same call."""
    body = dumped(call)
    there = translate_request(body, CHAT, ProviderFormat(through.value), model="m")
    back = translate_request(there.body, through, ProviderFormat.CHAT_COMPLETIONS, model="m")

    assert there.losses == back.losses == ()
    assert comparable(back.body) == comparable(body)


_BEYOND_THE_TYPES = {"stream", "temperature"}  # which each method adds, or the newest SDK has given up


@settings(deadline=None, max_examples=150)
@given(call=CALLS, pair=st.sampled_from(PAIRS))
def test_what_is_written_is_of_the_providers_api(pair: tuple[ApiFormat, ProviderFormat], call: Any) -> None:
    """A request that is written for a provider is one that the types of the provider's own SDK allow."""
    caller, provider = pair
    body = dumped(call)
    if caller is not CHAT:
        body = translate_request(body, CHAT, ProviderFormat(caller.value), model="m").body
    written = json.loads(translate_request(body, caller, provider, model="m").body)

    if provider is ProviderFormat.BEDROCK_CONVERSE:
        assert [message["role"] for message in written["messages"]][::2] == ["user"] * len(written["messages"][::2])
    else:
        known = {key: value for key, value in written.items() if key not in _BEYOND_THE_TYPES}
        assert forced(PARAMETERS[provider].validate_python(known, strict=True)) == known


KEYS = [
    *("type", "role", "content", "text", "messages", "input", "tools", "tool_choice", "function", "name", "id", "url"),
    *("tool_calls", "arguments", "parameters", "input_schema", "source", "system", "thinking", "signature", "output"),
    *("max_tokens", "stop", "response_format", "json_schema", "schema", "image_url", "file", "metadata", "call_id"),
]
VALUES = [
    *("user", "assistant", "system", "tool", "function", "text", "image", "image_url", "tool_use", "tool_result"),
    *("thinking", "redacted_thinking", "message", "function_call", "function_call_output", "reasoning", "base64"),
    *("json_schema", "document", "file", "input_text", "custom", "data:image/png;base64,AA", "plano.openai.x.y"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=15,
)
BLOCKS = st.lists(
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4).flatmap(
        lambda fields: st.sampled_from(VALUES).map(lambda kind: fields | {"type": kind})
    ),
    max_size=2,
)
TURNS = st.lists(
    st.builds(
        lambda fields, role, content: fields | {"role": role, "content": content},
        st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3),
        st.sampled_from(["user", "assistant", "system", "tool"]),
        BLOCKS | JSON,
    ),
    max_size=3,
)


CUSTOM: dict[str, Any] = {"tools": [{"type": "custom", "name": "x", "format": {}}]}
NAMELESS: dict[str, Any] = {"tool_choice": {"type": "function", "name": "", "function": {"name": ""}}}


@settings(deadline=None, max_examples=400)
@given(
    pair=st.sampled_from(PAIRS),
    fields=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5),
    turns=TURNS | BLOCKS | JSON,
)
@example(pair=(RESPONSES, ProviderFormat.CHAT_COMPLETIONS), fields=CUSTOM, turns=[{"role": "user", "content": "x"}])
@example(pair=(RESPONSES, ProviderFormat.MESSAGES), fields=NAMELESS, turns="x")
def test_no_body_makes_a_translation_raise_anything_else(
    pair: tuple[ApiFormat, ProviderFormat], fields: dict[str, Any], turns: Any
) -> None:
    """Whatever a body holds, it is translated or refused with a `CallError`, never with another exception."""
    caller, provider = pair
    body = {"max_tokens": 5, **fields, "input" if caller is RESPONSES else "messages": turns}
    try:
        request = translate_request(dumped(body), caller, provider, model="m")
    except CallError as error:
        assert 400 <= error.status < 500  # noqa: PT017 - either way is right
    else:
        assert isinstance(json.loads(request.body), dict)


def nested(depth: int) -> dict[str, Any]:
    """Return an object of that many levels."""
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("depth", [200, 240, 250, 252, 254, 300, 100_000])
@pytest.mark.parametrize("provider", ProviderFormat, ids=str)
def test_depth_is_refused_not_suffered(depth: int, provider: ProviderFormat) -> None:
    """However deep a schema or an argument nests, the call is translated or refused; it never exhausts the stack."""
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    bodies = [
        (
            CHAT,
            b'{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":%s}}]}'
            % deep,
        ),
        (
            CHAT,
            b'{"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":%s}}]}]}'
            % dumped(deep.decode()),
        ),
        (
            MESSAGES,
            b'{"max_tokens":5,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"c","name":"f","input":%s}]}]}'
            % deep,
        ),
        (
            MESSAGES,
            b'{"max_tokens":5,"messages":[{"role":"user","content":%s}]}'
            % (b'[{"type":"tool_result","tool_use_id":"t","content":' * depth + b'"x"' + b"}]" * depth),
        ),
    ]
    for caller, body in bodies:
        try:
            translate_request(body, caller, provider, model="m")
        except CallError as error:
            assert error.code in {"too_deep", "not_translatable"}  # noqa: PT017 - either way is right


def test_a_large_call_is_translated_in_time() -> None:
    """Ten thousand messages of one side in a row are one turn, in a time that grows with their number alone."""
    messages = [{"role": "user", "content": "word " * 20}] * 10_000
    request = translate_request(
        dumped({"messages": messages, "max_tokens": 5}), CHAT, ProviderFormat.MESSAGES, model="m"
    )

    assert len(json.loads(request.body)["messages"][0]["content"]) == 10_000
