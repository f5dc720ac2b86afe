"""Errors as each API's clients expect them."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, ClassVar

import anthropic
import openai
import pytest

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError, PolicyRefusedError, RoutingUnavailableError, WireFormatError
from plano_asgi.wire import error_body, error_status, read_call, read_document, recognise

OPENAI_FORMATS = [ApiFormat.CHAT_COMPLETIONS, ApiFormat.RESPONSES]
UNAVAILABLE = RoutingUnavailableError("no decision could be had; try again")


def body_of(error: CallError, api_format: ApiFormat) -> Any:
    """Return the body of an error, parsed."""
    return json.loads(error_body(error, api_format, request_id="req_1"))


def refusal_of(body: object, api_format: ApiFormat) -> CallError:
    """Return the error with which a body is refused."""
    with pytest.raises(CallError) as caught:
        read_call(read_document(json.dumps(body).encode()), api_format)
    return caught.value


@pytest.mark.parametrize("api_format", OPENAI_FORMATS, ids=str)
def test_openai_body_has_all_four_keys(api_format: ApiFormat) -> None:
    """The keys of OpenAI's `Error` schema are all there, null where there is nothing to say."""
    full = body_of(WireFormatError("a[0].b: no", code="invalid_value", param="a[0].b"), api_format)
    bare = body_of(WireFormatError("no", code="invalid_json"), api_format)

    assert full == {
        "error": {"message": "a[0].b: no", "type": "invalid_request_error", "param": "a[0].b", "code": "invalid_value"}
    }
    assert bare == {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": "invalid_json"}}


def test_anthropic_body_has_type_error_and_request_id() -> None:
    """Anthropic's schema asks for the request id too, and knows no param or code."""
    body = body_of(WireFormatError("no", code="invalid_json"), ApiFormat.MESSAGES)

    assert body == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "no"},
        "request_id": "req_1",
    }


@pytest.mark.parametrize(
    ("status", "openai_type", "anthropic_type"),
    [
        (400, "invalid_request_error", "invalid_request_error"),
        (401, "authentication_error", "authentication_error"),
        (402, "insufficient_quota", "billing_error"),
        (403, "permission_error", "permission_error"),
        (404, "invalid_request_error", "not_found_error"),
        (405, "invalid_request_error", "invalid_request_error"),
        (408, "invalid_request_error", "invalid_request_error"),
        (409, "invalid_request_error", "conflict_error"),
        (413, "invalid_request_error", "request_too_large"),
        (415, "invalid_request_error", "invalid_request_error"),
        (429, "rate_limit_error", "rate_limit_error"),
        (500, "server_error", "api_error"),
        (502, "server_error", "api_error"),
        (503, "server_error", "overloaded_error"),
        (504, "server_error", "timeout_error"),
    ],
    ids=str,
)
def test_status_has_the_type_that_each_api_gives_it(status: int, openai_type: str, anthropic_type: str) -> None:
    """Each API names the same fault in its own words, and a 503 is a 529 to Anthropic's clients alone."""
    error = CallError("no", status=status, code="x")

    assert [body_of(error, f)["error"]["type"] for f in OPENAI_FORMATS] == [openai_type] * 2
    assert body_of(error, ApiFormat.MESSAGES)["error"]["type"] == anthropic_type
    assert [error_status(error, f) for f in OPENAI_FORMATS] == [status] * 2
    assert error_status(error, ApiFormat.MESSAGES) == (529 if status == 503 else status)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"max_tokens": 1}, "messages: Field required"),
        ({"messages": [{"role": "user", "content": ""}]}, "max_tokens: Field required"),
        ({"max_tokens": 1, "messages": [{"content": ""}]}, "messages.0.role: Field required"),
        ({"max_tokens": 1, "messages": [{"role": "x"}]}, "messages.0.role: expected one of"),
        (
            {"max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages.0.content.0.text: Field required",
        ),
        (
            {
                "max_tokens": 1,
                "messages": [{"role": "user", "content": ""}],
                "routing_policy": [{"model": "a/b", "base_url": "x"}],
            },
            "routing_policy.0.base_url: unknown key",
        ),
    ],
    ids=["messages", "max_tokens", "role missing", "role", "part", "policy"],
)
def test_anthropic_message_leads_with_the_field_in_dots(body: object, message: str) -> None:
    """An Anthropic client reads the place of a fault as Anthropic writes it."""
    error = refusal_of(body, ApiFormat.MESSAGES)

    assert body_of(error, ApiFormat.MESSAGES)["error"]["message"].startswith(message)


