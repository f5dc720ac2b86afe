"""Requests from every caller's API to every provider's: what each field becomes, and what is noted as lost."""

import json
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError, NotTranslatableError, WireFormatError
from plano_asgi.providers import ProviderFormat
from plano_asgi.translate import translate_request

CHAT, MESSAGES, RESPONSES = ApiFormat.CHAT_COMPLETIONS, ApiFormat.MESSAGES, ApiFormat.RESPONSES
TO_CHAT, TO_MESSAGES, TO_RESPONSES, TO_BEDROCK = ProviderFormat
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
LEAST: Mapping[ApiFormat, dict[str, Any]] = {
    CHAT: {"model": "auto", "messages": [{"role": "user", "content": "hi"}]},
    MESSAGES: {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]},
    RESPONSES: {"model": "auto", "input": "hi"},
}
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
MESSAGES_TOOL = {"name": "weather", "input_schema": SCHEMA}
RESPONSES_TOOL = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
BEDROCK_TOOL = {"toolSpec": {"name": "weather", "inputSchema": {"json": SCHEMA}}}
PNG = "data:image/png;base64,AAAA"
CLAUDE = "claude-sonnet-4-6"


def translated(
    source: ApiFormat, target: ProviderFormat, fields: Mapping[str, Any], *, model: str = "m"
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the provider's body for a least body with these fields, and the losses by path."""
    body = {key: value for key, value in {**LEAST[source], **fields}.items() if value is not ...}
    request = translate_request(orjson.dumps(body), source, target, model=model)
    return json.loads(request.body), {loss.path: loss.why for loss in request.losses}


def at(body: Any, path: str) -> Any:
    """Return what stands at a dotted path, None where nothing does."""
    for key in path.split("."):
        body = body[int(key)] if isinstance(body, list) else (body or {}).get(key)
    return body


Row = tuple[ApiFormat, ProviderFormat, Mapping[str, Any], str, Any, tuple[str, ...]]
SUMMARIES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {"type": "adaptive"}),
    ({"summary": None}, {"type": "adaptive"}),
    ({"summary": "auto"}, {"type": "adaptive", "display": "summarized"}),
    ({"generate_summary": "concise"}, {"type": "adaptive", "display": "summarized"}),
]
FIELDS: list[Row] = [
    # parameters
    (CHAT, TO_MESSAGES, {"max_completion_tokens": 9, "max_tokens": 5}, "max_tokens", 9, ()),
    (CHAT, TO_MESSAGES, {}, "max_tokens", 4096, ("max_tokens",)),
    (CHAT, TO_RESPONSES, {"max_tokens": 5}, "max_output_tokens", 5, ()),
    (CHAT, TO_BEDROCK, {"max_tokens": 5}, "inferenceConfig.maxTokens", 5, ()),
    (CHAT, TO_BEDROCK, {}, "inferenceConfig", None, ()),
    (MESSAGES, TO_CHAT, {}, "max_tokens", 100, ()),
    (RESPONSES, TO_CHAT, {"max_output_tokens": 7}, "max_tokens", 7, ()),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "temperature": 0.5}, "temperature", 0.5, ()),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "temperature": 1.7}, "temperature", 1, ("temperature",)),
    (CHAT, TO_BEDROCK, {"temperature": 2}, "inferenceConfig.temperature", 1, ("temperature",)),
    (CHAT, TO_RESPONSES, {"temperature": 1.7}, "temperature", 1.7, ()),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "top_p": 0.9}, "top_p", 0.9, ()),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "top_p": 0.9, "temperature": 1}, "top_p", None, ("top_p",)),
    (MESSAGES, TO_CHAT, {"top_k": 5}, "top_k", None, ("top_k",)),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "stop": "END"}, "stop_sequences", ["END"], ()),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "stop": ["A", " \n"]}, "stop_sequences", ["A"], ("stop",)),
    (CHAT, TO_RESPONSES, {"stop": ["A"]}, "stop", None, ("stop",)),
    (CHAT, TO_BEDROCK, {"stop": ["A"]}, "inferenceConfig.stopSequences", ["A"], ()),
    (MESSAGES, TO_CHAT, {"stop_sequences": list("abcde")}, "stop", list("abcd"), ("stop_sequences",)),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "n": 2, "seed": 1}, "n", None, ("n", "seed")),
    (CHAT, TO_RESPONSES, {"n": 1, "logprobs": False, "seed": None, "logit_bias": {}}, "n", None, ()),
    (CHAT, TO_RESPONSES, {"logprobs": True, "presence_penalty": 0.5}, "x", None, ("logprobs", "presence_penalty")),
    (CHAT, TO_RESPONSES, {"some_extension": 1}, "x", None, ("some_extension",)),
    (CHAT, TO_RESPONSES, {"no name\n": 1}, "x", None, ("?",)),
    (CHAT, TO_RESPONSES, {}, "store", False, ()),
    (CHAT, TO_RESPONSES, {"store": True}, "store", True, ()),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "store": True}, "store", None, ("store",)),
    (MESSAGES, TO_RESPONSES, {}, "store", False, ()),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "user": "u"}, "metadata", {"user_id": "u"}, ()),
    (MESSAGES, TO_CHAT, {"metadata": {"user_id": "u"}}, "user", "u", ()),
    (CHAT, TO_RESPONSES, {"metadata": {"a": "b"}}, "metadata", {"a": "b"}, ()),
    (CHAT, TO_BEDROCK, {"metadata": {"a": "b"}}, "requestMetadata", {"a": "b"}, ()),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "metadata": {"a": "b"}}, "metadata", None, ("metadata",)),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "service_tier": "default"}, "service_tier", "standard_only", ()),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "service_tier": "flex"}, "service_tier", None, ("service_tier",)),
    (CHAT, TO_BEDROCK, {"service_tier": "flex"}, "serviceTier", {"type": "flex"}, ()),
    (MESSAGES, TO_CHAT, {"service_tier": "standard_only"}, "service_tier", "default", ()),
    (RESPONSES, TO_CHAT, {"text": {"verbosity": "low"}}, "verbosity", "low", ()),
    (CHAT, TO_RESPONSES, {"verbosity": "low"}, "text.verbosity", "low", ()),
    (RESPONSES, TO_CHAT, {"previous_response_id": "resp_1"}, "x", None, ("previous_response_id",)),
    (RESPONSES, TO_MESSAGES, {"conversation": "c", "max_output_tokens": 1}, "x", None, ("conversation",)),
    (RESPONSES, TO_CHAT, {"truncation": "auto", "background": True}, "x", None, ("truncation", "background")),
    (RESPONSES, TO_CHAT, {"truncation": "disabled", "include": []}, "x", None, ()),
    (CHAT, TO_RESPONSES, {"stream": True}, "stream", True, ()),
    (RESPONSES, TO_CHAT, {"stream": True}, "stream_options", {"include_usage": True}, ()),
    (CHAT, TO_BEDROCK, {"stream": True}, "stream", None, ()),
    # reasoning
    (CHAT, TO_RESPONSES, {"reasoning_effort": "high"}, "reasoning", {"effort": "high"}, ()),
    (RESPONSES, TO_CHAT, {"reasoning": {"effort": "low", "summary": "auto"}}, "reasoning_effort", "low", ()),
    (
        MESSAGES,
        TO_CHAT,
        {"thinking": {"type": "enabled", "budget_tokens": 9000}},
        "reasoning_effort",
        "high",
        ("thinking.budget_tokens",),
    ),
    (MESSAGES, TO_CHAT, {"thinking": {"type": "disabled"}}, "reasoning_effort", "none", ()),
    (MESSAGES, TO_CHAT, {"thinking": {"type": "adaptive"}}, "reasoning_effort", None, ("thinking",)),
    *(
        (
            RESPONSES,
            TO_MESSAGES,
            {"max_output_tokens": 9, "reasoning": {"effort": "low", **asked}},
            "thinking",
            told,
            (),
        )
        for asked, told in SUMMARIES
    ),
    (RESPONSES, TO_MESSAGES, {"max_output_tokens": 9, "reasoning": {"summary": "auto"}}, "thinking", None, ()),
    (RESPONSES, TO_CHAT, {"reasoning": {"summary": "auto"}}, "reasoning_effort", None, ()),
    (
        MESSAGES,
        TO_RESPONSES,
        {"thinking": {"type": "enabled", "budget_tokens": 9000, "display": "summarized"}},
        "reasoning",
        {"effort": "high", "summary": "auto"},
        ("thinking.budget_tokens",),
    ),
    (
        MESSAGES,
        TO_RESPONSES,
        {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
        "reasoning",
        {"effort": "low", "summary": "auto"},
        (),
    ),
    (
        MESSAGES,
        TO_RESPONSES,
        {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}},
        "reasoning",
        {"effort": "low"},
        ("thinking.display",),
    ),
    (
        MESSAGES,
        TO_BEDROCK,
        {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
        "additionalModelRequestFields",
        None,
        ("output_config.effort", "thinking.display"),
    ),
    (
        MESSAGES,
        TO_CHAT,
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
        "reasoning_effort",
        "max",
        (),
    ),
    # structured outputs
    (
        CHAT,
        TO_MESSAGES,
        {"max_tokens": 1, "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
        "output_config.format",
        {"type": "json_schema", "schema": SCHEMA},
        (),
    ),
    (
        CHAT,
        TO_MESSAGES,
        {"max_tokens": 1, "response_format": {"type": "json_object"}},
        "output_config",
        None,
        ("response_format",),
    ),
    (CHAT, TO_RESPONSES, {"response_format": {"type": "json_object"}}, "text.format", {"type": "json_object"}, ()),
    (
        CHAT,
        TO_RESPONSES,
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}},
        "text.format",
        {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True},
        (),
    ),
    (
        CHAT,
        TO_BEDROCK,
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}}}},
        "outputConfig.textFormat.structure.jsonSchema",
        {"schema": '{"a":1}', "name": "n"},
        (),
    ),
    (
        MESSAGES,
        TO_CHAT,
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        "response_format.json_schema",
        {"name": "answer", "schema": SCHEMA, "strict": True},
        (),
    ),
    (
        RESPONSES,
        TO_CHAT,
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}},
        "response_format.json_schema",
        {"name": "n", "schema": SCHEMA},
        (),
    ),
    (RESPONSES, TO_CHAT, {"text": {"format": {"type": "text"}}}, "response_format", None, ()),
    # tools
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "tools": [CHAT_TOOL]}, "tools", [MESSAGES_TOOL], ()),
    (CHAT, TO_RESPONSES, {"tools": [CHAT_TOOL]}, "tools", [RESPONSES_TOOL], ()),
    (CHAT, TO_BEDROCK, {"tools": [CHAT_TOOL]}, "toolConfig.tools", [BEDROCK_TOOL], ()),
    (MESSAGES, TO_CHAT, {"tools": [MESSAGES_TOOL | {"strict": True}]}, "tools.0.function.strict", True, ()),
    (RESPONSES, TO_MESSAGES, {"max_output_tokens": 1, "tools": [RESPONSES_TOOL]}, "tools.0.input_schema", SCHEMA, ()),
    (
        RESPONSES,
        TO_CHAT,
        {"tools": [{"type": "function", "name": "f", "parameters": None}]},
        "tools.0.function.parameters",
        {"type": "object", "properties": {}},
        (),
    ),
    (RESPONSES, TO_CHAT, {"tools": [{"type": "web_search"}]}, "tools", None, ("tools[0]",)),
    (
        MESSAGES,
        TO_CHAT,
        {"tools": [{"type": "bash_20250124", "name": "bash"}, MESSAGES_TOOL]},
        "tools",
        [CHAT_TOOL],
        ("tools[0]",),
    ),
    (
        MESSAGES,
        TO_CHAT,
        {"tools": [MESSAGES_TOOL | {"cache_control": {"type": "ephemeral"}}]},
        "tools",
        [CHAT_TOOL],
        ("tools[0].cache_control",),
    ),
    (
        RESPONSES,
        TO_CHAT,
        {
            "tools": [
                {"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "lark", "definition": "d"}}
            ]
        },
        "tools.0.custom.format",
        {"type": "grammar", "grammar": {"syntax": "lark", "definition": "d"}},
        (),
    ),
    (
        CHAT,
        TO_RESPONSES,
        {
            "tools": [
                {
                    "type": "custom",
                    "custom": {
                        "name": "p",
                        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "d"}},
                    },
                }
            ]
        },
        "tools.0.format",
        {"type": "grammar", "syntax": "lark", "definition": "d"},
        (),
    ),
    (
        CHAT,
        TO_MESSAGES,
        {"max_tokens": 1, "tools": [{"type": "custom", "custom": {"name": "p"}}]},
        "tools",
        None,
        ("tools[0]",),
    ),
    # tool choice
    *(
        (CHAT, target, {"max_tokens": 1, "tools": [CHAT_TOOL], "tool_choice": given}, path, expected, ())
        for target, path, forms in [
            (
                TO_MESSAGES,
                "tool_choice",
                ({"type": "auto"}, {"type": "none"}, {"type": "any"}, {"type": "tool", "name": "weather"}),
            ),
            (TO_RESPONSES, "tool_choice", ("auto", "none", "required", {"type": "function", "name": "weather"})),
            (TO_BEDROCK, "toolConfig.toolChoice", ({"auto": {}}, None, {"any": {}}, {"tool": {"name": "weather"}})),
        ]
        for given, expected in zip(
            ("auto", "none", "required", {"type": "function", "function": {"name": "weather"}}), forms, strict=True
        )
    ),
    (MESSAGES, TO_CHAT, {"tools": [MESSAGES_TOOL], "tool_choice": {"type": "any"}}, "tool_choice", "required", ()),
    (
        MESSAGES,
        TO_CHAT,
        {"tools": [MESSAGES_TOOL], "tool_choice": {"type": "tool", "name": "weather"}},
        "tool_choice",
        {"type": "function", "function": {"name": "weather"}},
        (),
    ),
    (
        MESSAGES,
        TO_CHAT,
        {"tools": [MESSAGES_TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        "parallel_tool_calls",
        False,
        (),
    ),
    (
        CHAT,
        TO_MESSAGES,
        {"max_tokens": 1, "tools": [CHAT_TOOL], "parallel_tool_calls": False},
        "tool_choice",
        {"type": "auto", "disable_parallel_tool_use": True},
        (),
    ),
    (
        CHAT,
        TO_BEDROCK,
        {"tools": [CHAT_TOOL], "parallel_tool_calls": False},
        "toolConfig.toolChoice",
        None,
        ("parallel_tool_calls",),
    ),
    (CHAT, TO_MESSAGES, {"max_tokens": 1, "parallel_tool_calls": False}, "tool_choice", None, ()),
    (
        CHAT,
        TO_MESSAGES,
        {
            "max_tokens": 1,
            "tools": [CHAT_TOOL, {"type": "function", "function": {"name": "b"}}],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]},
            },
        },
        "tools",
        [MESSAGES_TOOL],
        (),
    ),
    (
        RESPONSES,
        TO_CHAT,
        {
            "tools": [RESPONSES_TOOL],
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "weather"}],
            },
        },
        "tool_choice.allowed_tools.mode",
        "auto",
        (),
    ),
    (
        RESPONSES,
        TO_CHAT,
        {"tools": [RESPONSES_TOOL], "tool_choice": {"type": "web_search_preview"}},
        "tool_choice",
        None,
        ("tool_choice",),
    ),
]


