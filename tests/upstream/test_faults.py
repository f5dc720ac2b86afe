"""What a caller sees when the first model misbehaves and a healthy one follows: F01 to F18, in every API and way."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

every_way = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
FALLBACK, REFUSAL, ERROR_EVENT, ANSWER = "fallback", "refusal", "error event", "answer"


@dataclass(frozen=True)
class Fault:
    """What the first model does, and what becomes of it."""

    name: str
    model: str
    outcome: str
    plain: str = FALLBACK
    streamed: str = FALLBACK

    def __str__(self) -> str:
        """Return its name, as the id of its tests."""
        return f"{self.name} {self.model}"


TABLE: Final = (
    Fault("F01", "limited", "rate_limited;status=429"),
    Fault("F02", "limited_bare", "rate_limited;status=429"),
    Fault("F03", "fails_once", "server_error;status=503"),
    Fault("F04", "down", "server_error;status=503"),
    Fault("F05", "resets", "broken_off"),
    Fault("F05", "resets_in_head", "broken_off"),
    Fault("F06", "silent", "timeout"),
    Fault("F07", "late", "timeout"),
    Fault("F08", "cut", "broken_off", streamed=ERROR_EVENT),
    Fault("F09", "stalls", "timeout", streamed=ERROR_EVENT),
    Fault("F10", "malformed", "unusable_answer;status=200", streamed=ERROR_EVENT),
    Fault("F11", "unterminated", "unusable_answer;status=200", streamed=ERROR_EVENT),
    Fault("F12", "too_long", "too_long;status=400", plain=REFUSAL, streamed=REFUSAL),
    Fault("F13", "filtered", "content_filter;status=400", plain=REFUSAL, streamed=REFUSAL),
    Fault("F13", "filtered_403", "content_filter;status=403", plain=REFUSAL, streamed=REFUSAL),
    Fault("F15", "flaps", "server_error;status=503"),
    Fault("F16", "refuses_key", "key_refused;status=401"),
    Fault("F17", "html", "unusable_answer;status=200"),
    Fault("F17", "empty", "unusable_answer;status=200"),
    Fault("F17", "wrong_type", "unusable_answer;status=200"),
    Fault("F17", "error_in_200", "server_error;status=200"),
    Fault("F17", "redirects", "unusable_answer;status=302"),
    Fault("F18", "gzip", "", plain=ANSWER, streamed=ANSWER),
    Fault("F18", "deflate", "", plain=ANSWER, streamed=ANSWER),
    Fault("F18", "br", "", plain=ANSWER, streamed=ANSWER),
    Fault("F18", "zstd", "", plain=ANSWER, streamed=ANSWER),
    Fault("F18", "byte_by_byte", "", plain=ANSWER, streamed=ANSWER),
)


def events_of(body: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream."""
    blocks = body.decode().split("\n\n")
    data = [line[6:] for block in blocks for line in block.splitlines() if line.startswith("data: ")]
    return [json.loads(text) for text in data if text != "[DONE]"]


def assert_ends_with_an_error(api: Any, model: str, body: bytes) -> None:
    """Check that a stream has the words that came, then its API's own error event, and no good end or other model."""
    last = events_of(body)[-1]
    assert body.startswith(b"".join(api_stream_start(api, model)))
    assert "Guten " in body.decode()
    assert not any(end in body for end in (b"[DONE]", b"message_stop", b"response.completed", b'"fine"'))
    if str(api) == "messages":
        assert (last["type"], last["error"]["type"]) in {("error", "api_error"), ("error", "timeout_error")}
    elif str(api) == "responses":
        assert (last["type"], last["param"], last["sequence_number"] > 3) == ("error", None, True)
    else:
        assert last.keys() == {"error"}
        assert last["error"].keys() == {"message", "type", "param", "code"}


def api_stream_start(api: Any, model: str) -> list[bytes]:
    """Return the first events of a good stream of a model, of which the first two words are a part."""
    return [block + b"\n\n" for block in api.good(model, stream=True).split(b"\n\n")[:4]]


