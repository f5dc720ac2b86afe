"""Guardrails in front of real providers: what is masked, blocked, held and restored, in all three APIs."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from plano_asgi.wire.sse import EventReader

every_way = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
MASKING = "guardrails: {calls: [{filter: pii}]}"
LETTER = "Write to anna@example.org, call +49 30 1234567; what does [EMAIL_1] mean? anna@example.org!"
MASKED = "Write to [EMAIL_2], call [PHONE_1]; what does [EMAIL_1] mean? [EMAIL_2]!"
SAID = {"messages": [{"role": "user", "content": LETTER}]}


def saying(api: Any, text: str) -> dict[str, Any]:
    """Return what a call in an API says."""
    return {"input": text} if api.path.endswith("responses") else {"messages": [{"role": "user", "content": text}]}


def events_of(content: bytes) -> list[dict[str, Any]]:
    """Return the JSON events of a stream."""
    reader = EventReader()
    read = (*reader.feed(content), *reader.end())
    return [json.loads(event.data) for event in read if event.data != b"[DONE]"]


def text_of(answer: httpx.Response, *, stream: bool) -> str:
    """Return what an answer says, whatever its API."""
    if not stream:
        body = answer.json()
        if "choices" in body:
            return str(body["choices"][0]["message"]["content"])
        return str((body.get("content") or body["output"][0]["content"])[0]["text"])
    parts = []
    for event in events_of(answer.content):
        if "choices" in event:
            parts += [choice["delta"].get("content") or "" for choice in event["choices"]]
        elif event.get("type") == "content_block_delta":
            parts.append(event["delta"]["text"])
        elif event.get("type") == "response.output_text.delta":
            parts.append(event["delta"])
    return "".join(parts)


def error_of(body: Mapping[str, Any]) -> str:
    """Return the message of an error, in any API."""
    error = body.get("error")
    return str(error["message"] if error else body["message"])


@every_way
def test_provider_reads_placeholders_and_caller_the_values(
    service: Callable[..., Any], api: Any, provider: Any, *, stream: bool
) -> None:
    """What is personal never leaves, what the model says of it comes back, and the user's own [EMAIL_1] stays."""
    (answer,) = service("parrots", more=MASKING).ask(stream=stream, **saying(api, LETTER))

    assert b"anna" not in provider.heard[0].body
    assert b"1234567" not in provider.heard[0].body
    assert MASKED in provider.heard[0].body.decode()
    assert answer.status_code == 200, answer.text
    assert text_of(answer, stream=stream) == LETTER


@every_way
@pytest.mark.parametrize("model", ["anthropic/parrots", "openai/parrots"])
def test_translated_answers_are_restored(
    mixed: Callable[..., Starlette], ask_in: Callable[..., httpx.Response], api: Any, model: str, *, stream: bool
) -> None:
    """Whatever API the provider speaks, the caller reads the values in its own."""
    answer = ask_in(mixed(model, more=MASKING), stream=stream, **saying(api, LETTER))

    assert text_of(answer, stream=stream) == LETTER


def test_every_attempt_gets_the_masked_body(service: Callable[..., Any], api: Any, provider: Any) -> None:
    """A model that stands in for another is told no more than the first."""
    (answer,) = service("down", "parrots", more=MASKING).ask(**saying(api, LETTER))

    assert answer.status_code == 200
    assert len(provider.heard) >= 2
    assert not [heard for heard in provider.heard if b"anna" in heard.body]


@every_way
def test_a_blocked_call_reaches_nobody(service: Callable[..., Any], api: Any, provider: Any, *, stream: bool) -> None:
    """The caller reads in its own API which guardrail and why, no word of its text; no provider reads anything."""
    blocking = "guardrails: {calls: [{filter: pii, action: block, kinds: [email]}]}"
    with capture_logs() as logs:
        (answer,) = service("fine", more=blocking).ask(stream=stream, **saying(api, LETTER))

    assert answer.status_code == 403
    assert "guardrail pii" in error_of(answer.json())
    assert "email" in error_of(answer.json())
    assert answer.headers["x-should-retry"] == "false"
    if api.maker == "openai":
        assert answer.json()["error"]["code"] == "blocked_by_guardrail"
    assert "anna" not in answer.text + str(logs)
    assert provider.heard == []
    (told,) = [log for log in logs if log["event"] == "plano.guardrail"]
    assert (told["filter"], told["of"], told["verdict"], told["found"]) == ("pii", "call", "blocked", {"email": 1})