@pytest.mark.parametrize(
    "row", FIELDS, ids=[f"{row[0]}-{row[1]}-{'-'.join(row[2]) or 'nothing'}-{i}" for i, row in enumerate(FIELDS)]
)
def test_a_field_becomes_what_it_means(row: Row) -> None:
    """Each field arrives where the provider's API has it, and exactly those that cannot are noted as lost."""
    source, target, fields, path, expected, lost = row
    body, losses = translated(source, target, fields)

    assert at(body, path) == expected
    assert sorted(losses) == sorted(lost)


CONVERSATION: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather?"},
    {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
            {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    {"role": "tool", "tool_call_id": "call_2", "content": "sun"},
    {"role": "user", "content": "And tomorrow?"},
]


def test_a_conversation_to_messages() -> None:
    """Instructions go to `system`, parallel calls into one turn, their results and the next words into the other."""
    body, losses = translated(CHAT, TO_MESSAGES, {"messages": CONVERSATION, "max_tokens": 5})

    assert losses == {}
    assert body["system"] == "Be brief."
    assert body["messages"] == [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "call_2", "name": "weather", "input": {"city": "Rome"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": "sun"},
                {"type": "text", "text": "And tomorrow?"},
            ],
        },
    ]


def test_a_conversation_to_responses() -> None:
    """Instructions go to `instructions`, and every call and every result becomes an item of its own."""
    body, losses = translated(CHAT, TO_RESPONSES, {"messages": CONVERSATION})

    assert losses == {}
    assert body["instructions"] == "Be brief."
    assert [item["type"] for item in body["input"]] == [
        "message",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "message",
    ]
    assert body["input"][2] == {
        "type": "function_call",
        "call_id": "call_1",
        "name": "weather",
        "arguments": '{"city": "Oslo"}',
    }
    assert body["input"][4] == {"type": "function_call_output", "call_id": "call_1", "output": "rain"}


