"""Limits, budgets and allow-lists on calls that are served here: held before, settled after, told to the caller."""

import json
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from plano_asgi.testing import FixedClassifier

CHAT = "/v1/chat/completions"
every_way = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
PRICES = "prices: {openai/fine: {input: 1000, output: 1000}, openai/large: {input: 100, output: 100}}"


def limits(*entries: str) -> str:
    """Return the limits as configuration."""
    return "\n".join(["ratelimits:", *(f"  - {{{entry}}}" for entry in entries)])


def left(answer: httpx.Response) -> list[int]:
    """Return what each limit had left after a call, by its header."""
    return [int(part.split(";")[1].removeprefix("r=")) for part in answer.headers["ratelimit"].split(", ")]


@every_way
def test_what_was_reserved_is_corrected_by_what_was_used(service: Callable[..., Any], *, stream: bool) -> None:
    """A call holds its estimate until the provider tells what it really took: 7 read and 4 written."""
    ask = service("fine", more=limits("name: all, limit: {tokens: 10000, unit: hour}"))
    held, after = ask.ask(2, stream=stream, max_tokens=500)

    assert 500 < 10_000 - left(held)[0] < 530
    assert left(held)[0] - left(after)[0] == 11


def test_only_input_or_output_is_counted_where_a_limit_says_so(service: Callable[..., Any]) -> None:
    """Each kind of limit counts its own: requests, what is read, what is written."""
    entries = [f"limit: {{{measure}: 1000, unit: hour}}" for measure in ("requests", "input_tokens", "output_tokens")]
    first, second = service("fine", more=limits(*entries)).ask(2, max_tokens=100)

    assert [before - after for before, after in zip(left(first), left(second), strict=True)] == [1, 7, 4]


def test_beyond_a_limit_a_call_is_refused_in_its_own_format(
    service: Callable[..., Any], api: Any, provider: Any
) -> None:
    """429 with the wait, what the SDK of the API reads, and the limit's name; the provider is not asked."""
    answers = service("fine", more=limits("name: tries, limit: {requests: 1, unit: minute}")).ask(2)
    refused = answers[1]
    error = refused.json()["error"]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert 57 <= int(refused.headers["retry-after"]) <= 63
    assert refused.headers["ratelimit-policy"] == '"tries";q=1;w=60'
    assert refused.headers["ratelimit"].startswith('"tries";r=0;t=')
    assert error["type"] == ("rate_limit_error")
    assert '"tries" is used up (requests)' in error["message"]
    prefix = "anthropic-ratelimit-requests-{}" if api.maker == "anthropic" else "x-ratelimit-{}-requests"
    assert [refused.headers[prefix.format(word)] for word in ("limit", "remaining")] == ["1", "0"]
    assert len(provider.heard) == 1


def test_a_call_that_is_too_large_by_itself_is_not_tried_again(service: Callable[..., Any]) -> None:
    """Its own `max_tokens` is beyond the limit: no wait would help, and the answer says what does."""
    (refused,) = service("fine", more=limits("limit: {tokens: 100, unit: hour}")).ask(max_tokens=101)

    assert refused.status_code == 429
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert "lower the most" in refused.json()["error"]["message"]


@every_way
@pytest.mark.parametrize("model", ["down", "resets", "html"])
def test_what_failed_before_an_answer_is_given_back(service: Callable[..., Any], model: str, *, stream: bool) -> None:
    """A call that nobody served has used nothing."""
    entries = ("limit: {requests: 5, unit: hour}", "limit: {tokens: 5000, unit: hour}")
    text = limits(*entries) + "\nfailover: {attempts: 1}"
    failed, after = service(model, more=text).ask(2, stream=stream, max_tokens=100)

    assert failed.status_code == 502
    assert left(failed) == left(after)


def test_an_error_of_the_call_itself_costs_a_request_and_no_tokens(service: Callable[..., Any]) -> None:
    """What the provider rejects was asked, and is counted as one request."""
    entries = ("limit: {requests: 5, unit: hour}", "limit: {tokens: 5000, unit: hour}")
    first, second = service("rejects", more=limits(*entries)).ask(2, max_tokens=100)

    assert first.status_code == 400
    assert [before - after for before, after in zip(left(first), left(second), strict=True)] == [1, 0]


def test_a_stream_that_breaks_off_is_counted_by_its_events(service: Callable[..., Any]) -> None:
    """Where the usage never came, what was read is estimated, and every event that passed stands for a token."""
    first, second = service("cut", more=limits("limit: {output_tokens: 1000, unit: hour}")).ask(
        2, stream=True, max_tokens=500
    )

    assert first.status_code == 200
    assert 0 < left(first)[0] + 500 - left(second)[0] - 500 < 20


