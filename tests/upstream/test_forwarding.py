"""Calls that are forwarded: bytes pass as they are, keys go where they belong and nowhere else, refusals are clear."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
import httpx
import pytest
from asgi_lifespan import LifespanManager
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from plano_asgi import PlanoMiddleware, PlanoState
from plano_asgi.errors import ConfigurationError
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

every_way = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
CANARIES: Final = ("sk-canary-of-openai", "sk-canary-of-anthropic")
PRIVATE: Final = {
    "authorization": "Bearer of-the-client",
    "x-api-key": "of-the-client",
    "api-key": "of-the-client",
    "proxy-authorization": "of-the-client",
    "cookie": "session=of-the-client",
    "x-auth-request-access-token": "of-the-client",
    "x-goog-api-key": "of-the-client",
    "openai-organization": "of-the-client",
    "x-forwarded-for": "of-the-client",
    "forwarded": "for=of-the-client",
    "cf-access-jwt-assertion": "of-the-client",
    "x-plano-model": "of-the-client",
    "x-hop": "of-the-client",
    "connection": "close, X-Hop",
    "te": "trailers",
    "referer": "https://of-the-client.test",
    "x-original-forwarded-for": "of-the-client",
    "x-user-email": "of-the-client",
    "baggage": "user=of-the-client",
}
HARMLESS: Final = {
    "anthropic-beta": "context-1m",
    "openai-beta": "assistants=v2",
    "idempotency-key": "once",
    "user-agent": "a client",
    "x-stainless-lang": "python",
    "traceparent": "00-c16d1096c1af4a17abb48fb182918a88-00f067aa0ba902b7-01",
}


def has_part(whole: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    """Return whether all of a part is in the whole."""
    return {**whole, **part} == whole


@every_way
def test_answer_passes_byte_for_byte(service: Callable[..., Any], api: Any, provider: Any, *, stream: bool) -> None:
    """The caller reads the provider's bytes; the provider reads the caller's, but for the model."""
    answer = service("fine").ask(stream=stream)[0]

    assert answer.status_code == 200, answer.text
    assert answer.content == api.good("fine", stream=stream)
    assert answer.headers["content-type"] == ("text/event-stream" if stream else "application/json")
    (heard,) = provider.heard
    sent = json.dumps(api.body(stream=stream), ensure_ascii=False).encode()
    assert heard.body == sent.replace(b'"auto"', b'"fine"')
    assert heard.target == api.path


def test_provider_gets_its_own_key_and_nothing_of_the_clients(
    service: Callable[..., Any], api: Any, provider: Any
) -> None:
    """The client's credentials, cookies, addresses and hop-by-hop headers stay here; what its SDK says goes on."""
    service("fine", provider_more=", headers: {x-team: blue}").ask(headers={**PRIVATE, **HARMLESS})

    heard = provider.heard[0].headers
    assert not [name for name, value in heard.items() if "of-the-client" in value]
    assert has_part(heard, HARMLESS | {"x-team": "blue", "accept-encoding": "identity"})
    if api.maker == "anthropic":
        assert has_part(heard, {"x-api-key": CANARIES[1], "anthropic-version": "2023-06-01"})
        assert "authorization" not in heard
    else:
        assert heard["authorization"] == f"Bearer {CANARIES[0]}"
        assert "x-api-key" not in heard


def test_anthropic_version_of_the_client_is_kept(service: Callable[..., Any], provider: Any) -> None:
    """A client that names a version of the API is answered in that version."""
    service("fine").ask(headers={"anthropic-version": "2026-10-21"})

    assert provider.heard[0].headers["anthropic-version"] == "2026-10-21"


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
def test_clients_own_key_is_passed_through_where_that_is_set(
    header: str, service: Callable[..., Any], api: Any, provider: Any
) -> None:
    """Under `passthrough_auth` the client's key is sent as this provider takes keys, with its organisation."""
    passing = service("fine", provider_more=", passthrough_auth: true")
    value = "Bearer sk-mine" if header == "authorization" else "sk-mine"

    (answer,) = passing.ask(headers={header: value, "openai-organization": "org-mine"})
    (refusal,) = passing.ask()

    assert answer.status_code == 200
    heard = provider.heard[0].headers
    sent = heard["x-api-key"] if api.maker == "anthropic" else heard["authorization"]
    assert sent.removeprefix("Bearer ") == "sk-mine"
    assert heard["openai-organization"] == "org-mine"
    assert (refusal.status_code, refusal.json()["error"]["type"]) == (401, "authentication_error")
    assert len(provider.heard) == 1