def test_a_conversation_to_bedrock() -> None:
    """The two sides take turns, and calls and results are blocks; the model is not in the body."""
    body, losses = translated(CHAT, TO_BEDROCK, {"messages": CONVERSATION})

    assert losses == {}
    assert "model" not in body
    assert body["system"] == [{"text": "Be brief."}]
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][2]["content"] == [
        {"toolResult": {"toolUseId": "call_1", "content": [{"text": "rain"}]}},
        {"toolResult": {"toolUseId": "call_2", "content": [{"text": "sun"}]}},
        {"text": "And tomorrow?"},
    ]


@pytest.mark.parametrize("through", [TO_MESSAGES, TO_RESPONSES], ids=str)
def test_a_conversation_there_and_back(through: ProviderFormat) -> None:
    """A conversation that goes to another API and comes back is the same conversation."""
    there = translate_request(
        orjson.dumps(LEAST[CHAT] | {"messages": CONVERSATION, "max_tokens": 5}), CHAT, through, model="m"
    )
    back = translate_request(there.body, ApiFormat(through.value), TO_CHAT, model="m")
    messages = json.loads(back.body)["messages"]
    for call in [call for message in messages for call in message.get("tool_calls", ())]:
        call["function"]["arguments"] = json.dumps(json.loads(call["function"]["arguments"]))

    assert (there.losses, back.losses) == ((), ())
    assert messages == CONVERSATION


