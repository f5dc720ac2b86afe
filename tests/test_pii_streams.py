"""Personal data: masked in a call and restored in its answer, wherever a stream is cut."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.conversation import ApiFormat
from plano_asgi.guard.answer_texts import AnswerStream, AnswerTexts, changed_answer
from plano_asgi.guard.call_texts import changed_bytes, texts_of
from plano_asgi.guard.pii import Kind, Placeholders, TextRestorer, find_personal
from plano_asgi.guard.text_steps import Restoring
from plano_asgi.wire.sse import EventReader, write_event

ITEMS = {
    Kind.EMAIL: ["anna.schmidt@example.org", "o'neil+x@mail.example.co.uk", "josé@exämple.es"],
    Kind.PHONE: [
        "+49 30 1234567",
        "(555) 123-4567",
        "+33 6 12 34 56 78",
        "415-867-5309",
    ],
    Kind.CARD: ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
    Kind.IBAN: ["DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819", "FR14 2004 1010 0505 0001 3M02 606"],
    Kind.NATIONAL_ID: ["123-45-6789", "AB123456C", "12345678Z", "RSSMRA85T10A562S", "529.982.247-25"],
    Kind.IP: ["203.0.113.7", "2001:db8::ff00:42:8329"],
    Kind.SECRET: ["sk-" + "Zx9_" * 8, "AKIAIOSFODNN7EXAMPLE"],
}
PLANTED = [item for items in ITEMS.values() for item in items]
WORDS = st.text(
    st.characters(exclude_categories=("Cs", "Nd", "Nl", "No"), exclude_characters="@+-./:([\\_%'#"), max_size=12
)
MARKS = st.sampled_from(["[EMAIL_1]", "[PHONE_2]", "[", "]", "[EMAIL_", "[CARD_999999999]", "[[EMAIL_1]]", "[IP_1"])
TEXTS = st.lists(st.one_of(st.sampled_from(PLANTED), WORDS, MARKS), max_size=8).map("\n  ".join)
"""Items stand at the bounds of words: a line of their own."""


@pytest.mark.parametrize(("kind", "item"), [(kind, item) for kind, items in ITEMS.items() for item in items])
def test_each_item_is_found_whole_and_as_what_it_is(kind: Kind, item: str) -> None:
    """An item in the middle of a sentence is found from its first sign to its last."""
    text = f"Please note: {item}, and answer soon."
    (found,) = find_personal(text)

    assert (found.kind, text[found.start : found.end]) == (kind, item)


@settings(max_examples=150)
@given(texts=st.lists(TEXTS, min_size=1, max_size=5))
def test_nothing_planted_is_left_and_everything_comes_back(texts: list[str]) -> None:
    """Masked texts hold no planted item, restored ones are what they were, placeholders of the user's own included."""
    placeholders = Placeholders(texts)
    masked = [placeholders.mask(text) for text in texts]

    assert [item for item in PLANTED for text in masked if item in text] == []
    assert [placeholders.restore(text) for text in masked] == texts


