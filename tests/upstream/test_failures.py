"""What providers' refusals mean, and for how long they ask to be left alone."""

import json

import pytest

from plano_asgi.upstream.failures import FailureKind, failure_in_stream, failure_of, retry_after


def openai_error(message: str, code: str | None = None, kind: str = "invalid_request_error") -> bytes:
    """Return an error as OpenAI writes it."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, openai_error("...", "context_length_exceeded"), FailureKind.TOO_LONG),
        (400, openai_error("This model's maximum prompt length is 131072"), FailureKind.TOO_LONG),
        (400, openai_error("input token count (9) exceeds the maximum number of tokens allowed"), FailureKind.TOO_LONG),
        (400, openai_error("prompt is too long: 9 tokens > 8 maximum"), FailureKind.TOO_LONG),
        (422, openai_error("Prompt exceeds the model's context window"), FailureKind.TOO_LONG),
        (400, openai_error("...", "content_filter"), FailureKind.FILTERED),
        (400, openai_error("... Azure OpenAI's content management policy"), FailureKind.FILTERED),
        (403, openai_error("flagged by moderation"), FailureKind.FILTERED),
        (400, openai_error("temperature is out of range"), FailureKind.REJECTED),
        (400, b"<html>context length</html>", FailureKind.REJECTED),
        (413, b"", FailureKind.REJECTED),
        (422, b"[]", FailureKind.REJECTED),
        (401, openai_error("Incorrect API key; see our usage policies"), FailureKind.KEY_REFUSED),
        (402, b"", FailureKind.KEY_REFUSED),
        (403, openai_error("no access to this model"), FailureKind.KEY_REFUSED),
        (404, b"", FailureKind.NOT_FOUND),
        (405, b"", FailureKind.NOT_FOUND),
        (408, b"", FailureKind.SERVER_ERROR),
        (409, b"", FailureKind.SERVER_ERROR),
        (429, b"", FailureKind.RATE_LIMITED),
        (500, b"", FailureKind.SERVER_ERROR),
        (529, b"", FailureKind.SERVER_ERROR),
        (302, b"", FailureKind.UNUSABLE),
    ],
)
def test_refusal_is_understood(status: int, body: bytes, kind: FailureKind) -> None:
    """The status tells most, codes and words the rest; words in what is no JSON tell nothing."""
    failure = failure_of(status, {}, body)

    assert (failure.kind, failure.status) == (kind, status)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_refusal_of_the_callers_own_key_is_the_callers(status: int) -> None:
    """A key that is passed through is not the service's; its refusal is given back."""
    assert failure_of(status, {}, b"{}", is_callers_key=True).is_of_the_call


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, FailureKind.SERVER_ERROR),
        ({"type": "rate_limit_error"}, FailureKind.RATE_LIMITED),
        ({"code": "rate_limit_exceeded", "message": "x"}, FailureKind.RATE_LIMITED),
        ({"code": "context_length_exceeded"}, FailureKind.TOO_LONG),
        ({"type": "invalid_request_error", "message": "prompt is too long"}, FailureKind.TOO_LONG),
        ({"type": "invalid_request_error", "message": "x"}, FailureKind.REJECTED),
        ({"code": 502, "message": "upstream"}, FailureKind.SERVER_ERROR),
        ({"code": 403, "message": "requires moderation"}, FailureKind.FILTERED),
        ({"code": 200}, FailureKind.SERVER_ERROR),
        ("words", FailureKind.SERVER_ERROR),
        (None, FailureKind.SERVER_ERROR),
    ],
)
def test_error_in_a_good_answer_is_understood_by_itself(error: object, kind: FailureKind) -> None:
    """Where the status has said 200 already, type and code say what was meant."""
    assert failure_in_stream(error).kind is kind


@pytest.mark.parametrize("said", ["Incorrect API key provided: k***y", "API key not valid. Pass a valid API key."])
def test_a_refused_key_is_known_by_what_is_said(said: str) -> None:
    """A provider that answers 400 to a key of ours refuses the key, not the call; a client's own key is its affair."""
    body = json.dumps({"error": {"message": said, "type": "invalid_request_error"}}).encode()

    assert failure_of(400, {}, body).kind is FailureKind.KEY_REFUSED
    assert failure_of(400, {}, body, is_callers_key=True).kind is FailureKind.REJECTED


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "999999"}, 3_600.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_within_bounds(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds or a date against the answer's own; an hour at the most, and nothing out of nonsense."""
    assert retry_after(headers) == seconds