def test_instructions_in_the_middle_are_moved_and_noted() -> None:
    """A system message within a conversation joins the instructions of an API that has them apart, and is a loss."""
    messages = [*LEAST[CHAT]["messages"], {"role": "developer", "content": "French!"}]
    body, losses = translated(CHAT, TO_MESSAGES, {"messages": messages, "max_tokens": 5})

    assert (body["system"], list(losses)) == ("French!", ["messages[1]"])
    body, losses = translated(CHAT, TO_RESPONSES, {"messages": messages})
    assert (body["input"][1]["role"], losses) == ("developer", {})


def test_neighbours_of_one_role_are_one_turn() -> None:
    """Two messages of the user in a row are one turn where two sides take turns, and blank ones are left out."""
    messages = [{"role": "user", "content": text} for text in ("a", "", "b")] + [{"role": "user", "content": " "}]
    body, losses = translated(CHAT, TO_BEDROCK, {"messages": messages})

    assert body["messages"] == [{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}]
    assert list(losses) == ["messages[3]"]


def test_results_of_tools_come_first() -> None:
    """What the user says before a tool has answered comes after its result, as the other API wants it."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "user", "content": "Quick!"},
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
    ]
    body, losses = translated(CHAT, TO_MESSAGES, {"messages": messages, "max_tokens": 5})

    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_result", "text"]
    assert losses == {}


@pytest.mark.parametrize("call_id", ["a.b:c|d", "x" * 80, "größe", ""], ids=["marks", "long", "letters", "empty"])
@pytest.mark.parametrize("target", [TO_MESSAGES, TO_RESPONSES, TO_BEDROCK], ids=str)
def test_ids_that_do_not_fit_are_replaced_alike(call_id: str, target: ProviderFormat) -> None:
    """A call's id that another API refuses is replaced by one that fits, the same for the call and its result."""
    call = {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        *LEAST[CHAT]["messages"],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "ok"},
    ]
    body, losses = translated(CHAT, target, {"messages": messages, "max_tokens": 5})
    text = json.dumps(body)
    keys = {TO_MESSAGES: ("id", "tool_use_id"), TO_RESPONSES: ("call_id",), TO_BEDROCK: ("toolUseId",)}[target]
    ids = {value for key in keys for value in _values(body, key)}

    assert losses == {}
    assert len(ids) == 1
    assert ids.pop().startswith("call_")
    assert text.count("call_") >= 2


