"""What spans tell of a call's parameters and its answer's end, and of its words where that is switched on."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, server_attributes
from starlette.applications import Starlette

from plano_asgi import LLMCall, Message, PlanoMiddleware, Role
from plano_asgi.conversation import ApiFormat
from plano_asgi.observe.answer_reading import MOST_READ_BYTES, AnswerReader
from plano_asgi.observe.content import MOST_CHARS, content_of_call
from plano_asgi.observe.request_parameters import request_parameters
from plano_asgi.testing import FixedClassifier
from plano_asgi.wire.answer_facts import AnswerFacts

PROMPT, ANSWER, RULES, STOP = "canary words of a caller", "canary words of a model", "canary rules", "canary stop"
KEY = "sk-canary-of-a-key"
SAID: Final = [{"role": "user", "content": PROMPT}]
CALLS: Final[Mapping[str, Mapping[str, Any]]] = {
    "/v1/chat/completions": {
        "messages": SAID,
        "max_completion_tokens": 9,
        "temperature": 0.5,
        "top_p": 1,
        "seed": 7,
        "n": 1,
        "frequency_penalty": -1,
        "presence_penalty": 0.25,
        "stop": STOP,
        "response_format": {"type": "json_object"},
    },
    "/v1/messages": {
        "system": RULES,
        "messages": SAID,
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 1,
        "top_k": 3,
        "stop_sequences": [STOP],
    },
    "/v1/responses": {
        "instructions": RULES,
        "input": PROMPT,
        "max_output_tokens": 9,
        "temperature": 0.5,
        "top_p": 1,
        "store": False,
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}},
    },
}
ENDS: Final = {
    "/v1/chat/completions": ("c", "stop"),
    "/v1/messages": ("msg_1", "end_turn"),
    "/v1/responses": ("resp_1", "completed"),
}
PUBLISHED: Final = {
    value
    for module in (gen_ai_attributes, server_attributes)
    for value in vars(module).values()
    if isinstance(value, str)
}
WORDS: Final = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions")
PARAMETERS: Final = {
    "gen_ai.request.max_tokens": 9,
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.top_p": 1.0,
}

Spans = Sequence[ReadableSpan]
Serve = Callable[..., tuple[str, Spans]]
each_path = pytest.mark.parametrize("path", CALLS, ids=["chat", "messages", "responses"])
plain_and_streamed = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@pytest.fixture
def serving(provider: Any) -> str:
    """Return the configuration of a gateway to a provider that speaks all three APIs natively."""
    place = f"base_url: '{provider.url}/v1', access_key: {KEY}"
    return f"""\
mode: forward
routing: {{unmatched: requested}}
forward: {{connect_s: 10, first_byte_s: 20, answer_s: 20}}
model_providers:
  - {{model: openai/gpt-4o, default: true, {place}}}
  - {{model: anthropic/claude-sonnet-4, {place.replace("/v1'", "'")}}}