def leaving(app: Starlette, model: str, *, until: Callable[[], bool] | None = None, **more: Any) -> httpx.Response:
    """Leave a call once a piece of its answer has come, or `until` something; then return the answer to another one."""
    body = {"messages": [{"role": "user", "content": "x"}], "model": model, **more}
    headers = {"content-type": "application/json", "x-plano-routing": "off"}
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"}
    scope |= {"path": CHAT, "raw_path": CHAT.encode(), "query_string": b"", "root_path": "", "scheme": "http"}
    scope |= {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    scope |= {"client": ("10.0.0.1", 1), "server": ("s", 1)}

    async def leave_and_come_again() -> httpx.Response:
        """Make the call that is left, and the other one."""
        seen, got = anyio.Event(), False

        async def receive() -> dict[str, Any]:
            """Give the body, and leave when it is time."""
            nonlocal got
            if not got:
                got = True
                return {"type": "http.request", "body": json.dumps(body).encode()}
            while until and not until():  # noqa: ASYNC110 - the provider is on another thread
                await anyio.sleep(0.005)
            if until is None:
                await seen.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            """Note that something has come."""
            if message.get("body"):
                seen.set()

        async with app.router.lifespan_context(app):
            await app(scope, receive, send)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://plano.test") as client:
                named = {**body, "stream": False, "model": "openai/fine"}
                return await client.post(CHAT, json=named, headers=headers)

    with capture_logs() as logs:
        answer = anyio.run(leave_and_come_again)
    (line,) = [log for log in logs if log["event"] == "plano.call_forwarded"][:1]
    assert line["end"] == "abandoned"
    return answer


def test_a_call_that_its_caller_gives_up_is_settled(mixed: Callable[..., Starlette]) -> None:
    """Who leaves a stream before its end gives back what its answer has not taken."""
    app = mixed("openai/endless", "openai/fine", more=limits("limit: {output_tokens: 1000, unit: hour}"))
    answer = leaving(app, "openai/endless", stream=True, max_tokens=900)

    assert left(answer)[0] > 80, "the second call of 900 would not have had room"


@every_way
def test_who_leaves_before_the_answer_has_used_the_estimate(
    mixed: Callable[..., Starlette], provider: Any, *, stream: bool
) -> None:
    """Hanging up on a provider that was asked is no way around a limit: one request, and all that was held."""
    entries = ("limit: {requests: 5, unit: hour}", "limit: {output_tokens: 1000, unit: hour}")
    app = mixed("openai/silent", "openai/fine", more=limits(*entries))
    answer = leaving(app, "openai/silent", until=lambda: bool(provider.heard), stream=stream, max_tokens=300)

    assert left(answer) == [3, 400]


def test_where_one_model_is_at_its_limit_the_next_of_the_route_serves(
    mixed: Callable[..., Starlette], ask_chat: Callable[..., httpx.Response]
) -> None:
    """A limit on one model is no reason to refuse a call that another may serve; it costs none of the attempts."""
    entry = limits("model: fine, limit: {requests: 1, unit: hour}")
    app = mixed("openai/fine", "openai/large", more=f"{entry}\nfailover: {{attempts: 1}}")
    answers = [ask_chat(app) for _ in range(2)]

    assert [answer.headers["x-plano-model"] for answer in answers] == ["openai/fine", "openai/large"]
    assert answers[1].headers["x-plano-attempts"].startswith("openai/fine;outcome=over_limit;ms=0, openai/large")


def test_failover_gives_back_what_the_first_model_held(
    mixed: Callable[..., Starlette], ask_chat: Callable[..., httpx.Response]
) -> None:
    """Per model, only the one that has answered is counted; where one is at its limit and one is down, it is down."""
    entry = limits("per: [model], limit: {requests: 1, unit: hour}")
    app = mixed("openai/down", "openai/fine", "openai/large", more=entry)
    answers = [ask_chat(app) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 502]
    assert [answer.headers["x-plano-model"] for answer in answers[:2]] == ["openai/fine", "openai/large"]
    assert "openai/down;outcome=server_error" in answers[1].headers["x-plano-attempts"]


@pytest.mark.parametrize(
    ("entry", "statuses"),
    [
        ("model: 'openai/*'", [200, 429, 429]),
        ("model: '*'", [200, 429, 429]),
        ("model: fi*", [200, 429, 429]),
        ("model: openai/fine", [200, 429, 429]),
        ("model: large", [200, 200, 200]),
        ("provider: open*", [200, 429, 429]),
        ("route: code", [200, 429, 429]),
        ("selector: {key: x-tenant, value: acme}", [200, 429, 200]),
        ("selector: {key: x-tenant, value: '*'}", [200, 429, 200]),
        ("selector: {key: x-tenant, value: other}", [200, 200, 200]),
        ("per: [api_key]", [200, 200, 200]),
        ("per: [address]", [200, 429, 429]),
        ("per: [route]", [200, 429, 429]),
    ],
    ids=str,
)
def test_a_limit_is_for_those_that_it_names(
    configured: Callable[..., str], app_of: Callable[..., Starlette], entry: str, statuses: list[int]
) -> None:
    """Patterns match with and without the provider; a selector splits by its header's value, `per` by the rest."""
    text = configured("openai", "fine", "large", more=limits(f"{entry}, limit: {{requests: 1, unit: hour}}"))
    text = text.replace("[openai/fine, openai/large]", "[openai/fine]")
    app = app_of(text, FixedClassifier({"code": 0.9}))
    senders = [("acme", "key-1"), ("acme", "key-2"), ("b", "key-3")]

    async def ask() -> list[int]:
        """Make a call for each."""
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://plano.test") as client,
        ):
            body = {"messages": [{"role": "user", "content": "x"}]}
            return [
                (
                    await client.post(CHAT, json=body, headers={"x-tenant": tenant, "authorization": f"Bearer {key}"})
                ).status_code
                for tenant, key in senders
            ]

    assert anyio.run(ask) == statuses