def _values(value: Any, key: str) -> list[str]:
    """Return every value of a key, however deep."""
    if isinstance(value, list):
        return [found for element in value for found in _values(element, key)]
    if isinstance(value, dict):
        return [found for element in value.values() for found in _values(element, key)] + (
            [value[key]] if key in value else []
        )
    return []


def test_numbers_keep_their_digits() -> None:
    """A number that neither 64 bits nor a double hold arrives digit by digit, out of a text and out of an object."""
    big, fine = "123456789012345678901234567890", "0.12345678901234567890123"
    arguments = f'{{"a":{big},"b":{fine}}}'
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    there = translate_request(
        orjson.dumps(LEAST[CHAT] | {"messages": [{"role": "assistant", "tool_calls": [call]}], "max_tokens": 5}),
        CHAT,
        TO_MESSAGES,
        model="m",
    )
    back = translate_request(there.body, MESSAGES, TO_RESPONSES, model="m")

    assert f'"input":{arguments}'.encode() in there.body
    assert json.loads(back.body)["input"][0]["arguments"] == arguments


@pytest.mark.parametrize("arguments", ["oops", "[1]", '{"a":', "null"])
def test_arguments_that_are_no_object_are_wrapped_and_noted(arguments: str) -> None:
    """Arguments of a past call that are no JSON object are sent as text within one, and noted."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    messages = [*LEAST[CHAT]["messages"], {"role": "assistant", "tool_calls": [call]}]
    body, losses = translated(CHAT, TO_MESSAGES, {"messages": messages, "max_tokens": 5})

    assert body["messages"][1]["content"][0]["input"] == {"input": arguments}
    assert list(losses) == ["messages[1].tool_calls[0]"]


MEDIA = [
    (
        CHAT,
        {"type": "image_url", "image_url": {"url": PNG}},
        TO_MESSAGES,
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
    ),
    (
        CHAT,
        {"type": "image_url", "image_url": {"url": "https://a/b"}},
        TO_MESSAGES,
        {"type": "image", "source": {"type": "url", "url": "https://a/b"}},
    ),
    (
        CHAT,
        {"type": "image_url", "image_url": {"url": PNG}},
        TO_RESPONSES,
        {"type": "input_image", "detail": "auto", "image_url": PNG},
    ),
    (
        CHAT,
        {"type": "image_url", "image_url": {"url": PNG}},
        TO_BEDROCK,
        {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
    ),
    (CHAT, {"type": "image_url", "image_url": {"url": "https://a/b"}}, TO_BEDROCK, None),
    (
        CHAT,
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,BB", "filename": "a.pdf"}},
        TO_MESSAGES,
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "BB"},
            "title": "a.pdf",
        },
    ),
    (
        CHAT,
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,BB", "filename": "a.pdf"}},
        TO_BEDROCK,
        {"document": {"format": "pdf", "name": "a pdf", "source": {"bytes": "BB"}}},
    ),
    (CHAT, {"type": "file", "file": {"file_id": "f1"}}, TO_RESPONSES, {"type": "input_file", "file_id": "f1"}),
    (CHAT, {"type": "file", "file": {"file_id": "f1"}}, TO_MESSAGES, None),
    (
        CHAT,
        {"type": "input_audio", "input_audio": {"data": "CC", "format": "wav"}},
        TO_BEDROCK,
        {"audio": {"format": "wav", "source": {"bytes": "CC"}}},
    ),
    (CHAT, {"type": "input_audio", "input_audio": {"data": "CC", "format": "wav"}}, TO_MESSAGES, None),
    (CHAT, {"type": "input_audio", "input_audio": {"data": "CC", "format": "wav"}}, TO_RESPONSES, None),
    (
        MESSAGES,
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        TO_CHAT,
        {"type": "image_url", "image_url": {"url": PNG}},
    ),
    (MESSAGES, {"type": "image", "source": {"type": "file", "file_id": "f1"}}, TO_CHAT, None),
    (MESSAGES, {"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}}, TO_CHAT, None),
    (
        MESSAGES,
        {"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}},
        TO_RESPONSES,
        {"type": "input_file", "file_url": "https://a/b.pdf"},
    ),
    (
        MESSAGES,
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
        TO_BEDROCK,
        {"document": {"format": "txt", "name": "document", "source": {"text": "words"}}},
    ),
    (MESSAGES, {"type": "container_upload", "file_id": "f"}, TO_CHAT, None),
    (
        RESPONSES,
        {"type": "input_image", "image_url": PNG, "detail": "high"},
        TO_CHAT,
        {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}},
    ),
    (
        RESPONSES,
        {"type": "input_file", "file_url": "https://a/b.pdf"},
        TO_MESSAGES,
        {"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}},
    ),
    (RESPONSES, {"type": "input_file", "file_data": "data:application/zip;base64,DD"}, TO_MESSAGES, None),
    (RESPONSES, {"type": "input_audio"}, TO_CHAT, None),
]


@pytest.mark.parametrize(("source", "part", "target", "expected"), MEDIA, ids=lambda value: str(value)[:40])
def test_media_are_carried_or_refused(source: ApiFormat, part: Any, target: ProviderFormat, expected: Any) -> None:
    """An image, file or recording arrives in the provider's form, or the call is refused; it is never just left out."""
    text = {"type": "input_text" if source is RESPONSES else "text", "text": "look"}
    turns = [{"role": "user", "content": [text, part]}]
    fields = {"input" if source is RESPONSES else "messages": turns}
    if expected is None:
        with pytest.raises(NotTranslatableError, match="cannot be sent to the provider") as refused:
            translated(source, target, fields)
        assert refused.value.status == 422
        assert (refused.value.param or "").endswith("[0].content[1]")
    else:
        body, _ = translated(source, target, fields)
        assert body["input" if target is TO_RESPONSES else "messages"][0]["content"][1] == expected