@settings(max_examples=150)
@given(text=TEXTS, cuts=st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_a_text_in_pieces_is_restored_as_a_whole_one_is(text: str, cuts: list[int]) -> None:
    """However a masked text is cut, what comes out piece by piece is the original."""
    placeholders = Placeholders([text])
    restorer = TextRestorer(placeholders)

    assert "".join([*map(restorer.feed, pieces_of(placeholders.mask(text), cuts)), restorer.end()]) == text


def test_the_same_value_has_the_same_name_in_every_turn() -> None:
    """Numbers follow first mention, so that one more turn changes no name that was given before."""
    turns = ["from anna@example.org to bob@example.org", "bob@example.org again", "and carl@example.org"]
    short, longer = Placeholders(turns[:2]), Placeholders(turns)

    assert [*map(short.mask, turns[:2])] == [*map(longer.mask, turns)][:2]
    assert longer.mask(turns[1]) == "[EMAIL_2] again"


def test_a_name_that_the_user_wrote_is_not_given_away() -> None:
    """A user's own [EMAIL_1] stays what it is, and an address is called otherwise."""
    texts = ["what does [EMAIL_1] mean?", "anna@example.org"]
    placeholders = Placeholders(texts)

    assert placeholders.mask(texts[1]) == "[EMAIL_2]"
    assert placeholders.restore("[EMAIL_1] is [EMAIL_2]") == "[EMAIL_1] is anna@example.org"


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    """Return a text in pieces of these lengths, over and over."""
    pieces = []
    while text:
        for cut in cuts:
            pieces.append(text[:cut])
            text = text[cut:]
    return [piece for piece in pieces if piece]


def chat_stream(pieces: list[str]) -> list[dict[str, Any]]:
    """Return a Chat Completions stream that says the pieces, and calls a tool with them."""
    said = [{"index": 0, "delta": {"content": piece}, "finish_reason": None} for piece in pieces]
    called = [
        {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, "finish_reason": None}
        for piece in pieces_of(json.dumps({"to": "".join(pieces)}), [3])
    ]
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    return [{"id": "c", "choices": [choice]} for choice in (*said, *called, last)]


def told_by_chat(events: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the text and the arguments that a Chat Completions stream tells."""
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    return "".join(delta.get("content", "") for delta in deltas), "".join(c["function"]["arguments"] for c in calls)


def messages_stream(pieces: list[str]) -> list[dict[str, Any]]:
    """Return a Messages stream that says the pieces, and calls a tool with them."""
    said = [{"type": "text_delta", "text": piece} for piece in pieces]
    parts = pieces_of(json.dumps({"to": "".join(pieces)}), [3])
    called = [{"type": "input_json_delta", "partial_json": piece} for piece in parts]
    return [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in said),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "input": {}}},
        *({"type": "content_block_delta", "index": 1, "delta": delta} for delta in called),
        {"type": "content_block_stop", "index": 1},
        {"type": "message_stop"},
    ]


def told_by_messages(events: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the text and the arguments that a Messages stream tells."""
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert [*dict.fromkeys(event["index"] for event in events if "index" in event)] == [0, 1]
    return "".join(d.get("text", "") for d in deltas), "".join(d.get("partial_json", "") for d in deltas)


def responses_stream(pieces: list[str]) -> list[dict[str, Any]]:
    """Return a Responses stream that says the pieces, and calls a tool with them."""
    text, arguments = "".join(pieces), json.dumps({"to": "".join(pieces)})
    at, call = {"item_id": "m", "output_index": 0, "content_index": 0}, {"item_id": "f", "output_index": 1}
    function = "response.function_call_arguments"
    events: list[dict[str, Any]] = [
        *({"type": "response.output_text.delta", **at, "delta": piece} for piece in pieces),
        {"type": "response.output_text.done", **at, "text": text},
        *({"type": f"{function}.delta", **call, "delta": piece} for piece in pieces_of(arguments, [3])),
        {"type": f"{function}.done", **call, "arguments": arguments},
        {"type": "response.completed", "response": {"output": [{"content": [{"text": text}]}]}},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def told_by_responses(events: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the text and the arguments that a Responses stream tells, in its pieces and in its ends alike."""
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    arguments = "".join(event["delta"] for event in events if "arguments.delta" in event["type"])
    by_type = {event["type"]: event for event in events}
    assert by_type["response.output_text.done"]["text"] == text
    assert by_type["response.completed"]["response"]["output"][0]["content"][0]["text"] == text
    assert by_type["response.function_call_arguments.done"]["arguments"] == arguments
    return text, arguments


STREAMS: dict[ApiFormat, tuple[Callable[[list[str]], list[dict[str, Any]]], Callable[..., tuple[str, str]]]] = {
    ApiFormat.CHAT_COMPLETIONS: (chat_stream, told_by_chat),
    ApiFormat.MESSAGES: (messages_stream, told_by_messages),
    ApiFormat.RESPONSES: (responses_stream, told_by_responses),
}


@pytest.mark.parametrize("api_format", ApiFormat)
@settings(max_examples=60)
@given(text=TEXTS, cuts=st.lists(st.integers(1, 9), min_size=1, max_size=6), bite=st.integers(1, 90))
def test_a_stream_is_restored_wherever_it_is_cut(api_format: ApiFormat, text: str, cuts: list[int], bite: int) -> None:
    """Texts and arguments of tool calls come out whole, whatever the deltas hold and wherever the bytes are cut."""
    write, read = STREAMS[api_format]
    placeholders = Placeholders([text])
    sent = b"".join(
        write_event(json.dumps(event).encode(), name=str(event.get("type", "")))
        for event in write(pieces_of(placeholders.mask(text), cuts))
    )
    stream = AnswerStream(api_format, AnswerTexts([Restoring(placeholders)]))
    got = b"".join(stream.feed(sent[at : at + bite]) for at in range(0, len(sent), bite)) + stream.end()

    reader = EventReader()
    said, arguments = read([json.loads(event.data) for event in (*reader.feed(got), *reader.end())])

    assert said == text
    assert json.loads(arguments) == {"to": text}


def said(*parts: object, role: str = "user") -> dict[str, Any]:
    """Return a body with one message of these parts."""
    return {"messages": [{"role": role, "content": list(parts)}]}


def document(source: dict[str, Any], **beside: str) -> dict[str, Any]:
    """Return a body with one document."""
    return said({"type": "document", "source": source, **beside})


BODIES = {
    "chat": {"messages": [{"role": "user", "content": "{}"}, {"role": "user", "content": [{"text": "{}"}]}]},
    "name of a user": {"messages": [{"role": "user", "name": "anna@example.org", "content": "{}"}]},
    "tool of a chat": {
        "messages": [{"role": "tool", "tool_call_id": "t", "content": [{"type": "text", "text": "{}"}]}]
    },
    "refusal": {"messages": [{"role": "assistant", "refusal": "{}"}]},
    "prediction": {"messages": [], "prediction": {"type": "content", "content": [{"type": "text", "text": "{}"}]}},
    "messages": {"system": [{"type": "text", "text": "{}"}], "messages": [{"role": "user", "content": "{}"}]},
    "text document": document({"type": "text", "media_type": "text/plain", "data": "{}"}),
    "document of parts": document({"type": "content", "content": [{"type": "text", "text": "{}"}]}),
    "beside a document": document({"type": "url", "url": "https://example.org"}, title="{}", context="{}"),
    "search result": said({"type": "search_result", "source": "{}", "title": "{}", "content": [{"text": "{}"}]}),
    "unsigned thought": said({"type": "thinking", "thinking": "{}", "signature": ""}, role="assistant"),
    "tool use": said({"type": "tool_use", "id": "t", "input": {"to": ["{}"], "data": "{}"}}, role="assistant"),
    "tool use of a list": said({"type": "tool_use", "id": "t", "input": [{"name": "{}"}]}, role="assistant"),
    "tool result": said({"type": "tool_result", "tool_use_id": "t", "content": "{}"}),
    "document in a result": said(
        {"type": "tool_result", "content": [{"type": "document", "source": {"type": "text", "data": "{}"}}]}
    ),
    "input": {"input": "{}"},
    "responses": {"instructions": "{}", "input": [{"type": "function_call_output", "call_id": "c", "output": "{}"}]},
    "result of parts": {
        "input": [{"type": "function_call_output", "output": [{"type": "input_text", "text": "{}"}]}],
    },
    "custom tool": {"input": [{"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "{}"}]},
    "arguments as an object": {"input": [{"type": "function_call", "name": "f", "arguments": {"name": "{}"}}]},
    "action": {"input": [{"type": "local_shell_call", "action": {"command": ["{}"], "env": {"name": "{}"}}}]},
    "file search": {"input": [{"type": "file_search_call", "results": [{"text": "{}", "attributes": {"id": "{}"}}]}]},
    "summary": {"input": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "{}"}]}]},
    "variables": {"prompt": {"id": "p", "variables": {"name": "{}", "url": {"type": "input_text", "text": "{}"}}}},
}


@pytest.mark.parametrize("shape", BODIES.values(), ids=BODIES)
def test_texts_are_masked_wherever_an_api_has_them(shape: dict[str, Any]) -> None:
    """No place where an API carries text lets an address through."""
    body = json.dumps({"model": "auto", **shape}).replace("{}", "write to anna@example.org").encode()
    placeholders = Placeholders(texts_of(json.loads(body)))

    masked = changed_bytes(body, placeholders.mask)

    assert b"anna@example.org" not in masked
    assert b"[EMAIL_1]" in masked
    assert json.loads(changed_answer(masked, AnswerTexts([Restoring(placeholders)]))) == json.loads(body)


NAMES = st.sampled_from(["id", "name", "type", "data", "url", "text", "thinking", "format", "input", "detail", "role"])
JSON = st.recursive(
    st.sampled_from(["anna@example.org", "hello", "", None, 1.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100)
@given(value=st.dictionaries(NAMES, JSON, min_size=1, max_size=3))
def test_nothing_that_a_tool_is_called_with_is_left_out(value: dict[str, Any]) -> None:
    """Whatever the keys of a tool's own JSON are, fields of an API among them, what stands there is masked."""
    calls = [
        said({"type": "tool_use", "id": "t", "name": "f", "input": value}, role="assistant"),
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": json.dumps(value)}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": value}}]}]},
        {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": json.dumps(value)}]},
        {"input": [{"type": "computer_call", "call_id": "c", "action": value}]},
    ]
    bodies = [json.dumps(call).encode() for call in calls]
    masked = [changed_bytes(body, Placeholders(texts_of(json.loads(body))).mask) for body in bodies]

    assert [text for text in masked if b"anna@example.org" in text] == []