def test_limit_of_one_callers_key_rests_nobody_else(service: Callable[..., Any], provider: Any) -> None:
    """With keys of callers, one caller's rate limit does not keep the others from the model."""
    passing = service("limited", provider_more=", passthrough_auth: true", more="failover: {attempts: 1}")

    answers = passing.ask(2, headers={"authorization": "Bearer sk-mine"})

    assert [answer.status_code for answer in answers] == [429, 429]
    assert len(provider.heard) == 2


@every_way
@pytest.mark.parametrize("model", ["refuses_key", "down", "html", "silent", "cut"])
def test_key_is_in_no_answer_and_no_log(model: str, service: Callable[..., Any], *, stream: bool) -> None:
    """F16: where every model fails, what the caller and the log are told holds no key, though a provider repeats it."""
    with capture_logs() as logs:
        (answer,) = service(model, more="failover: {attempts: 1}").ask(stream=stream)

    told = answer.text + str(answer.headers) + repr(logs)
    assert not [key for key in CANARIES if key in told]
    assert [entry["event"] for entry in logs][-1] == "plano.call_forwarded"


@pytest.mark.parametrize(
    ("model", "told", "retry_after"),
    [
        ("refuses_key", (502, "upstream_failed"), None),
        ("down", (502, "upstream_failed"), "1"),
        ("silent", (504, "upstream_timeout"), "1"),
        ("limited", (429, "rate_limited"), "1"),
    ],
)
def test_error_says_what_was_tried_and_whether_to_try_again(
    model: str, told: tuple[int, str], retry_after: str | None, *, service: Callable[..., Any], api: Any
) -> None:
    """Where nobody answers, the caller is told so in its API's shape, with every attempt and what SDKs need."""
    (answer,) = service(model, more="failover: {attempts: 1}").ask()

    error = answer.json()["error"]
    assert (answer.status_code, answer.headers.get("retry-after")) == (told[0], retry_after)
    assert ("x-should-retry" in answer.headers) == (retry_after is None)
    assert api.maker == "anthropic" or error["code"] == told[1]
    assert model == "limited" or f"{api.maker}/{model}" in error["message"]


def test_models_are_hidden_where_they_are_to_be(service: Callable[..., Any], api: Any) -> None:
    """`response_headers: false` names no model, neither in headers nor in an error."""
    (answer,) = service("down", "silent", more="response_headers: false\nfailover: {attempts: 2}").ask()

    assert "attempts: server_error (503), timeout;" in answer.json()["error"]["message"]
    assert f"{api.maker}/" not in answer.text
    assert not [name for name in answer.headers if name.startswith("x-plano-")]


def test_decision_and_log_tell_who_answered(service: Callable[..., Any], api: Any) -> None:
    """One line names the model that answered, each attempt, how it ended and what it used."""
    with capture_logs() as logs:
        service("down", "fine").ask(stream=True)

    (line,) = [entry for entry in logs if entry["event"] == "plano.call_forwarded"]
    assert line["model"] == f"{api.maker}/fine"
    assert [part.split(";")[1] for part in line["attempts"].split(", ")] == ["outcome=server_error", "outcome=answered"]
    told = {"status": 200, "end": "complete", "input_tokens": 7, "output_tokens": 4, "route": "code"}
    assert has_part(line, told)


def test_response_tells_limits_and_request_ids_but_no_account(service: Callable[..., Any]) -> None:
    """`retry-after` and content type are the provider's; what it sets as cookies or says of itself stays here."""
    (answer,) = service("filtered").ask()

    assert answer.headers["content-type"] == "application/json"
    assert "connection" not in answer.headers


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"headers": {"content-type": "text/plain"}}, (415, "unsupported_media_type")),
        ({"model": 5}, (400, "invalid_type")),
        ({"pad": "x" * 3_000}, (413, "request_too_large")),
        ({"headers": {"x-plano-routing": "off"}}, (404, "model_not_found")),
        ({"headers": {"x-plano-routing": "off"}, "model": "nobody/knows"}, (404, "model_not_found")),
    ],
    ids=["no JSON", "odd model", "too large", "unknown bare model", "unknown model"],
)
def test_what_cannot_be_served_is_refused_in_the_apis_own_shape(
    more: dict[str, Any], told: tuple[int, str], *, service: Callable[..., Any], api: Any, provider: Any
) -> None:
    """Forward mode answers every fault itself, and asks nobody."""
    (answer,) = service("fine", more="limits: {body_bytes: 2000}").ask(**more)

    assert answer.status_code == told[0], answer.text
    assert api.maker == "anthropic" or answer.json()["error"]["code"] == told[1]
    assert provider.heard == []