def test_a_tools_image_is_shown_where_the_api_can() -> None:
    """A picture that a tool gave back is part of its result, or of the user's next words where results are text."""
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "is_error": True,
        "content": [{"type": "text", "text": "x"}, MEDIA[0][3]],
    }
    messages = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "user", "content": [result]},
    ]
    chat, losses = translated(MESSAGES, TO_CHAT, {"messages": messages})
    bedrock, none = translated(MESSAGES, TO_BEDROCK, {"messages": messages})

    assert [message["role"] for message in chat["messages"]] == ["assistant", "tool", "user"]
    assert list(losses) == ["messages[1].content[0]", "messages[1].content[0].content[1]"]
    assert bedrock["messages"][1]["content"][0]["toolResult"]["status"] == "error"
    assert none == {}


@pytest.mark.parametrize(
    ("model", "thinking", "why"),
    [
        ("us.anthropic.claude-opus-4-6-v1", {"type": "adaptive"}, None),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", {"type": "enabled", "budget_tokens": 8192}, "became a budget"),
        ("amazon.nova-pro-v1:0", None, "it is not known how"),
    ],
    ids=["claude", "claude before 4.6", "another maker"],
)
def test_claude_on_bedrock_decides_itself_how_much_to_think(model: str, thinking: Any, why: str | None) -> None:
    """Adaptive thinking without an effort goes on to Claude models that know it; what it becomes elsewhere is noted."""
    fields = {"max_tokens": 50_000, "thinking": {"type": "adaptive"}}
    body, losses = translated(MESSAGES, TO_BEDROCK, fields, model=model)

    assert at(body, "additionalModelRequestFields.thinking") == thinking
    assert losses.keys() == ({"thinking"} if why else set())
    assert (why or "") in losses.get("thinking", "")