"""


def call_of(path: str, *, stream: bool) -> dict[str, Any]:
    """Return the body of a call to an API, which names a model that speaks it."""
    model = "claude-sonnet-4" if path == "/v1/messages" else "gpt-4o"
    return {"model": model, **CALLS[path], "stream": stream}


@pytest.fixture
def served(
    behind: Callable[..., PlanoMiddleware], ask: Callable[..., httpx.Response], serving: str, host: Any
) -> Serve:
    """Return what makes a call to a gateway, and gives its answer and the spans that were made of it."""

    def serve_one(path: str, body: Mapping[str, Any], more: str = "") -> tuple[str, Spans]:
        """Make one call, which succeeds."""
        answer = ask(behind(Starlette(), serving + more, FixedClassifier({})), "POST", path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.text, host.spans.get_finished_spans()

    return serve_one


def told(spans: Spans) -> dict[str, Any]:
    """Return the attributes of the span of a call."""
    return dict(next(span for span in spans if span.name.startswith("chat ")).attributes or {})


@plain_and_streamed
@each_path
def test_span_has_parameters_and_the_answers_end(path: str, served: Serve, *, stream: bool) -> None:
    """In each API, plain and streamed, a span says how an answer was asked for, its id, and how it ended."""
    said = told(served(path, call_of(path, stream=stream))[1])

    name, reason = ENDS[path]
    assert said.items() >= PARAMETERS.items()
    assert (said["gen_ai.response.id"], said["gen_ai.response.finish_reasons"]) == (name, (reason,))
    assert said.get("gen_ai.request.top_k") == (3 if path == "/v1/messages" else None)
    assert said.get("gen_ai.request.seed") == (7 if path == "/v1/chat/completions" else None)
    assert said.get("gen_ai.request.frequency_penalty") == (-1.0 if path == "/v1/chat/completions" else None)
    assert said.get("gen_ai.output.type") == (None if path == "/v1/messages" else "json")
    assert "gen_ai.request.choice.count" not in said


@plain_and_streamed
@each_path
def test_no_word_is_in_a_span_without_the_switch(path: str, served: Serve, *, stream: bool) -> None:
    """Prompt, answer, instructions and stop sequences are in no span unless `telemetry.capture_content` is on."""
    answer, spans = served(path, call_of(path, stream=stream))

    assert ANSWER in answer
    assert "canary" not in "".join(span.to_json() for span in spans)


@plain_and_streamed
@each_path
def test_words_are_told_where_that_is_switched_on(path: str, served: Serve, *, stream: bool) -> None:
    """With the switch, a span holds messages, instructions and stop sequences as the conventions write them; no key."""
    answer, spans = served(path, call_of(path, stream=stream), "telemetry: {capture_content: true}\n")

    assert ANSWER in answer
    said = told(spans)
    reason = ENDS[path][1]
    assert json.loads(said["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": PROMPT}]}
    ]
    assert json.loads(said["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": ANSWER}], "finish_reason": reason}
    ]
    rules = json.loads(said.get("gen_ai.system_instructions", "null"))
    assert rules == (None if path == "/v1/chat/completions" else [{"type": "text", "content": RULES}])
    assert said.get("gen_ai.request.stop_sequences") == (None if path == "/v1/responses" else (STOP,))
    assert KEY not in repr(said)


def test_receiver_gets_names_that_are_published_and_no_other(
    app_of: Callable[..., Starlette], serving: str, receiver: Any
) -> None:
    """What an OTLP receiver gets of calls in all three APIs, words and all, is in the conventions' list or our own."""
    app = app_of(f"{serving}telemetry: {{otlp: '{receiver.url}', capture_content: true}}\n", FixedClassifier({}))

    async def live() -> None:
        """Make every call within the app's lifespan."""
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://plano.test")
        async with app.router.lifespan_context(app), client:
            for path in CALLS:
                for stream in (False, True):
                    assert (await client.post(path, json=call_of(path, stream=stream))).status_code == 200

    anyio.run(live)

    attributes = {entry.key for span in receiver.spans.values() for entry in span.attributes}
    conventional = {name for name in attributes if not name.startswith("plano.")}
    assert conventional >= {*PARAMETERS, *WORDS, "gen_ai.request.stop_sequences", "gen_ai.response.id"}
    assert conventional <= PUBLISHED | {"http.response.status_code"}