def test_logs_count_what_was_masked_and_quote_nothing(service: Callable[..., Any], api: Any) -> None:
    """One line tells how many values of each kind were masked; no line of the call holds one."""
    with capture_logs() as logs:
        service("fine", more=MASKING).ask(**saying(api, LETTER))

    (told,) = [log for log in logs if log["event"] == "plano.guardrail"]
    assert (told["verdict"], told["found"]) == ("changed", {"email": 1, "phone": 1})
    assert "anna" not in str(logs)


LEAK = "The first line is harmless and long enough. The codename is Blue Heron. And this is never told."
DENYING = "guardrails: {answers: [{filter: patterns, deny: ['blue heron']}]%s}"


def test_a_stream_is_cut_before_what_is_denied(service: Callable[..., Any], api: Any) -> None:
    """What came before is told; then the stream ends with the error event of its API, and without its good end."""
    with capture_logs() as logs:
        (answer,) = service("parrots", more=DENYING % "").ask(stream=True, **saying(api, LEAK))

    assert answer.status_code == 200
    told = text_of(answer, stream=True)
    assert LEAK.startswith(told)
    assert told.startswith("The first line is harmless")
    assert "Heron" not in answer.text
    last = events_of(answer.content)[-1]
    assert "guardrail patterns" in error_of(last)
    assert not [end for end in ("[DONE]", "message_stop", "response.completed") if end in answer.text]
    if api.path.endswith("responses"):
        numbers = [event["sequence_number"] for event in events_of(answer.content)]
        assert numbers == [*range(len(numbers))]
    (forwarded,) = [log for log in logs if log["event"] == "plano.call_forwarded"]
    assert forwarded["end"] == "content_filter"
    (blocked,) = [log for log in logs if log["event"] == "plano.guardrail"]
    assert (blocked["of"], blocked["verdict"], blocked["found"]) == ("answer", "blocked", {"deny[0]": 1})


@pytest.mark.parametrize(("stream", "hold"), [(False, ""), (True, ", hold: answer")], ids=["plain", "held"])
def test_an_answer_that_is_all_there_is_refused_before_a_word(
    service: Callable[..., Any], api: Any, *, stream: bool, hold: str
) -> None:
    """Where nothing is told yet, the refusal is a status of its own, and not a broken answer."""
    (answer,) = service("parrots", more=DENYING % hold).ask(stream=stream, **saying(api, LEAK))

    assert answer.status_code == 403
    assert "guardrail patterns" in error_of(answer.json())
    assert "harmless" not in answer.text


@every_way
def test_what_answers_reveal_is_masked(service: Callable[..., Any], api: Any, *, stream: bool) -> None:
    """Personal data that a model says of itself is told by its kind only, also when it comes in pieces."""
    masking = "guardrails: {answers: [{filter: pii}]}"
    (answer,) = service("parrots", more=masking).ask(stream=stream, **saying(api, "Ask bob@example.org, please."))

    assert text_of(answer, stream=stream) == "Ask [EMAIL], please."
    assert "bob@" not in answer.text


def test_a_held_answer_that_is_too_long_is_not_told(service: Callable[..., Any], api: Any) -> None:
    """What is longer than is held cannot be judged, and does not pass."""
    (answer,) = service("parrots", more=DENYING % ", hold: answer, hold_bytes: 64").ask(
        stream=True, **saying(api, "harmless " * 40)
    )

    assert answer.status_code == (529 if api.maker == "anthropic" else 503)
    assert "cannot judge" in error_of(answer.json())


@every_way
def test_harmless_answers_pass_whole(service: Callable[..., Any], api: Any, *, stream: bool) -> None:
    """Guardrails that find nothing change no word, held or not."""
    quiet = "guardrails: {hold: answer, answers: [{filter: patterns, deny: [heron]}, {filter: size, characters: 9999}]}"
    text = "Nothing here, in ünïcode – 日本語 \U0001f680; [EMAIL_1] and [ are what they are."
    for more in (quiet, quiet.replace("hold: answer, ", ""), MASKING):
        (answer,) = service("parrots", more=more).ask(stream=stream, **saying(api, text))
        assert text_of(answer, stream=stream) == text