def test_client_may_name_its_model(service: Callable[..., Any], api: Any, provider: Any) -> None:
    """With routing off for a call, the model that it names serves it, by either name."""
    running = service("fine")
    off = {"x-plano-routing": "off"}

    for name in ("default", f"{api.maker}/default"):
        (answer,) = running.ask(model=name, headers=off)
        assert answer.headers["x-plano-model"] == f"{api.maker}/default"

    assert [heard.call["model"] for heard in provider.heard] == ["default", "default"]


def test_decision_endpoints_are_served_beside(service: Callable[..., Any], api: Any) -> None:
    """Forward mode takes nothing from the decision endpoints."""
    running = service("fine")
    running.api = type(api)(f"/routing{api.path}", api.maker)
    object.__setattr__(running.api, "body", lambda **_: api.body())

    (answer,) = running.ask()

    assert answer.json()["would_use"] == f"{api.maker}/fine"


def in_front_of(app: Any, seen: list[Any]) -> Any:
    """Return an app that notes what the apps behind it leave in a request's state."""

    async def note(scope: Any, receive: Any, send: Any) -> None:
        """Serve one scope."""
        await app(scope, receive, send)
        if scope["type"] == "http":
            seen.append(PlanoState.in_scope(scope))

    return note


def test_middleware_serves_calls_and_leaves_the_rest_to_the_app(
    configured: Callable[..., str], behind: Callable[..., PlanoMiddleware], api: Any
) -> None:
    """In an app, calls are served by the provider and everything else by the app; apps in front see who answered."""

    async def page(_: Request) -> Response:
        """Be the app."""
        return Response("the app's own")

    seen: list[Any] = []
    app = Starlette(routes=[Route("/{path:path}", page, methods=["GET", "POST"])])
    middleware = behind(app, configured(api.maker, "down", "fine"), FixedClassifier({"code": 0.9}))
    served: Any = in_front_of(middleware, seen)

    async def both() -> tuple[Any, Any]:
        """Make a call and another request, and close the connections."""
        async with LifespanManager(middleware):
            return await send(served, api.path, api.body()), await send(served, "/v1/files", {})

    call, other = anyio.run(both)

    assert call.content == api.good("fine", stream=False)
    assert other.text == "the app's own"
    decision = seen[0].decision
    assert decision.served_by == f"{api.maker}/fine"
    assert [attempt.outcome for attempt in decision.attempts] == ["server_error", "answered"]
    assert seen[0].provider.model == decision.served_by


async def send(app: Any, path: str, body: Any) -> Any:
    """Send one request within an event loop."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://plano.test") as client:
        return await client.post(path, json=body)


@pytest.mark.parametrize(
    ("provider_line", "fault"),
    [
        (
            "{model: openai/gpt-4o, default: true}",
            "model_providers[0].access_key: is required where mode is forward; set OPENAI_API_KEY",
        ),
        ("{model: own/llama, default: true}", "model_providers[0].base_url: is required where mode is forward"),
        ("{model: azure_openai/x, default: true, base_url: 'https://x.test'}", "set AZURE_OPENAI_API_KEY"),
        ("{model: openai/gpt-4o, default: true, access_key: $NO_SUCH_KEY}", "1 fault in the configuration"),
    ],
)
def test_missing_key_or_url_is_a_fault_at_start(
    provider_line: str, fault: str, settings_of: Callable[[str], Settings]
) -> None:
    """What we call ourselves needs a URL and, where the provider is well known, a key; said before the first call."""
    with pytest.raises(ConfigurationError) as caught:
        settings_of(f"mode: forward\nmodel_providers: [{provider_line}]\n")

    assert fault in str(caught.value)


@pytest.mark.parametrize(
    "provider_line",
    [
        "{model: openai/gpt-4o, default: true, access_key: sk-x}",
        "{model: openai/gpt-4o, default: true, passthrough_auth: true}",
        "{model: openai/llama, default: true, base_url: 'http://localhost:8000/v1'}",
        "{model: own/llama, default: true, base_url: 'http://localhost:8000/v1'}",
    ],
    ids=["key", "passed through", "own server", "own name"],
)
def test_what_can_be_called_is_no_fault(provider_line: str, settings_of: Callable[[str], Settings]) -> None:
    """A server of one's own may need no key."""
    assert settings_of(f"mode: forward\nmodel_providers: [{provider_line}]\n").mode == "forward"