@every_way
@pytest.mark.parametrize("fault", TABLE, ids=str)
def test_fault(fault: Fault, service: Callable[..., Any], api: Any, provider: Any, *, stream: bool) -> None:
    """A fallback answers in the first model's stead before anything was sent, and never after."""
    (answer,) = service(fault.model, "fine").ask(stream=stream)

    expected = fault.streamed if stream else fault.plain
    asked = [heard.call["model"] for heard in provider.heard]
    attempts = answer.headers["x-plano-attempts"].split(", ")
    if expected == FALLBACK:
        assert (answer.status_code, answer.content) == (200, api.good("fine", stream=stream)), answer.text
        assert attempts[0].startswith(f"{api.maker}/{fault.model};outcome={fault.outcome};")
        assert attempts[1].startswith(f"{api.maker}/fine;outcome=answered;status=200;")
        assert answer.headers["x-plano-model"] == f"{api.maker}/fine"
        assert asked == [fault.model, "fine"]
        return
    assert (asked, len(attempts)) == ([fault.model], 1)
    assert answer.headers["x-plano-model"] == f"{api.maker}/{fault.model}"
    if expected == REFUSAL:
        assert (answer.status_code, attempts[0].split(";")[1]) == (
            int(fault.outcome[-3:]),
            f"outcome={fault.outcome.split(';')[0]}",
        )
        assert "error" in answer.json()
    elif expected == ERROR_EVENT:
        assert_ends_with_an_error(api, fault.model, answer.content)
    else:
        assert (answer.status_code, answer.content) == (200, api.good(fault.model, stream=stream))
    assert "content-encoding" not in answer.headers


def test_stream_with_divided_line_ends_passes_as_it_is(service: Callable[..., Any], api: Any) -> None:
    """F18: CRLF divided between chunks is passed on, and understood: the stream has a good end."""
    (answer,) = service("crlf").ask(stream=True)

    assert answer.content == api.good("crlf", stream=True).replace(b"\n", b"\r\n") + b"\r\n"


@every_way
def test_fallback_that_rejects_what_the_first_accepted_is_passed_over(
    service: Callable[..., Any], api: Any, *, stream: bool
) -> None:
    """F14: what a fallback rejects goes to the next; where there is none, the error names every attempt."""
    (answer,) = service("down", "rejects", "fine").ask(stream=stream)
    (error,) = service("down", "rejects", more="failover: {attempts: 2}").ask(stream=stream)

    assert answer.content == api.good("fine", stream=stream)
    assert error.status_code == 502
    message = error.json()["error"]["message"]
    assert f"{api.maker}/down server_error (503), {api.maker}/rejects rejected (400)" in message


@every_way
def test_refusal_of_a_filter_is_final_wherever_it_comes_from(
    service: Callable[..., Any], provider: Any, *, stream: bool
) -> None:
    """F13: what a fallback's filter stops is given back as it is, too; the next model is not asked."""
    (answer,) = service("down", "filtered", "fine").ask(stream=stream)

    assert (answer.status_code, [heard.call["model"] for heard in provider.heard]) == (400, ["down", "filtered"])
    assert "content filtering policy" in answer.json()["error"]["message"]


@every_way
def test_what_the_first_model_rejects_is_the_callers_to_mend(
    service: Callable[..., Any], provider: Any, *, stream: bool
) -> None:
    """A 400 of the first model is given back as it is, and nobody else is asked."""
    (answer,) = service("rejects", "fine").ask(stream=stream)

    assert (answer.status_code, len(provider.heard)) == (400, 1)
    assert "prefill" in answer.json()["error"]["message"]


@every_way
def test_call_that_is_too_long_goes_to_a_larger_window(
    service: Callable[..., Any], api: Any, provider: Any, *, stream: bool
) -> None:
    """F12: of the models that are left, only one that is known to read more is asked."""
    windows = {"too_long": 100, "fine": 100, "large": 200}

    (answer,) = service("too_long", "fine", "large", windows=windows).ask(stream=stream)

    assert answer.content == api.good("large", stream=stream)
    assert [heard.call["model"] for heard in provider.heard] == ["too_long", "large"]


@every_way
def test_single_model_is_tried_again_after_a_pause(service: Callable[..., Any], api: Any, *, stream: bool) -> None:
    """F03: one that fails once answers the second attempt; the caller sees one answer and both attempts."""
    (answer,) = service("fails_once", more="failover: {backoff_s: 0.01}").ask(stream=stream)

    assert answer.content == api.good("fails_once", stream=stream)
    assert answer.headers["x-plano-attempts"].count("outcome=") == 2