def test_arguments_of_a_tool_are_masked_as_the_json_that_they_are() -> None:
    """An address that is escaped within arguments is found, and they are still JSON after."""
    arguments = '{"to": "anna\\u0040example.org", "note": "a \\"quoted\\" word"}'
    call = {"id": "x", "type": "function", "function": {"name": "send", "arguments": arguments}}
    body = json.dumps({"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}).encode()
    placeholders = Placeholders([])

    masked = json.loads(changed_bytes(body, placeholders.mask))

    told = masked["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(told) == {"to": "[EMAIL_1]", "note": 'a "quoted" word'}


def test_what_holds_nothing_personal_is_the_same_bytes() -> None:
    """A body without findings is not written anew: its spacing and its long numbers stay."""
    body = b'{"messages" : [{"role":"user","content":"hello"}], "seed": 123456789012345678901234567890}'

    assert changed_bytes(body, Placeholders([]).mask) is body


def test_what_a_provider_has_signed_or_encoded_is_left_alone() -> None:
    """Signed thoughts and file data would be worth nothing changed, so they are not."""
    thought = {"type": "thinking", "thinking": "ask anna@example.org", "signature": "c2ln"}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "anna@example.org"}}
    body = json.dumps({"messages": [{"role": "assistant", "content": [thought, image]}]}).encode()

    assert changed_bytes(body, Placeholders([]).mask) is body


@pytest.mark.parametrize(
    "text",
    [
        "Version 1.24.1 was released on 2026-11-23 at 10:30:45.",
        "def f(x): return x[0:12] + 3.14159 * 0x7fff",
        "Order 12345678, invoice 2026-000123, 1,234,567.89 EUR",
        "commit 3f2a9c1b4d5e6f708192a3b4c5d6e7f801234567",
        "ISBN 978-3-16-148410-0, RFC 7231, section 6.5.1",
        "the @decorator and user@localhost in a config",
        "set the password in the settings, and the token is required",
        "127.0.0.1:8080 and ::1, 00:1A:2B:3C:4D:5E",
        "uuid 550e8400-e29b-41d4-a716-446655440000",
        "The population grew from 1 200 000 to 1 350 000 by 2024.",
    ],
)
def test_code_and_prose_are_left_alone(text: str) -> None:
    """Versions, dates, numbers, hashes and names in code are nobody's data."""
    assert find_personal(text) == ()