@plain_and_streamed
def test_what_guardrails_watch_is_told_to_the_caller_alone(served: Serve, *, stream: bool) -> None:
    """Where personal data is put back into an answer, no span holds that answer, and of the call what was left."""
    more = "telemetry: {capture_content: true}\nguardrails: {calls: [{filter: pii}]}\n"
    body = {**call_of("/v1/chat/completions", stream=stream), "messages": [{"role": "user", "content": "I am a@b.de"}]}

    said = told(served("/v1/chat/completions", body, more)[1])

    assert "gen_ai.output.messages" not in said
    assert "I am " in said["gen_ai.input.messages"]
    assert "a@b.de" not in repr(said)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"max_tokens": True, "temperature": "hot", "top_p": None, "n": [], "seed": {}}, {}),
        ({"seed": 2**64, "top_k": 2**63 - 1}, {"gen_ai.request.top_k": 2**63 - 1}),
        ({"n": 3}, {"gen_ai.request.choice.count": 3}),
        ({"max_completion_tokens": 5, "max_tokens": 4}, {"gen_ai.request.max_tokens": 5}),
        ({"response_format": {"type": "text"}, "text": 3}, {}),
        ({"stop": [], "stop_sequences": [1, None]}, {}),
        ({"stop": ["x" * 99] * 99}, {"gen_ai.request.stop_sequences": ("x" * 64,) * 16}),
    ],
    ids=["no values", "too large", "choices", "two limits", "text", "no words", "too many words"],
)
def test_parameters_are_what_otlp_can_carry(body: Mapping[str, object], expected: Mapping[str, object]) -> None:
    """A parameter that is no value of its kind, or beyond 64 bits, is left out; free text is bounded."""
    assert request_parameters(body, has_content=True) == expected


def test_long_conversations_keep_their_newest_words() -> None:
    """Of a long conversation the newest 16,384 characters are told, the oldest of them cut with a mark."""
    old, new = Message(role=Role.USER, text="o" * 20_000), Message(role=Role.USER, text="n" * 10_000)
    call = LLMCall(api_format=ApiFormat.CHAT_COMPLETIONS, conversation=(old, old, new))

    text = content_of_call(call, {})["gen_ai.input.messages"]

    messages = json.loads(str(text))
    kept = [message["parts"][0]["content"] for message in messages]
    assert kept[1] == new.text
    assert set(kept[0]) == {"o", "…"}
    assert 15_000 < sum(map(len, kept)) <= MOST_CHARS + 1


def test_tools_and_images_are_told_as_parts() -> None:
    """Calls of tools, their results and images have parts of their own; half a character becomes a question mark."""
    conversation = (
        Message(role=Role.ASSISTANT, text="", tool_calls=("look",)),
        Message(role=Role.TOOL, text="rain"),
        Message(role=Role.USER, text="\ud800", has_image=True),
    )
    call = LLMCall(api_format=ApiFormat.MESSAGES, conversation=conversation)

    assert json.loads(str(content_of_call(call, {})["gen_ai.input.messages"])) == [
        {"role": "assistant", "parts": [{"type": "tool_call", "name": "look"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "response": "rain"}]},
        {"role": "user", "parts": [{"type": "text", "content": "?"}, {"type": "image"}]},
    ]


def test_thoughts_and_calls_of_tools_are_read_of_an_answer() -> None:
    """A streamed answer's thoughts, words and calls of tools become parts, arguments as the object that they are."""
    reader = AnswerReader(ApiFormat.CHAT_COMPLETIONS, is_stream=True)
    called = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "'}}
    rest = {"index": 0, "function": {"arguments": 'Ulm"}'}}
    deltas = [{"reasoning_content": "hm"}, {"content": "Well"}, {"tool_calls": [called]}, {"tool_calls": [rest]}]
    for delta in deltas:
        event = json.dumps({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        for half in (event[:20], event[20:]):
            reader.feed((f"data: {half}" if half.startswith("{") else f"{half}\n\n").encode())

    (message,) = json.loads(reader.messages(finish="tool_calls") or "")

    assert message["parts"] == [
        {"type": "reasoning", "content": "hm"},
        {"type": "text", "content": "Well"},
        {"type": "tool_call", "id": "call_1", "name": "look", "arguments": {"at": "Ulm"}},
    ]


def test_long_streams_are_read_no_further_than_they_are_told() -> None:
    """Of a stream without end, the first 16,384 characters are told and no more are held."""
    reader = AnswerReader(ApiFormat.MESSAGES, is_stream=True)
    begin = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    more = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 1_000}}
    for event in [begin, *[more] * 100]:
        reader.feed(f"data: {json.dumps(event)}\n\n".encode())

    (message,) = json.loads(reader.messages(finish="stop") or "")

    assert message["parts"][0]["content"] == "x" * MOST_CHARS + "…"


