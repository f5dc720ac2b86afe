"""What an answer is taken for: no failure passes as a success, no refusal is shopped around, no error is half told."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

every_way = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
Mixed = Callable[..., Starlette]
Ask = Callable[..., httpx.Response]


def models_asked(provider: Any) -> list[str]:
    """Return the models that the provider has heard of, in order."""
    return [heard.call["model"] for heard in provider.heard]


@pytest.mark.parametrize(
    ("api", "first", "stream"),
    [
        ("chat.completions", "anthropic/untranslatable", False),
        ("chat.completions", "anthropic/untranslatable", True),
        ("responses", "anthropic/untranslatable", False),
        ("responses", "anthropic/untranslatable", True),
        ("messages", "mistral/untranslatable", False),
        ("messages", "mistral/untranslatable", True),
        ("responses", "mistral/untranslatable", True),
        ("messages", "mistral/aborts", False),
        ("responses", "mistral/aborts", False),
    ],
    indirect=["api"],
)
def test_what_cannot_be_translated_fails_over(first: str, mixed: Mixed, ask_in: Ask, *, stream: bool) -> None:
    """An answer that is no good in the caller's API is another model's to give, where nothing has been sent yet."""
    answer = ask_in(mixed(first, "openai/fine"), stream=stream)

    assert answer.headers["x-plano-attempts"].startswith(f"{first};outcome=unusable_answer;status=200;")
    assert answer.headers["x-plano-model"] == "openai/fine"
    assert "\U0001f680" in answer.text or "\\ud83d" in answer.text


def test_what_cannot_be_translated_counts_against_the_model(mixed: Mixed, ask_chat: Ask, provider: Any) -> None:
    """After two such streams the model's breaker is open, and a later call asks the other at once."""
    app = mixed("anthropic/untranslatable", "openai/fine", more="failover: {breaker_failures: 2}")

    ask_chat(app, stream=True, times=3)

    assert models_asked(provider) == ["untranslatable", "fine", "untranslatable", "fine", "fine"]


@pytest.mark.parametrize("api", ["messages", "responses"], indirect=True)
def test_a_stream_that_is_given_up_has_no_good_end(mixed: Mixed, ask_in: Ask) -> None:
    """`finish_reason: abort` after some words is the caller's API's own error event, in a translated stream."""
    answer = ask_in(mixed("mistral/aborts"), stream=True)

    assert "Guten" in answer.text
    assert "event: error" in answer.text
    assert not any(end in answer.text for end in ("message_stop", "response.completed"))


@every_way
def test_a_filter_told_as_success_is_the_callers_to_read(
    service: Callable[..., Any], provider: Any, *, stream: bool
) -> None:
    """200 with a content filter's error is given to the caller, and no other model is offered the call."""
    (answer,) = service("filtered_in_200", "fine").ask(stream=stream)

    assert models_asked(provider) == ["filtered_in_200"]
    assert answer.status_code == (200 if stream else 400)
    assert "Stopped by our content filter" in answer.text
    assert "outcome=content_filter" in answer.headers["x-plano-attempts"]


@every_way
def test_a_filter_told_as_success_is_translated(mixed: Mixed, ask_chat: Ask, provider: Any, *, stream: bool) -> None:
    """It is an error of the caller's API, with the provider's words."""
    answer = ask_chat(mixed("anthropic/filtered_in_200", "openai/fine"), stream=stream)

    error = json.loads(answer.text.partition("data: ")[2] or answer.text)["error"]
    assert models_asked(provider) == ["filtered_in_200"]
    assert (error["message"], set(error)) == ("Stopped by our content filter", {"message", "type", "param", "code"})


def test_a_rejection_after_a_failure_is_told_with_every_attempt(service: Callable[..., Any], api: Any) -> None:
    """The first model may be well again later, so the call may be tried again; the words of the second are told."""
    settings = "failover: {attempts: 2, backoff_s: 0.01}"
    (answer,) = service("down", "rejects", more=settings).ask()

    message = answer.json()["error"]["message"]
    assert answer.status_code == 502
    assert f"{api.maker}/down server_error (503), {api.maker}/rejects rejected (400)" in message
    assert "does not support assistant message prefill" in message
    assert "retry-after" in answer.headers