EFFORTS = [
    ("claude-3-5-haiku-latest", {"reasoning_effort": "high"}, None, None, "does not think"),
    (
        "claude-sonnet-4-20250514",
        {"reasoning_effort": "low"},
        {"type": "enabled", "budget_tokens": 2048},
        None,
        "became a budget of 2048",
    ),
    (
        "claude-3-7-sonnet-latest",
        {"reasoning_effort": "high", "max_tokens": 6000},
        {"type": "enabled", "budget_tokens": 3000},
        None,
        "became a budget of 3000",
    ),
    ("claude-opus-4-5", {"reasoning_effort": "high", "max_tokens": 600}, None, None, "leaves less than 1024"),
    (CLAUDE, {"reasoning_effort": "xhigh"}, {"type": "adaptive"}, "xhigh", None),
    (CLAUDE, {"reasoning_effort": "minimal"}, {"type": "adaptive"}, "low", "no such effort"),
    ("claude-sonnet-5", {"reasoning_effort": "none"}, {"type": "disabled"}, None, None),
    (
        CLAUDE,
        {"reasoning_effort": "high", "tools": [CHAT_TOOL], "tool_choice": "required"},
        None,
        None,
        "must call a tool",
    ),
    (
        "claude-opus-4-1",
        {"reasoning_effort": "high", "messages": CONVERSATION[:-1]},
        None,
        None,
        "goes on after a tool's result",
    ),
    (CLAUDE, {"reasoning_effort": "high", "messages": CONVERSATION[:-1]}, {"type": "adaptive"}, "high", None),
]


@pytest.mark.parametrize(
    ("model", "fields", "thinking", "effort", "why"), EFFORTS, ids=[f"{e[0]}-{i}" for i, e in enumerate(EFFORTS)]
)
def test_effort_becomes_what_the_model_understands(
    model: str, fields: Any, thinking: Any, effort: Any, why: str | None
) -> None:
    """An effort becomes a budget for older Claude models and an effort for later ones; what that changes is noted."""
    body, losses = translated(CHAT, TO_MESSAGES, {"max_tokens": 50_000, **fields}, model=model)

    assert (body.get("thinking"), at(body, "output_config.effort")) == (thinking, effort)
    assert losses.keys() == ({"reasoning_effort"} if why else set())
    assert (why or "") in losses.get("reasoning_effort", "")


def test_a_model_that_thinks_takes_no_sampling() -> None:
    """Sampling parameters are lost, not sent to be refused, where the model thinks."""
    fields = {"reasoning_effort": "high", "temperature": 0.2, "top_p": 0.9, "max_tokens": 5}
    body, losses = translated(CHAT, TO_MESSAGES, fields, model=CLAUDE)

    assert "temperature" not in body
    assert list(losses) == ["temperature", "top_p"]


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}


def test_thoughts_go_back_to_their_maker_alone() -> None:
    """Anthropic's signed thoughts go on to Bedrock, are lost elsewhere, and unsigned ones are sent to nobody."""
    messages = [
        *LEAST[MESSAGES]["messages"],
        {
            "role": "assistant",
            "content": [THOUGHT, {"type": "redacted_thinking", "data": "eA=="}, {"type": "text", "text": "ok"}],
        },
        {"role": "user", "content": "go"},
    ]
    bedrock, kept = translated(MESSAGES, TO_BEDROCK, {"messages": messages})
    responses, lost = translated(MESSAGES, TO_RESPONSES, {"messages": messages})

    assert bedrock["messages"][1]["content"][:2] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "eA=="}},
    ]
    assert kept == {}
    assert [item["type"] for item in responses["input"]] == ["message", "message", "message"]
    assert list(lost) == ["messages[1].content[0]", "messages[1].content[1]"]


def test_openai_thoughts_find_their_way_back_through_messages() -> None:
    """A signature that bears OpenAI's mark becomes its reasoning item again, and is taken out for Anthropic."""
    marked = THOUGHT | {"signature": "plano.openai.rs_1.ZW5j.x"}
    messages = [
        *LEAST[MESSAGES]["messages"],
        {"role": "assistant", "content": [marked]},
        {"role": "user", "content": "go"},
    ]
    responses, losses = translated(MESSAGES, TO_RESPONSES, {"messages": messages})
    native, lost = translated(MESSAGES, TO_MESSAGES, {"messages": messages})

    assert responses["input"][1] == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "ZW5j.x",
    }
    assert losses == {}
    assert native["messages"] == [{"role": "user", "content": "hi"}, {"role": "user", "content": "go"}]
    assert list(lost) == ["messages[1].content[0]"]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "plano.anthropic..sig"},
        {"type": "reasoning", "id": "rs_plano_x_0", "summary": []},
    ],
    ids=["signed", "unsigned"],
)
def test_foreign_reasoning_is_not_sent_to_openai(item: Any) -> None:
    """A reasoning item that a translation has made is taken out of a Responses call that goes to OpenAI."""
    body, losses = translated(RESPONSES, TO_RESPONSES, {"input": [item, {"role": "user", "content": "go"}]})

    assert body["input"] == [{"role": "user", "content": "go"}]
    assert list(losses) == ["input[0]"]