def test_openai_message_keeps_brackets() -> None:
    """An OpenAI client reads the place of a fault as OpenAI writes it, in `param` and message alike."""
    error = refusal_of({"messages": [{"role": "x"}]}, ApiFormat.CHAT_COMPLETIONS)

    body = body_of(error, ApiFormat.CHAT_COMPLETIONS)["error"]

    assert body["param"] == "messages[0].role"
    assert body["message"].startswith("messages[0].role: ")


def test_only_unavailability_is_worth_a_retry() -> None:
    """The same faulty call is refused again; one that could not be decided may be decided later."""
    assert UNAVAILABLE.is_retryable
    assert UNAVAILABLE.status == 503
    assert not WireFormatError("no", code="x").is_retryable
    refused = PolicyRefusedError("no", code="x", param="y")
    assert not refused.is_retryable
    assert refused.status == 403


class Refusing(BaseHTTPRequestHandler):
    """Answers every POST with the error that its path stands for."""

    errors: ClassVar[dict[str, CallError]] = {
        "/invalid": WireFormatError("messages[0].role: no", code="invalid_value", param="messages[0].role"),
        "/refused": PolicyRefusedError("no", code="model_not_allowed", param="routing_policy"),
        "/unavailable": UNAVAILABLE,
    }

    def do_POST(self) -> None:
        """Read the request and send the error's body and status."""
        self.rfile.read(int(self.headers["content-length"]))
        api_format = recognise(self.path)
        assert api_format is not None
        error = next(error for path, error in self.errors.items() if self.path.startswith(path))
        body = error_body(error, api_format, request_id="req_1")
        self.send_response(error_status(error, api_format))
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """Yield the URL of a server that refuses every call."""
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/invalid", openai.BadRequestError),
        ("/refused", openai.PermissionDeniedError),
        ("/unavailable", openai.InternalServerError),
    ],
)
def test_openai_sdk_raises_its_own_error_with_all_fields(
    base_url: str, path: str, kind: type[openai.APIStatusError]
) -> None:
    """The official client turns the body into its own exception and finds message, type, param and code in it."""
    error = Refusing.errors[path]
    with (
        openai.OpenAI(api_key="k", base_url=f"{base_url}{path}/v1", max_retries=0) as client,
        pytest.raises(kind) as caught,
    ):
        client.chat.completions.create(model="m", messages=[])

    assert (caught.value.code, caught.value.param) == (error.code, error.param)
    assert caught.value.body == body_of(error, ApiFormat.CHAT_COMPLETIONS)["error"]
    assert error.message in caught.value.message


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/invalid", anthropic.BadRequestError, 400),
        ("/refused", anthropic.PermissionDeniedError, 403),
        ("/unavailable", anthropic.InternalServerError, 529),
    ],
)
def test_anthropic_sdk_raises_its_own_error_with_its_body(
    base_url: str, path: str, kind: type[anthropic.APIStatusError], status: int
) -> None:
    """The official client turns the body into its own exception and finds type, message and request id in it."""
    with (
        anthropic.Anthropic(api_key="k", base_url=base_url + path, max_retries=0) as client,
        pytest.raises(kind) as caught,
    ):
        client.messages.create(model="m", max_tokens=1, messages=[])

    assert caught.value.body == body_of(Refusing.errors[path], ApiFormat.MESSAGES)
    assert caught.value.status_code == status
