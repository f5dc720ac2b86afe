"""Limits and allow-lists on an app's own calls: requests and input only, and nothing that is not a call."""

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from plano_asgi import PlanoMiddleware
from plano_asgi.intake.telling import told_instead
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
PROVIDERS = """\
model_providers:
  - {model: openai/small, default: true}
  - {model: openai/large}
  - {model: anthropic/claude}
routing_preferences: [{name: code, description: writing code, models: [openai/large, anthropic/claude]}]
"""


async def _echo(request: Request) -> JSONResponse:
    """Answer with the model that the app reads."""
    return JSONResponse({"model": (await request.json()).get("model")})


APP = Starlette(routes=[Route(path, _echo, methods=["POST"]) for path in (CHAT, MESSAGES, "/other")])


@pytest.fixture
def calls(behind: Callable[..., PlanoMiddleware]) -> Callable[..., list[httpx.Response]]:
    """Return what makes calls to the app behind a configuration, one for each set of headers."""

    def make(more: str, *headers: dict[str, str], path: str = CHAT, **body: Any) -> list[httpx.Response]:
        wrapped = behind(APP, PROVIDERS + more, FixedClassifier({"code": 0.9}))

        async def run() -> list[httpx.Response]:
            """Make them."""
            transport = httpx.ASGITransport(wrapped)
            call = {"messages": [{"role": "user", "content": "twelve bytes"}], "max_tokens": 100, **body}
            async with httpx.AsyncClient(transport=transport, base_url="http://plano.test") as client:
                return [await client.post(path, json=call, headers=head) for head in headers]

        return anyio.run(run)

    return make


@pytest.mark.parametrize("path", [CHAT, MESSAGES], ids=["openai", "anthropic"])
def test_requests_are_limited_before_the_app_is_called(calls: Callable[..., list[httpx.Response]], path: str) -> None:
    """The second call is answered in its own format, with the headers that its SDK reads."""
    first, second = calls("ratelimits: [{name: tries, limit: {requests: 1, unit: minute}}]", {}, {}, path=path)

    assert first.status_code == 200
    assert first.headers["ratelimit"].startswith('"tries";r=0;t=')
    assert second.status_code == 429
    assert second.json()["error"]["type"] == "rate_limit_error"
    assert int(second.headers["retry-after"]) <= 63
    assert second.headers["ratelimit-policy"] == '"tries";q=1;w=60'


@pytest.mark.parametrize("measure", ["input_tokens", "tokens"])
def test_only_input_is_counted_since_answers_are_not_seen(
    calls: Callable[..., list[httpx.Response]], measure: str
) -> None:
    """Twelve letters are three tokens, a message four and a call three: `max_tokens` is not counted."""
    answers = calls(f"ratelimits: [{{limit: {{{measure}: 25, unit: hour}}}}]", {}, {}, {})

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=15", "r=5", "r=5"]


def test_what_is_no_call_is_not_limited(calls: Callable[..., list[httpx.Response]]) -> None:
    """Other paths of the app know nothing of limits."""
    answers = calls("ratelimits: [{limit: {requests: 1, unit: hour}}]", {}, {}, path="/other")

    assert [answer.status_code for answer in answers] == [200, 200]


def test_a_route_loses_what_a_tenant_may_not_use(calls: Callable[..., list[httpx.Response]]) -> None:
    """A tenant without the route's model gets the default; one that may use neither is refused, as a stranger is."""
    lists = """\
allow_lists:
  - {selector: {key: x-tenant, value: a}, models: [large]}
  - {selector: {key: x-tenant, value: b}, models: [small]}
  - {selector: {key: x-tenant, value: c}, models: [claude]}
"""
    headers = [{"x-tenant": tenant} for tenant in "abcd"]
    answers = calls(lists, *headers)

    assert [answer.status_code for answer in answers] == [200, 200, 403, 403]
    assert [answer.json()["model"] for answer in answers[:2]] == ["large", "small"]
    assert [answer.json()["error"]["code"] for answer in answers[2:]] == ["model_not_allowed", "caller_unknown"]


