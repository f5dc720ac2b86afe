"""Whose turn a call is, as its body tells it in each of the three APIs."""

import json
from time import perf_counter
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.policy import turn_of
from plano_asgi.policy.turns import ENVELOPES, users_words
from plano_asgi.wire import read_call, read_document

CHAT, MESSAGES, RESPONSES = ApiFormat.CHAT_COMPLETIONS, ApiFormat.MESSAGES, ApiFormat.RESPONSES
REMINDER: Final = "<system-reminder>Be brief.</system-reminder>"
HOOK: Final = "<user-prompt-submit-hook>ok</user-prompt-submit-hook>"


def call_of(api_format: ApiFormat, turns: list[Any], **more: Any) -> LLMCall:
    """Return the call that turns make."""
    key = "input" if api_format is RESPONSES else "messages"
    body = {"model": "auto", "max_tokens": 9, key: turns, **more}
    return read_call(read_document(json.dumps(body).encode()), api_format)


def user(text: str) -> dict[str, Any]:
    """Return a user message, the same in all three."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    """Return an assistant's, the same in all three."""
    return {"role": "assistant", "content": text}


CHAT_USE: Final = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
CHAT_RESULT: Final = {"role": "tool", "tool_call_id": "1", "content": "a cat"}
USE: Final = {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "look", "input": {}}]}
SCREEN: Final = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}


def result(*beside: dict[str, Any], content: Any = "a cat") -> dict[str, Any]:
    """Return a tool's result as Messages carries it, with what stands beside it."""
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": content}, *beside]}


ITEM: Final = {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"}
OUTPUT: Final = {"type": "function_call_output", "call_id": "1", "output": "a cat"}
SHOT: Final = {"type": "computer_call_output", "call_id": "1", "output": {"type": "computer_screenshot"}}


@pytest.mark.parametrize(
    ("api_format", "turns"),
    [
        (CHAT, [user("hi")]),
        (CHAT, [user("hi"), CHAT_USE, CHAT_RESULT, user("stop")]),
        (CHAT, [user("hi"), assistant("hello"), user(f"and now {REMINDER}")]),
        (CHAT, [user("hi"), assistant("hello"), user(""), {"role": "system", "content": "be brief"}]),
        (CHAT, [user("hi"), assistant("hello"), {"role": "user", "content": [{"type": "input_audio"}]}]),
        (CHAT, [user(REMINDER)]),
        (MESSAGES, [user("hi"), USE, result({"type": "text", "text": "stop"})]),
        (MESSAGES, [user("hi"), assistant("hello"), {"role": "user", "content": [SCREEN]}]),
        (RESPONSES, [user("hi"), ITEM, OUTPUT, user("stop")]),
    ],
    ids=[
        "first",
        "chat-after-tools",
        "words-beside-a-reminder",
        "empty-message",
        "audio",
        "harness-alone",
        "words-beside-a-result",
        "an-image",
        "responses-after-tools",
    ],
)
def test_call_in_which_the_user_speaks_is_a_new_turn(api_format: ApiFormat, turns: list[Any]) -> None:
    """What a user has just said, be it without words, begins a turn, and the whole conversation counts."""
    call = call_of(api_format, turns)

    turn = turn_of(call.conversation)

    assert (turn.is_new, turn.is_loop_open) == (True, False)
    assert turn.conversation == call.conversation


@pytest.mark.parametrize(
    ("api_format", "turns", "is_loop_open"),
    [
        (CHAT, [user("hi"), CHAT_USE, CHAT_RESULT], True),
        (CHAT, [user("hi"), CHAT_USE, CHAT_RESULT, user(REMINDER)], True),
        (CHAT, [user("hi"), CHAT_USE], True),
        (CHAT, [user("hi"), assistant("hello")], False),
        (CHAT, [user("hi"), assistant("hello"), user(f"{REMINDER}\n{HOOK}")], False),
        (MESSAGES, [user("hi"), USE, result()], True),
        (MESSAGES, [user("hi"), USE, result({"type": "text", "text": HOOK})], True),
        (MESSAGES, [user("hi"), USE, result(content=[SCREEN])], True),
        (MESSAGES, [user("hi"), {"role": "assistant", "content": "{"}], False),
        (RESPONSES, [user("hi"), ITEM, OUTPUT], True),
        (RESPONSES, [user("hi"), SHOT], True),
        (RESPONSES, [user("hi"), ITEM, {"type": "local_shell_call_output", "id": "1", "output": "{}"}], True),
    ],
    ids=[
        "chat-result",
        "chat-result-and-reminder",
        "chat-use",
        "continuation",
        "continuation-and-harness",
        "messages-result",
        "messages-result-and-hook",
        "a-tool's-screenshot",
        "prefill",
        "responses-output",
        "responses-screenshot",
        "responses-shell",
    ],
)
def test_call_in_which_a_model_goes_on_is_of_the_turn_before(
    api_format: ApiFormat, turns: list[Any], *, is_loop_open: bool
) -> None:
    """Results of tools, continuations and a harness's words belong to what the user said last, which alone counts."""
    call = call_of(api_format, turns)

    turn = turn_of(call.conversation)

    assert (turn.is_new, turn.is_loop_open) == (False, is_loop_open)
    assert turn.said == ("hi",)
    assert turn.conversation == turn_of(call.conversation[:1]).conversation


def test_tools_alone_are_no_new_turn() -> None:
    """Results that come without any word of a user's, the rest being kept by the provider, go on with a turn."""
    turn = turn_of(call_of(RESPONSES, [OUTPUT], previous_response_id="resp_1").conversation)

    assert (turn.is_new, turn.is_loop_open, turn.said) == (False, True, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("plain < text", "plain < text"),
        (f"a{REMINDER}b{HOOK}c", "abc"),
        ("<system-reminder>never closed", "<system-reminder>never closed"),
        ("</system-reminder> closed only", "</system-reminder> closed only"),
        ("<system-reminder>a <system-reminder>b</system-reminder> c", " c"),
    ],
    ids=["none", "both", "open", "closed", "nested"],
)
def test_users_words_are_what_stands_outside_of_envelopes(text: str, words: str) -> None:
    """Whole envelopes are left out; what is no whole envelope is the user's."""
    assert users_words(text) == words