def test_a_limit_by_the_header_that_is_checked_is_not_evaded_by_another(
    mixed: Callable[..., Starlette], ask_chat: Callable[..., httpx.Response]
) -> None:
    """A selector without a value counts by its own header; other keys beside it make no second limit."""
    app = mixed("openai/fine", more=limits("selector: {key: authorization}, limit: {requests: 1, unit: hour}"))
    senders = [{"authorization": "Bearer real", "x-api-key": junk} for junk in ("junk-1", "junk-2")]

    assert [ask_chat(app, headers=sender).status_code for sender in senders] == [200, 429]


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limit_error"), (402, "insufficient_quota")], ids=str)
def test_a_budget_warns_and_then_refuses(
    mixed: Callable[..., Starlette], ask_chat: Callable[..., httpx.Response], status: int, kind: str
) -> None:
    """11 tokens cost 0.011 USD: from the soft limit on callers and the log are told, beyond the hard one refused."""
    budget = f"budgets: [{{name: month, amount: 0.035, soft: 0.75, period: month, status: {status}}}]"
    app = mixed("openai/fine", more=f"{budget}\n{PRICES}")
    with capture_logs() as logs:
        answers = [ask_chat(app, max_tokens=4) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, status]
    assert [answer.headers.get("x-plano-cost") for answer in answers] == ["0.011000000", "0.011000000", None]
    assert "x-plano-budget" not in answers[0].headers
    assert answers[1].headers["x-plano-budget"].startswith('"month";used=0.')
    assert answers[2].json()["error"]["type"] == kind
    assert 'the budget "month" is used up' in answers[2].json()["error"]["message"]
    assert int(answers[2].headers["retry-after"]) <= 31 * 86_400
    assert [log["budget"] for log in logs if log["event"] == "plano.budget_low"] == ["month"]
    assert [log.get("cost_usd") for log in logs if log["event"] == "plano.call_forwarded"][:2] == [0.011, 0.011]


def test_a_low_budget_prefers_the_cheapest_model(
    mixed: Callable[..., Starlette], ask_chat: Callable[..., httpx.Response]
) -> None:
    """From the soft limit on, the cheapest model of the route is asked first."""
    budget = "budgets: [{amount: 1, soft: 0.01, period: day, on_soft: cheapest}]"
    app = mixed("openai/fine", "openai/large", more=f"{budget}\n{PRICES}")
    answers = [ask_chat(app, max_tokens=4) for _ in range(2)]

    assert [answer.headers["x-plano-model"] for answer in answers] == ["openai/fine", "openai/large"]


def test_a_low_budget_asks_no_last_resort_first(
    configured: Callable[..., str], app_of: Callable[..., Starlette], ask_chat: Callable[..., httpx.Response]
) -> None:
    """The default model is not of the route: where it stands in for one that fails, it comes last, however cheap."""
    more = (
        f"budgets: [{{amount: 1, soft: 0, period: day, on_soft: cheapest}}]\nfailover: {{to_default: true}}\n{PRICES}"
    )
    more = more.replace("prices: {", "prices: {openai/default: {input: 1, output: 1}, ")
    answer = ask_chat(app_of(configured("openai", "fine", "large", more=more), FixedClassifier({"code": 0.9})))

    assert answer.headers["x-plano-model"] == "openai/large"