def test_anthropic_thoughts_find_their_way_back_through_responses() -> None:
    """A reasoning item that bears Anthropic's mark becomes its thinking block again."""
    item = {
        "type": "reasoning",
        "id": "rs_plano_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "plano.anthropic..c2ln",
    }
    body, losses = translated(
        RESPONSES,
        TO_MESSAGES,
        {
            "input": [
                {"role": "user", "content": "hi"},
                item,
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            ],
            "max_output_tokens": 9,
        },
    )

    assert body["messages"][1]["content"][0] == THOUGHT
    assert losses == {}


@pytest.mark.parametrize("source", ApiFormat, ids=str)
def test_the_same_api_passes_byte_for_byte(source: ApiFormat) -> None:
    """A call whose provider speaks its own API keeps every byte but the model's name."""
    body = orjson.dumps(LEAST[source] | {"unknown": 1.50}).replace(b'"unknown"', b' "unknown" ')
    request = translate_request(body, source, ProviderFormat(source.value), model="m")

    assert request.body == body.replace(b'"auto"', b'"m"')
    assert request.losses == ()


BAD = [
    (CHAT, {"messages": []}, WireFormatError, "messages"),
    (CHAT, {"messages": ...}, WireFormatError, "messages"),
    (CHAT, {"messages": [{"role": "alien", "content": "x"}]}, WireFormatError, "messages[0].role"),
    (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, WireFormatError, "messages[0].tool_call_id"),
    (CHAT, {"messages": [{"role": "user", "content": 7}]}, WireFormatError, "messages[0].content"),
    (CHAT, {"temperature": "hot"}, WireFormatError, "temperature"),
    (CHAT, {"max_tokens": 1.5}, WireFormatError, "max_tokens"),
    (CHAT, {"tools": [{"type": "function"}]}, WireFormatError, "tools[0].function"),
    (CHAT, {"tool_choice": "perhaps"}, WireFormatError, "tool_choice"),
    (CHAT, {"functions": [{"name": "f"}]}, NotTranslatableError, "functions"),
    (CHAT, {"response_format": {"type": "xml"}}, WireFormatError, "response_format.type"),
    (CHAT, {"stop": [1]}, WireFormatError, "stop[0]"),
    (MESSAGES, {"max_tokens": ...}, WireFormatError, "max_tokens"),
    (MESSAGES, {"system": 5}, WireFormatError, "system"),
    (MESSAGES, {"tools": [{"name": "f"}]}, WireFormatError, "tools[0].input_schema"),
    (MESSAGES, {"tool_choice": {"type": "tool"}}, WireFormatError, "tool_choice.name"),
    (
        MESSAGES,
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "x"}}]}]},
        WireFormatError,
        "messages[0].content[0].source.type",
    ),
    (RESPONSES, {"input": ...}, WireFormatError, "input"),
    (RESPONSES, {"input": 5}, WireFormatError, "input"),
    (RESPONSES, {"input": [{"type": "function_call", "name": "f"}]}, WireFormatError, "input[0].call_id"),
    (RESPONSES, {"instructions": []}, WireFormatError, "instructions"),
    (
        RESPONSES,
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png,AA"}]}]},
        WireFormatError,
        "input[0].content[0].image_url",
    ),
]


@pytest.mark.parametrize(("source", "fields", "error", "param"), BAD, ids=lambda value: str(value)[:40])
def test_a_wrong_shape_names_its_place(source: ApiFormat, fields: Any, error: type[CallError], param: str) -> None:
    """A body that is not of its API is refused with the place of the fault."""
    target = TO_RESPONSES if source is not RESPONSES else TO_CHAT
    with pytest.raises(error) as refused:
        translated(source, target, fields)

    assert refused.value.param == param


def test_losses_are_bounded_and_kept_once() -> None:
    """However much is lost, at most 64 losses are listed, each once, and one that says there were more."""
    request = translate_request(
        orjson.dumps(LEAST[CHAT] | {f"key_{i}": 1 for i in range(500)}), CHAT, TO_RESPONSES, model="m"
    )

    assert len(request.losses) == 65
    assert "more was lost" in request.losses[-1].why
    assert len(set(request.losses)) == 65