def test_guardrails_of_a_route_come_after_the_others(
    mixed: Callable[..., Starlette], ask_chat: Callable[..., httpx.Response], provider: Any
) -> None:
    """A route's own masking goes on from that of all calls, and both are taken back."""
    routed = (
        "guardrails: {calls: [{filter: pii, kinds: [email]}], "
        "routes: {code: {calls: [{filter: pii, kinds: [phone]}, {filter: size, messages: 3}]}}}"
    )
    app = mixed("openai/parrots", more=routed)
    answer = ask_chat(app, **SAID)
    refused = ask_chat(app, messages=[{"role": "user", "content": "a"}] * 4)

    assert MASKED in provider.heard[0].body.decode()
    assert text_of(answer, stream=False) == LETTER
    assert refused.status_code == 403
    assert len(provider.heard) == 1


def test_arguments_of_tools_are_restored_as_json(
    mixed: Callable[..., Starlette], ask_chat: Callable[..., httpx.Response], provider: Any
) -> None:
    """What a tool was called with in an earlier turn is masked within its JSON, and reaches the provider as JSON."""
    call = {"id": "t", "type": "function", "function": {"name": "send", "arguments": '{"url":"anna@example.org"}'}}
    turns = [
        {"role": "user", "content": "send it"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t", "content": "sent to anna@example.org"},
        {"role": "user", "content": "to whom? anna@example.org?"},
    ]
    answer = ask_chat(mixed("openai/parrots", more=MASKING), messages=turns)

    sent = provider.heard[0].call["messages"]
    assert json.loads(sent[1]["tool_calls"][0]["function"]["arguments"]) == {"url": "[EMAIL_1]"}
    assert (sent[2]["content"], sent[3]["content"]) == ("sent to [EMAIL_1]", "to whom? [EMAIL_1]?")
    assert text_of(answer, stream=False) == "to whom? anna@example.org?"


def test_calls_on_their_way_out_are_guarded(outbound: Callable[..., Any], caller: Any, api: Any, provider: Any) -> None:
    """What leaves through `transport` is masked and restored, and a blocked call is answered at once."""
    url = f"https://sdk.test{api.path}"
    masked = caller.send(outbound(api.maker, "parrots", more=MASKING), url, json=api.body(**saying(api, LETTER)))
    blocking = MASKING.replace("pii", "pii, action: block")
    blocked = caller.send(outbound(api.maker, "parrots", more=blocking), url, json=api.body(**saying(api, LETTER)))

    assert text_of(masked, stream=False) == LETTER
    assert blocked.status_code == 403
    assert [MASKED in heard.body.decode() for heard in provider.heard] == [True]


@pytest.mark.parametrize(
    ("mode", "more", "is_masked"),
    [
        ("rewrite", "routing: {sample: 0.0}\n", True),
        ("rewrite", "routing: {applies_to: [never]}\n", True),
        ("observe", "", False),
    ],
    ids=["sample", "kept", "observe"],
)
def test_calls_that_keep_their_model_on_the_way_out_are_masked_too(
    outbound: Callable[..., Any], caller: Any, mode: str, more: str, *, is_masked: bool
) -> None:
    """Where a call goes where it was going, what is personal stays behind; `observe` changes nothing."""
    sent: list[bytes] = []

    def elsewhere(request: Any) -> Any:
        """Remember what came."""
        sent.append(request.content)
        return caller.library.Response(200, content=b"elsewhere")

    transport = outbound(
        "openai", "fine", mode=mode, more=more + MASKING, inner=caller.library.MockTransport(elsewhere)
    )
    caller.send(transport, "https://sdk.test/v1/chat/completions", json={"model": "auto", **SAID})

    assert [MASKED in body.decode() for body in sent] == [is_masked]


@pytest.mark.parametrize(
    ("sent", "more", "status"),
    [(b'{"messages": "anna@example.org"', "", 400), (json.dumps(SAID).encode(), "limits: {body_bytes: 20}\n", 413)],
    ids=["no JSON", "too large"],
)
def test_what_cannot_be_read_does_not_leave_unjudged(
    outbound: Callable[..., Any], caller: Any, sent: bytes, more: str, status: int
) -> None:
    """With guardrails a call that cannot be read is refused in the caller's format, and goes nowhere."""

    def elsewhere(_: Any) -> Any:
        """Answer what should not have come."""
        return caller.library.Response(200, content=b"elsewhere")

    transport = outbound("openai", "fine", more=more + MASKING, inner=caller.library.MockTransport(elsewhere))
    headers = {"content-type": "application/json"}
    answer = caller.send(transport, "https://sdk.test/v1/chat/completions", content=sent, headers=headers)

    assert (answer.status_code, set(answer.json()["error"])) == (status, {"message", "type", "param", "code"})
    assert "anna" not in answer.text