def test_what_comes_at_once_is_read_no_further_than_it_is_told() -> None:
    """Of many events in one piece, too, nothing is taken that comes after the first 16,384 characters."""
    reader = AnswerReader(ApiFormat.MESSAGES, is_stream=True)
    begins = [
        {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
        for index in (0, 1)
    ]
    deltas = [
        {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}
        for index, text in ((0, "a"), (1, "x" * 20_000), (0, "z" * 5_000))
    ]
    reader.feed("".join([f"data: {json.dumps(event)}\n\n" for event in [*begins, *deltas]]).encode())

    (message,) = json.loads(reader.messages(finish="stop") or "")

    assert message["parts"][0]["content"] == "a"


@pytest.mark.parametrize("size", [MOST_READ_BYTES + 1, 0], ids=["too large", "nothing"])
def test_answers_that_are_too_large_are_not_read(size: int) -> None:
    """A whole answer of more than 256 KiB is not told, and neither is none at all."""
    message = {"role": "assistant", "content": "x" * size}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode() if size else b""
    reader = AnswerReader(ApiFormat.CHAT_COMPLETIONS, is_stream=False)
    reader.feed(body)

    assert reader.messages(finish="stop") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "type",
                        "choices",
                        "delta",
                        "content",
                        "message",
                        "tool_calls",
                        "function",
                        "name",
                        "index",
                        "id",
                    ),
                    *("response", "output", "item", "text", "content_block", "stop_reason", "status", "finish_reason"),
                    *("incomplete_details", "reason", "arguments", "stop", "text", "n"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    api=st.sampled_from(list(ApiFormat)),
    stream=st.booleans(),
    told=st.lists(st.binary(max_size=40) | json_values.map(lambda value: f"data: {json.dumps(value)}\n\n".encode())),
)
def test_no_answer_makes_the_reader_raise(api: ApiFormat, told: list[bytes], *, stream: bool) -> None:
    """Whatever a provider sends, reading along raises nothing and tells JSON or nothing."""
    reader = AnswerReader(api, is_stream=stream)
    for piece in told:
        reader.feed(piece)

    said = reader.messages(finish="stop")

    assert said is None or json.loads(said)[0]["role"] == "assistant"


@given(bodies=st.lists(st.dictionaries(st.text(max_size=5), json_values) | json_values, max_size=4))
def test_no_body_makes_facts_or_parameters_raise(bodies: list[Any]) -> None:
    """Whatever stands in a body, facts and parameters are bounded values of their types, or left out."""
    facts = AnswerFacts()
    for body in (body for body in bodies if isinstance(body, dict)):
        facts = facts.with_news(body)
        request_parameters(body, has_content=True)

    assert facts.id is None or isinstance(facts.id, str)
    assert all(isinstance(reason, str) for reason in facts.finish_reasons)


def test_each_choice_has_its_reason() -> None:
    """The reasons of several choices stand in the order of the choices, whichever ended first."""
    facts = AnswerFacts()
    for index, reason in ((1, "length"), (0, "stop")):
        facts = facts.with_news({"id": "c", "choices": [{"index": index, "finish_reason": reason}]})

    assert (facts.id, facts.finish_reasons) == ("c", ("stop", "length"))


def test_incomplete_answer_says_why() -> None:
    """Of a Responses answer that is incomplete the reason is told, of one under way nothing yet."""
    begun = {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}
    details = {"reason": "max_output_tokens"}
    ended = {"type": "response.incomplete", "response": {"status": "incomplete", "incomplete_details": details}}
    facts = AnswerFacts().with_news(begun)

    assert (facts.id, facts.finish_reasons) == ("r", ())
    assert facts.with_news(ended).finish_reasons == ("max_output_tokens",)