def test_observed_calls_may_only_name_what_the_tenant_may_use(calls: Callable[..., list[httpx.Response]]) -> None:
    """Where a share of calls keeps the client's model, that has to be allowed, also where nobody declares it."""
    lists = "routing: {sample: 0}\nallow_lists: [{models: [large]}]"

    assert calls(lists, {})[0].status_code == 200
    assert calls(lists, {}, model="gpt-of-somebody")[0].status_code == 403
    assert calls(lists, {}, model="small")[0].status_code == 403
    assert calls(lists, {}, model="openai/large")[0].status_code == 200


def test_what_an_allow_list_leaves_is_what_is_logged_and_remembered(calls: Callable[..., list[httpx.Response]]) -> None:
    """The one line of a call names the model that the app reads, and so does its session when the work goes on."""
    lists = "allow_lists: [{models: [small]}]"
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    asked = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    turns: list[dict[str, Any]] = [{"role": "user", "content": "write code"}]
    more = [{"role": "assistant", "tool_calls": [asked]}, {"role": "tool", "tool_call_id": "1", "content": "x"}]
    with capture_logs() as logs:
        calls(lists, {}, {}, tools=[tool], messages=[*turns, *more])

    lines = [log for log in logs if log["event"] == "plano.call_routed"]
    assert [(line["model"], line["reason"]) for line in lines] == [("openai/small", "not_allowed")] * 2
    assert [(line["pinned"], line["switched"]) for line in lines] == [(False, False), (True, False)]


def test_who_is_refused_is_neither_classified_nor_remembered(calls: Callable[..., list[httpx.Response]]) -> None:
    """A stranger costs no decision; who may use nothing of one is told of in the log, and no session knows of it."""
    lists = "allow_lists: [{selector: {key: x-tenant, value: a}, models: [claude]}]"
    with capture_logs() as strangers:
        calls(lists, {}, {})
    with capture_logs() as refused:
        answers = calls(f"{lists}\nrouting: {{cross_format: false}}", {"x-tenant": "a"}, {"x-tenant": "a"})

    assert not [log for log in strangers if log["event"] == "plano.call_routed"]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert [log["pinned"] for log in refused if log["event"] == "plano.call_routed"] == [False, False]


def test_observing_changes_nothing(calls: Callable[..., list[httpx.Response]]) -> None:
    """In observe mode every call goes on, whatever limits are written."""
    with capture_logs() as logs:
        answers = calls("mode: observe\nratelimits: [{limit: {requests: 1, unit: hour}}]", {}, {})

    assert [answer.status_code for answer in answers] == [200, 200]
    assert "cannot act where mode is observe" in str(logs)


def test_headers_of_the_provider_make_place_for_ours() -> None:
    """Of two that bear one name an SDK could read the wrong one: the provider's tell of our account."""
    theirs = [(b"X-RateLimit-Limit-Requests", b"5000"), (b"content-type", b"application/json")]
    ours = [(b"x-ratelimit-limit-requests", b"5")]

    assert told_instead(theirs, ours) == [(b"content-type", b"application/json"), *ours]


CANNOT_ACT = "cannot act where mode is rewrite"


@pytest.mark.parametrize(
    ("entry", "warning"),
    [
        ("ratelimits: [{limit: {output_tokens: 5, unit: day}}]", CANNOT_ACT),
        ("ratelimits: [{limit: {cost: 5, unit: day}}]", CANNOT_ACT),
        ("ratelimits: [{limit: {tokens: 5, unit: day}}]", "counts input only"),
        ("budgets: [{amount: 5, period: day}]", CANNOT_ACT),
        ("ratelimits: [{limit: {requests: 5, unit: day}}]", ""),
        ("allow_lists: [{models: ['*']}]", ""),
    ],
    ids=["output", "cost", "tokens", "budget", "requests", "allow-list"],
)
def test_what_cannot_act_is_told_at_start_up(settings_of: Callable[[str], Settings], entry: str, warning: str) -> None:
    """Whatever needs answers says so where they are not seen, and the rest says nothing."""
    warnings = settings_of(PROVIDERS + entry).warnings

    assert len(warnings) == bool(warning)
    assert warning in "".join(warnings)
