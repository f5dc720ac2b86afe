"""What of a call a model reads, and how many tokens that is by the rule."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.conversation import Message, Role
from plano_asgi.tokens import TokenCounter, said_by, said_in, tokens_by_rule
from plano_asgi.wire import read_document

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "content", "text"]), inner),
    max_leaves=6,
)
MEMBERS = ("messages", "input", "system", "instructions", "tools", "text", "prompt")
TITLED = {"type": "content", "content": [{"type": "text", "text": "a"}, "b"]}
LONG = "1234 " * 1_000
SCHEMA = {"name": "look", "parameters": {"enum": [1.25, 2.5]}}


def tokens_of(body: dict[str, Any]) -> int:
    """Return how many tokens a call is thought to have where nobody knows its model."""
    return TokenCounter().counts(said_in(read_document(orjson.dumps(body)).value), ["own/model"])["own/model"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("four small letters a token, spaces too", 10),
        ("TWOCAPITALS", 6),
        ("{}[];", 3),
        ("2026", 4),
        ("日本語", 5),
        ("\ud800", 2),
        ("", 0),
    ],
    ids=["letters", "capitals", "signs", "digits", "wide", "surrogate", "nothing"],
)
def test_rule_is_the_one_that_the_page_states(text: str, tokens: int) -> None:
    """Each kind of character has its share of a token, and the sum is rounded up."""
    assert tokens_by_rule([text]) == tokens


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": None}]}, ["hello", ""]),
        ({"input": "hello", "instructions": "be brief"}, ["hello", "be brief"]),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}, "b"]}, ["a", "b"]),
        ({"system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}, ["a"]),
        ({"tools": [SCHEMA]}, [orjson.dumps([SCHEMA]).decode()]),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, ['{"tool_calls":[{"id":"c"}]}']),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_use", "input": {"rows": [1, 2]}}]}]},
            ['{"type":"tool_use","input":{"rows":[1,2]}}'],
        ),
        ({"messages": [{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}, ["a\nb"]),
        ({"messages": [{"role": "user", "name": "Bo", "content": "hello"}]}, ['hello\n{"name":"Bo"}']),
        (
            {"messages": [{"content": [{"type": "document", "source": {"type": "text", "data": "long"}}]}]},
            ["long"],
        ),
        (
            {"messages": [{"content": [{"type": "document", "title": "t", "source": TITLED}]}]},
            ['a\nb\n{"title":"t"}'],
        ),
        (
            {"prompt": {"id": "pmpt_1", "variables": {"city": "Ulm", "day": {"type": "input_text", "text": "a"}}}},
            ["Ulm\na"],
        ),
        ({"model": "not read", "stream": True, "metadata": {"a": "b"}}, []),
    ],
    ids=[
        "messages",
        "responses",
        "items",
        "blocks",
        "tools",
        "tool calls",
        "numbers",
        "parts",
        "more members",
        "text file",
        "titled file of parts",
        "prompt's variables",
        "the rest",
    ],
)
def test_all_that_a_model_reads_is_taken_and_nothing_else(body: dict[str, Any], texts: list[str]) -> None:
    """Texts come as they are, what has a structure as JSON, numbers included."""
    assert list(said_in(body).texts) == texts


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9_999}}],
        [{"type": "tool_result", "content": [{"type": "image", "source": {"type": "base64", "data": "A" * 9_999}}]}],
        [{"type": "input_file", "file_data": "A" * 9_999}],
    ],
    ids=["image", "image in a result", "file"],
)
def test_images_and_files_count_a_thousand_whatever_their_bytes(content: list[Any]) -> None:
    """What is not text has no tokens of its text, wherever it stands."""
    assert 1_007 <= tokens_of({"messages": [{"role": "user", "content": content}]}) < 1_040


@pytest.mark.parametrize(
    "turn",
    [
        {
            "type": "code_interpreter_call",
            "outputs": [{"type": "image", "url": "data:image/png;base64," + "A" * 9_999}],
        },
        {"role": "assistant", "content": "", "images": [{"type": "image_url", "image_url": {"url": "A" * 9_999}}]},
        {"type": "image_generation_call", "id": "ig_1", "result": "A" * 9_999},
    ],
    ids=["drawn by code", "beside an answer", "generated"],
)
def test_images_that_a_model_has_made_count_as_images(turn: dict[str, Any]) -> None:
    """What an answer held that is sent back counts as any other image does."""
    assert 1_007 <= tokens_of({"input": [turn]}) < 1_060


def test_each_message_and_each_call_has_its_overhead() -> None:
    """Four for a message and three for a call; a call has one message at the least."""
    assert tokens_of({"messages": [{"role": "user", "content": "abcd"}] * 5}) == 5 * (1 + 4) + 3
    assert tokens_of({"input": "abcd"}) == 1 + 4 + 3


@pytest.mark.parametrize(
    "body",
    [
        {"input": [{"type": "reasoning", "encrypted_content": "é" * 200, "summary": []}]},
        {"messages": [{"content": [{"type": "thinking", "thinking": "", "signature": "x" * 400}]}]},
        {"messages": [{"content": [{"type": "redacted_thinking", "data": "x" * 400}]}]},
        {
            "messages": [
                {
                    "content": [
                        {
                            "type": "web_search_tool_result",
                            "content": [{"type": "web_search_result", "encrypted_content": "x" * 400}],
                        }
                    ]
                }
            ]
        },
    ],
    ids=["reasoning", "thinking", "redacted", "search result"],
)
def test_sealed_thoughts_count_by_their_bytes(body: dict[str, Any]) -> None:
    """What only the provider can open is no text; four bytes of it are a token, whatever its characters."""
    said = said_in(body)

    assert said.sealed_bytes == 400
    assert "xx" not in said.texts[0]
    assert "éé" not in said.texts[0]
    assert 100 < tokens_of(body) < 170


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": LONG}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "more": LONG}]}]},
        {"messages": [{"role": "user", "content": "a", "more": {"deep": [LONG]}}]},
        {"tools": [{"type": "image", "description": LONG}]},
        {"input": [{"type": "function_call_output", "output": LONG}]},
        {"system": {"type": "text", "text": LONG}},
        {"messages": [{"content": [{"type": "tool_use", "input": {"type": "file", "path": LONG}}]}]},
        {"messages": [{"content": [{"type": "tool_use", "input": {"type": "document", "source": LONG}}]}]},
        {"messages": [{"content": [{"type": "tool_use", "input": {"type": "thinking", "signature": LONG}}]}]},
        {"messages": [{"content": None, "tool_calls": [{"function": {"arguments": {"type": "file", "file": LONG}}}]}]},
        {"messages": [{"content": [{"type": "text", "text": "a", "signature": "7" * 5_000}]}]},
        {"messages": [{"content": [{"type": "document", "source": {"type": "content", "content": LONG}}]}]},
        {
            "messages": [
                {"content": [{"type": "document", "source": {"type": "content", "content": [{"text": LONG}]}}]},
            ]
        },
        {"messages": [{"content": [{"type": "document", "source": {"type": "text", "data": "a"}, "context": LONG}]}]},
        {"messages": [{"content": [{"type": "document", "title": LONG, "source": {"type": "url", "url": "u"}}]}]},
        {"messages": [{"content": [{"type": "file", "file": {"filename": LONG}}]}]},
        {"messages": [{"content": [{"type": "file", "file": {"filename": LONG}, "filename": "x"}]}]},
        {"prediction": {"type": "content", "content": LONG}},
        {"messages": [{"role": "user", "content": "a", "images": [{"type": "image_url", "image_url": {"url": LONG}}]}]},
        {"prompt": {"id": "pmpt_1", "variables": {"a": LONG}}},
        {"prompt": {"id": "pmpt_1", "variables": {"a": {"type": "input_text", "text": LONG}}}},
        {"prompt": LONG},
        {"output_config": {"format": {"type": "json_schema", "schema": {"description": LONG}}}},
    ],
    ids=[
        "text",
        "beside a text",
        "beside a message",
        "tool",
        "result",
        "instructions",
        "file as arguments",
        "document as arguments",
        "thought as arguments",
        "arguments of a chat",
        "sealed text",
        "document of text",
        "document of parts",
        "context",
        "title",
        "name of a file",
        "two names of a file",
        "prediction",
        "images of a user",
        "variable",
        "variable of a type",
        "prompt",
        "format",
    ],
)
def test_no_way_of_writing_makes_a_text_free(body: dict[str, Any]) -> None:
    """A long text counts wherever a caller puts it, among what is read; files do not hide it."""
    assert tokens_of(body) > 4_000


@settings(max_examples=50)
@given(body=st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=3))
def test_every_body_has_a_count(body: dict[str, Any]) -> None:
    """Whatever shape a body has, there is a count, and it is no less than the overhead."""
    assert tokens_of(body) >= 7


def test_a_body_as_deep_as_may_be_read_is_counted() -> None:
    """Deeper nesting than the writer of JSON takes is no failure."""
    data = b'{"tools":' + b"[" * 254 + b'"abcdefgh"' + b"]" * 254 + b"}"

    assert TokenCounter().counts(said_in(read_document(data).value), ["m/m"])["m/m"] > 100


def test_conversation_is_read_as_a_router_has_it() -> None:
    """A text for each message, and its images."""
    said = said_by((Message(role=Role.USER, text="abcd", has_image=True), Message(role=Role.ASSISTANT, text="")))

    assert (said.texts, said.messages, said.files) == (("abcd", ""), 2, 1)
    assert "abcd" not in repr(said)