@given(st.lists(st.sampled_from([*(f"<{tag}>" for tag in ENVELOPES), *(f"</{tag}>" for tag in ENVELOPES), "x"])))
def test_no_whole_envelope_is_left(parts: list[str]) -> None:
    """However tags stand, what is left has no envelope of the tag that is taken out last."""
    left = users_words("".join(parts))
    _, opened, rest = left.partition(f"<{ENVELOPES[-1]}>")

    assert not opened or f"</{ENVELOPES[-1]}>" not in rest


def test_hostile_text_takes_no_longer_than_its_length_warrants() -> None:
    """A megabyte of opening tags without an end is read in a fraction of a second."""
    started = perf_counter()

    users_words("<system-reminder>" * 60_000 + "</user-prompt-submit-hook>" * 10_000)

    assert perf_counter() - started < 2


@pytest.mark.parametrize(
    ("api_format", "tools", "names"),
    [
        (CHAT, [{"type": "function", "function": {"name": "look"}}, {"type": "custom", "custom": {"name": "run"}}], 2),
        (MESSAGES, [{"name": "look"}, {"type": "bash_20250124", "name": "run"}], 2),
        (RESPONSES, [{"type": "function", "name": "look"}, {"type": "web_search"}], 2),
        (CHAT, "nonsense", 0),
        (CHAT, [1, {"function": "x"}], 0),
    ],
    ids=["chat", "messages", "responses", "no-list", "odd"],
)
def test_tools_are_read_by_name(api_format: ApiFormat, tools: Any, names: int) -> None:
    """A call knows which tools it offers, and finds no fault with odd ones."""
    call = call_of(api_format, [user("hi")], tools=tools)

    assert len(call.tools) == names
    assert not names or call.tools[0] == "look"


@pytest.mark.parametrize(
    ("api_format", "thought"),
    [
        (MESSAGES, {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}),
        (MESSAGES, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "s"}]}),
        (RESPONSES, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "s"}),
    ],
    ids=["signature", "redacted", "encrypted"],
)
def test_latest_signed_thought_is_known(api_format: ApiFormat, thought: dict[str, Any]) -> None:
    """A call knows the latest thought that somebody has signed by a digest, and tells unlike ones apart."""
    signed = call_of(api_format, [user("hi"), thought]).latest_signature
    other = json.loads(json.dumps(thought).replace('"s"', '"t"'))

    assert signed is not None
    assert signed == call_of(api_format, [user("hi"), other, thought, user("so")]).latest_signature
    assert signed != call_of(api_format, [user("hi"), thought, other]).latest_signature
    assert call_of(api_format, [user("hi")]).latest_signature is None
