"""The official SDKs at the decision endpoints: their own typed errors, raised once."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import anthropic
import openai
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from plano_asgi.testing import FixedClassifier

SETTINGS: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing functions}]
"""
TURNS: Final[list[Any]] = [{"role": "user", "content": "hi"}]
TEXT: Final = {"content-type": "text/plain"}
UNDECLARED: Final = {
    "routing_preferences": [{"name": "x", "description": "anything", "models": ["openai/gpt-9"]}],
}


@pytest.fixture(scope="module")
def url(app_of: Callable[..., Starlette], serve: Callable[[Starlette], str]) -> str:
    """Return where a service is served."""
    return serve(app_of(SETTINGS, FixedClassifier({"code": 0.9})))


@pytest.fixture(scope="module")
def failing_url(app_of: Callable[..., Starlette], serve: Callable[[Starlette], str]) -> str:
    """Return where a service is served that has no decisions and says so."""
    classifier = FixedClassifier({}, before=lambda: 1 / 0)
    return serve(app_of(SETTINGS + "routing: {on_error: reject}\nstartup: background\n", classifier))


@pytest.fixture(scope="module")
def openai_client(url: str) -> Iterator[openai.OpenAI]:
    """Return OpenAI's client; it would try again twice."""
    with openai.OpenAI(base_url=f"{url}/routing/v1", api_key="sk-test") as client:
        yield client


@pytest.fixture(scope="module")
def anthropic_client(url: str) -> Iterator[anthropic.Anthropic]:
    """Return Anthropic's client; it would try again twice."""
    with anthropic.Anthropic(base_url=f"{url}/routing", api_key="sk-test") as client:
        yield client


def chat(client: openai.OpenAI, **changes: Any) -> object:
    """Call Chat Completions with some arguments changed."""
    return client.chat.completions.create(**{"model": "auto", "messages": TURNS, **changes})


def responses(client: openai.OpenAI, **changes: Any) -> object:
    """Call Responses with some arguments changed."""
    return client.responses.create(**{"model": "auto", "input": "hi", **changes})


@pytest.mark.parametrize(
    ("call", "changes", "error", "fault"),
    [
        (chat, {"messages": []}, openai.BadRequestError, ("empty_array", "messages")),
        (chat, {"messages": [{"role": "x"}]}, openai.BadRequestError, ("invalid_value", "messages[0].role")),
        (chat, {"extra_body": UNDECLARED}, openai.PermissionDeniedError, ("model_not_allowed", "routing_policy")),
        (chat, {"extra_headers": TEXT}, openai.APIStatusError, ("unsupported_media_type", None)),
        (responses, {"input": 5}, openai.BadRequestError, ("invalid_type", "input")),
        (responses, {"extra_body": UNDECLARED}, openai.PermissionDeniedError, ("model_not_allowed", "routing_policy")),
    ],
    ids=["no turn", "role", "undeclared", "media type", "input", "undeclared in responses"],
)
def test_openai_client_raises_its_own_error_once(
    call: Callable[..., object],
    changes: dict[str, Any],
    error: type[openai.APIStatusError],
    fault: tuple[str, str | None],
    openai_client: openai.OpenAI,
) -> None:
    """OpenAI's client reads code, place and request id of a fault, and does not try again."""
    with capture_logs() as events, pytest.raises(error) as caught:
        call(openai_client, **changes)

    assert (caught.value.code, caught.value.param) == fault
    assert str(caught.value.request_id).startswith("req_")
    assert [event["event"] for event in events] == ["plano.call_refused"]


@pytest.mark.parametrize(
    ("changes", "error", "kind", "said"),
    [
        ({"messages": []}, anthropic.BadRequestError, "invalid_request_error", "messages is empty"),
        ({"system": 5}, anthropic.BadRequestError, "invalid_request_error", "system has the wrong type"),
        ({"messages": [{"role": "x"}]}, anthropic.BadRequestError, "invalid_request_error", "messages.0.role: "),
        ({"extra_body": UNDECLARED}, anthropic.PermissionDeniedError, "permission_error", "does not declare"),
    ],
    ids=["no turn", "system", "role", "undeclared"],
)
def test_anthropic_client_raises_its_own_error_once(
    changes: dict[str, Any],
    error: type[anthropic.APIStatusError],
    kind: str,
    said: str,
    anthropic_client: anthropic.Anthropic,
) -> None:
    """Anthropic's client reads type, message and request id of a fault, and does not try again."""
    with capture_logs() as events, pytest.raises(error, match=said) as caught:
        anthropic_client.messages.create(**{"model": "auto", "max_tokens": 1, "messages": TURNS, **changes})

    body: Any = caught.value.body
    assert body["error"]["type"] == kind
    assert caught.value.request_id == body["request_id"]
    assert [event["event"] for event in events] == ["plano.call_refused"]


def test_openai_client_reads_a_rejection_as_a_server_error(failing_url: str) -> None:
    """503 is OpenAI's `InternalServerError`, with the seconds to wait before trying again."""
    with (
        openai.OpenAI(base_url=f"{failing_url}/routing/v1", api_key="sk-test", max_retries=0) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        chat(client)

    assert (caught.value.status_code, caught.value.code) == (503, "router_unavailable")
    assert caught.value.response.headers["retry-after"] == "1"


def test_anthropic_client_reads_a_rejection_as_overload(failing_url: str) -> None:
    """529 is Anthropic's overload, with the seconds to wait before trying again."""
    with (
        anthropic.Anthropic(base_url=f"{failing_url}/routing", api_key="sk-test", max_retries=0) as client,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        client.messages.create(model="auto", max_tokens=1, messages=TURNS)

    assert caught.value.status_code == 529
    assert caught.value.response.headers["retry-after"] == "1"


def test_clients_get_the_decision(openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic) -> None:
    """The raw answer to either client's call is the decision."""
    answers: list[Any] = [
        openai_client.chat.completions.with_raw_response.create(model="auto", messages=TURNS).text,
        openai_client.responses.with_raw_response.create(model="auto", input="hi").text,
        anthropic_client.messages.with_raw_response.create(model="auto", max_tokens=1, messages=TURNS).text,
    ]

    assert all('"route":"code"' in (text() if callable(text) else text) for text in answers)