def test_a_low_budget_changes_no_model_within_a_loop_of_tools(
    mixed: Callable[..., Starlette], ask_chat: Callable[..., httpx.Response]
) -> None:
    """Who has begun to work with tools goes on; the cheapest model is asked first when the next turn begins."""
    budget = "budgets: [{amount: 1, soft: 0.01, period: day, on_soft: cheapest}]"
    app = mixed("openai/fine", "openai/large", more=f"{budget}\n{PRICES}")
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    asked = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    turn: list[dict[str, Any]] = [{"role": "user", "content": "write code"}]
    loop = [*turn, {"role": "assistant", "tool_calls": [asked]}, {"role": "tool", "tool_call_id": "1", "content": "x"}]
    over = [*loop, {"role": "assistant", "content": "done"}, {"role": "user", "content": "and now more code"}]
    answers = [ask_chat(app, messages=messages, tools=[tool], max_tokens=4) for messages in (turn, loop, over)]

    assert [answer.headers["x-plano-model"] for answer in answers] == ["openai/fine", "openai/fine", "openai/large"]
    assert "x-plano-budget" in answers[1].headers


def test_models_that_nobody_has_a_price_for_are_told_at_start_up(mixed: Callable[..., Starlette]) -> None:
    """A budget that cannot count a model says so in the log."""
    with capture_logs() as logs:
        mixed("openai/fine", "openai/unheard-of-model", more=f"budgets: [{{amount: 1, period: day}}]\n{PRICES}")

    (line,) = [log for log in logs if log["event"] == "plano.prices_unknown"]
    assert line["models"] == ["openai/unheard-of-model"]


ALLOWED = """\
allow_lists:
  - selector: {key: x-tenant, value: acme}
    models: [openai/large]
  - selector: {key: x-tenant, value: free}
    models: ['openai/*']
    routes: []
  - selector: {key: x-tenant, value: nobody}
    models: [anthropic/other]
"""


def with_allow_lists(configured: Callable[..., str]) -> str:
    """Return a route of two models, a third one, and the tenants' lists."""
    other = "  - {model: anthropic/other, access_key: sk-x}\nrouting_preferences:"
    return configured("openai", "fine", "large", more=ALLOWED).replace("routing_preferences:", other, 1)


@pytest.mark.parametrize(
    ("tenant", "status", "model", "reason"),
    [
        ("acme", 200, "openai/large", "matched"),
        ("free", 200, "openai/default", "not_allowed"),
        ("nobody", 403, None, None),
        ("stranger", 403, None, None),
    ],
)
def test_a_tenant_gets_the_models_and_routes_that_it_may_use(  # noqa: PLR0913, PLR0917 - a table
    configured: Callable[..., str],
    app_of: Callable[..., Starlette],
    ask_chat: Callable[..., httpx.Response],
    tenant: str,
    status: int,
    model: str | None,
    reason: str | None,
) -> None:
    """A route loses what is not allowed, and falls to the default with nothing left; 403 where that is not either."""
    app = app_of(with_allow_lists(configured), FixedClassifier({"code": 0.9}))
    answer = ask_chat(app, headers={"x-tenant": tenant})

    assert answer.status_code == status
    assert (answer.headers.get("x-plano-model"), answer.headers.get("x-plano-reason")) == (model, reason)
    if status == 403:
        assert answer.json()["error"]["type"] == "permission_error"
        assert answer.headers["x-should-retry"] == "false"


def test_a_model_that_a_tenant_names_itself_is_refused_where_it_may_not_use_it(
    configured: Callable[..., str], app_of: Callable[..., Starlette], ask_chat: Callable[..., httpx.Response]
) -> None:
    """Going past the router does not go past the allow-list."""
    app = app_of(with_allow_lists(configured), FixedClassifier({"code": 0.9}))
    headers = {"x-tenant": "acme", "x-plano-routing": "off"}

    assert ask_chat(app, model="openai/fine", headers=headers).status_code == 403
    assert ask_chat(app, model="openai/large", headers=headers).status_code == 200


def test_hidden_decisions_hide_limits_too(
    mixed: Callable[..., Starlette], ask_chat: Callable[..., httpx.Response]
) -> None:
    """Under `response_headers: false` only `Retry-After` is left."""
    entry = limits("limit: {requests: 1, unit: hour}")
    app = mixed("openai/fine", more=f"response_headers: false\n{entry}")
    answers = [ask_chat(app) for _ in range(2)]

    assert answers[1].headers["retry-after"]
    assert not [name for answer in answers for name in answer.headers if "ratelimit" in name or "plano" in name]