def test_a_rejection_that_time_does_not_heal_is_the_callers_error(service: Callable[..., Any], api: Any) -> None:
    """Where the others refuse the key, trying again is of no use: 400, with each attempt and the words."""
    (answer,) = service("refuses_key", "rejects").ask()

    message = answer.json()["error"]["message"]
    assert (answer.status_code, answer.headers["x-should-retry"]) == (400, "false")
    assert f"{api.maker}/refuses_key key_refused (401), {api.maker}/rejects rejected (400)" in message
    assert "prefill" in message
    assert "canary" not in message


def test_a_model_that_cannot_be_told_the_call_is_no_attempt(mixed: Mixed, ask_chat: Ask, provider: Any) -> None:
    """Where its API has no place for the call it is passed over, and the next has all the attempts there are."""
    audio = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    app = mixed("anthropic/fine", "openai/fine", more="failover: {attempts: 1}")

    answer = ask_chat(app, messages=[{"role": "user", "content": [audio, {"type": "text", "text": "what is it?"}]}])

    assert (answer.status_code, answer.headers["x-plano-model"]) == (200, "openai/fine")
    assert answer.headers["x-plano-attempts"].startswith("anthropic/fine;outcome=not_translatable;")
    assert [heard.path for heard in provider.heard] == ["/v1/chat/completions"]


def test_the_first_that_is_asked_has_the_say_on_the_call(mixed: Mixed, ask_chat: Ask, provider: Any) -> None:
    """A model that was passed over does not make the next one's rejection that of a stand-in."""
    audio = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    app = mixed("anthropic/fine", "openai/rejects", "mistral/fine")

    answer = ask_chat(app, messages=[{"role": "user", "content": [audio, {"type": "text", "text": "what?"}]}])

    assert (answer.status_code, models_asked(provider)) == (400, ["rejects"])
    assert answer.json()["error"]["message"] == "This model does not support assistant message prefill."


@pytest.mark.parametrize("api", ["messages", "responses"], indirect=True)
def test_losses_within_a_stream_are_logged(mixed: Mixed, ask_in: Ask) -> None:
    """What a provider says and the caller's API cannot is in the log, found out after the headers had gone."""
    with capture_logs() as logs:
        answer = ask_in(mixed("mistral/chatty"), stream=True)

    (line,) = [entry for entry in logs if entry["event"] == "plano.call_forwarded"]
    assert "x-plano-losses" not in answer.headers
    assert [loss for loss in line["losses"] if loss.startswith("citations: ")]


def test_an_error_that_is_too_long_is_told_without_its_words(service: Callable[..., Any]) -> None:
    """Half of its JSON is no error of any API: the caller gets a whole one of its own, with the provider's status."""
    (answer,) = service("large_error").ask()

    error = answer.json()["error"]
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert error["message"] == "the provider answered with status 400 and no error of its API"
    assert "type" in error
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize("model", ["html_error", "large_error"])
def test_a_translated_error_is_json(model: str, mixed: Mixed, ask_chat: Ask) -> None:
    """Its content type is that of what the caller gets, not of what the provider sent."""
    answer = ask_chat(mixed(f"anthropic/{model}"))

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("first", ["openai/endless", "anthropic/endless"])
def test_time_that_is_up_is_not_held_against_the_model(first: str, mixed: Mixed, ask_chat: Ask, provider: Any) -> None:
    """A stream that takes all the time of a call ends with an error that says so, and no breaker opens for it."""
    app = mixed(first, "mistral/fine", more="failover: {breaker_failures: 1}", forward="{total_s: 0.3}")

    answer = ask_chat(app, stream=True)
    ask_chat(app, stream=True)

    assert "has taken all the time that a call may take" in answer.text
    assert "[DONE]" not in answer.text
    assert models_asked(provider) == ["endless", "endless"]


@pytest.mark.parametrize("first", ["openai/stalls", "anthropic/stalls"])
def test_a_stall_is_told_as_one_and_held_against_the_model(
    first: str, mixed: Mixed, ask_chat: Ask, provider: Any
) -> None:
    """The caller reads that the stream has stalled; the next call asks another model."""
    app = mixed(first, "mistral/fine", more="failover: {breaker_failures: 1}", forward="{stall_s: 0.3}")

    answer = ask_chat(app, stream=True)
    ask_chat(app, stream=True)

    assert "has stalled" in answer.text
    assert models_asked(provider) == ["stalls", "fine"]
