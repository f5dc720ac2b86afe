"""The decision log: what an entry holds, who may read it, by pages and as it grows."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from plano_asgi import PlanoMiddleware, events
from plano_asgi.testing import FixedClassifier

ROOT = Path(__file__).parents[2]
LOG = "http://127.0.0.1/routing/v1/decisions"
ROUTING = "/routing/v1/chat/completions"
CHAT = "/v1/chat/completions"
PROMPT = "canary words of a caller"
CALL = {"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}]}
CODE = {"code": 0.9}
SETTINGS = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing functions}]
"""

App = Callable[..., Starlette]
Ask = Callable[..., httpx.Response]


def said(text: str) -> dict[str, Any]:
    """Return a call."""
    return {"messages": [{"role": "user", "content": text}]}


def logged(ask: Ask, app: Any, query: str = "", **request: Any) -> Any:
    """Return what the log answers."""
    answer = ask(app, "GET", f"{LOG}{query}", **request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def page() -> str:
    """Return the page about all this."""
    return (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")


def rows(section: str, *, of: int = 0) -> list[str]:
    """Return the names in the first column of a table of the page, the `of`-th below a heading."""
    text = page().partition(f"## {section}\n")[2].partition("\n## ")[0]
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return re.findall(r"^\| (`.+?`) \|", tables[of], re.MULTILINE)


def test_decision_is_an_entry(app_of: App, ask: Ask) -> None:
    """A decision is kept with what it was and what it was made of, and without the words of the call."""
    app = app_of(SETTINGS, FixedClassifier(CODE))
    answer = ask(app, "POST", ROUTING, json=CALL, headers={"x-request-id": "mine"}).json()

    found = logged(ask, app)
    (entry,) = found["decisions"]
    assert (found["next"], found["store"], found["worker"]) == (None, "memory", entry["worker"])
    assert re.fullmatch(r"[0-9a-f]{32}", entry["conversation_hash"])
    assert {key: entry[key] for key in ("route", "reason", "source", "policy", "classifier", "scores", "trace_id")} == {
        key: answer[key] for key in ("route", "reason", "source", "policy", "classifier", "scores", "trace_id")
    }
    assert (entry["model"], entry["request_id"], entry["api"]) == ("openai/gpt-4o", "mine", "chat_completions")
    assert "conversation" not in entry


def test_served_call_is_one_entry_with_its_end(app_of: App, ask: Ask, forwarding: str) -> None:
    """A call that is served is entered once, when it is over, with every attempt, its tokens and its times."""
    app = app_of(forwarding, FixedClassifier(CODE))
    ask(app, "POST", CHAT, json={**CALL, "stream": True})

    (entry,) = logged(ask, app)["decisions"]
    assert [attempt["model"] for attempt in entry["attempts"]] == ["mistral/down", "openai/gpt-4o"]
    assert (entry["model"], entry["served_by"], entry["end"]) == ("mistral/down", "openai/gpt-4o", "complete")
    assert (entry["status"], entry["input_tokens"], entry["output_tokens"]) == (200, 7, 4)
    assert entry["cost_usd"] == 0.015
    assert 0 < entry["first_word_ms"] <= entry["duration_ms"]
    assert entry["is_stream"]


def test_a_call_has_one_cost_wherever_it_is_told(app_of: App, ask: Ask, forwarding: str) -> None:
    """Header, log and decision log agree to the last digit, also where the price has many."""
    text = forwarding.replace("{input: 1000, output: 2000}", "{input: 0.1234567, output: 0.7654321}")
    app = app_of(text, FixedClassifier(CODE))
    with capture_logs() as logs:
        answer = ask(app, "POST", CHAT, json=CALL)

    (entry,) = logged(ask, app)["decisions"]
    (line,) = [log for log in logs if log["event"] == "plano.call_forwarded"]
    assert entry["cost_usd"] == line["cost_usd"] == float(answer.headers["x-plano-cost"]) == 0.000003926


def test_a_call_that_its_caller_may_not_make_is_an_entry(app_of: App, ask: Ask, forwarding: str) -> None:
    """What was decided and refused is there to be looked at, and none of it is told to the caller."""
    app = app_of(f"{forwarding}allow_lists: [{{models: [mistral/*], routes: []}}]\n", FixedClassifier(CODE))
    with capture_logs() as logs:
        answer = ask(app, "POST", CHAT, json=CALL)

    (entry,) = logged(ask, app)["decisions"]
    assert (answer.status_code, "x-plano-model" in answer.headers) == (403, False)
    assert (entry["route"], entry["model"], entry["reason"]) == ("code", "mistral/down", "matched")
    assert (entry["status"], entry["attempts"], entry["served_by"]) == (403, [], None)
    assert entry["latency_ms"] > 0
    assert [log["status"] for log in logs if log["event"] == "plano.call_forwarded"] == [403]


def test_a_stranger_is_not_decided(app_of: App, ask: Ask, forwarding: str) -> None:
    """A caller that no allow-list is for costs no classification, and so has no entry."""
    lists = "allow_lists: [{selector: {key: x-tenant, value: acme}}]\n"
    app = app_of(forwarding + lists, FixedClassifier(CODE))

    assert ask(app, "POST", CHAT, json=CALL).status_code == 403
    assert logged(ask, app)["decisions"] == []


def test_served_and_decided_calls_are_kept_beside_each_other(app_of: App, ask: Ask, forwarding: str) -> None:
    """A decision endpoint's call after a served one is an entry of its own."""
    app = app_of(forwarding, FixedClassifier(CODE))
    ask(app, "POST", CHAT, json=CALL)
    ask(app, "POST", ROUTING, json=CALL)

    assert [entry.get("end") for entry in logged(ask, app)["decisions"]] == [None, "complete"]


def test_hash_tells_equal_conversations_and_nothing_else(app_of: App, ask: Ask) -> None:
    """Equal conversations have equal hashes in one log; in another's log they are others, unless a key is set."""
    keyed = SETTINGS + "decision_log: {hash_key: secret}\n"
    apps = [app_of(text, FixedClassifier(CODE)) for text in (SETTINGS, SETTINGS, keyed, keyed)]
    for app in apps:
        for text in ("a", "b", "a"):
            ask(app, "POST", ROUTING, json=said(text))
    first, second, keyed_first, keyed_second = (
        [entry["conversation_hash"] for entry in logged(ask, app)["decisions"]] for app in apps
    )

    assert first[0] == first[2] != first[1]
    assert not set(first) & set(second)
    assert keyed_first == keyed_second
    assert "secret" not in repr(apps[2].state.service)


def test_conversation_is_kept_where_that_is_switched_on(app_of: App, ask: Ask) -> None:
    """`decision_log.content: conversation` keeps the turns as the router reads them."""
    app = app_of(SETTINGS + "decision_log: {content: conversation}\n", FixedClassifier(CODE))
    ask(app, "POST", ROUTING, json=CALL)

    (entry,) = logged(ask, app)["decisions"]
    assert entry["conversation"] == [{"role": "user", "text": PROMPT, "tool_calls": [], "has_image": False}]


def test_pages_go_back_to_the_first_entry(app_of: App, ask: Ask) -> None:
    """`next` leads from page to page, each entry on one of them, until there is none."""
    app = app_of(SETTINGS, FixedClassifier(CODE))
    for number in range(5):
        ask(app, "POST", ROUTING, json=said(f"call {number}"), headers={"x-request-id": f"r{number}"})

    pages, query = [], "?limit=2"
    while query:
        found = logged(ask, app, query)
        pages.append([entry["request_id"] for entry in found["decisions"]])
        query = found["next"] and f"?limit=2&before={found['next']}"
    assert pages == [["r4", "r3"], ["r2", "r1"], ["r0"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?route=code", ["a"]),
        ("?route=none", ["b"]),
        ("?reason=bypassed&source=none", ["b"]),
        ("?model=openai/gpt-4o", ["b", "a"]),
        ("?model=openai/gpt-4o-mini", []),
        ("?request_id=a&route=code", ["a"]),
        ("?request_id=a&route=none", []),
        ("?route=code&limit=1", ["a"]),
    ],
    ids=["route", "no-route", "two", "model", "other-model", "both", "neither", "with-limit"],
)
def test_entries_are_filtered(query: str, found: list[str], app_of: App, ask: Ask) -> None:
    """Parameters leave the entries whose fields have these values."""
    app = app_of(SETTINGS, FixedClassifier(CODE))
    ask(app, "POST", ROUTING, json=CALL, headers={"x-request-id": "a"})
    ask(app, "POST", ROUTING, json=CALL, headers={"x-request-id": "b", "x-plano-routing": "off"})

    assert [entry["request_id"] for entry in logged(ask, app, query)["decisions"]] == found


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?limit=0", "invalid_limit"),
        ("?limit=1001", "invalid_limit"),
        ("?limit=x", "invalid_limit"),
        ("?before=x", "unknown_decision"),
        ("?after=x", "unknown_decision"),
        ("?follow=true&after=x", "unknown_decision"),
        ("?root=code", "unknown_parameter"),
    ],
    ids=lambda part: part,
)
def test_wrong_question_is_refused(query: str, code: str, app_of: App, ask: Ask) -> None:
    """What cannot be answered is a 400 that says why, and repeats nothing."""
    answer = ask(app_of(SETTINGS, FixedClassifier(CODE)), "GET", f"{LOG}{query}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_log_that_cannot_be_read_says_so(app_of: App, ask: Ask, tmp_path: Path) -> None:
    """A store that is away is a 503 of the log alone; calls are decided."""
    text = f"{SETTINGS}decision_log: {{store: sqlite, path: {tmp_path}}}\n"
    app = app_of(text, FixedClassifier(CODE))
    with capture_logs():
        assert ask(app, "POST", ROUTING, json=CALL).status_code == 200
        app.state.service.observation.close()
        answer = ask(app, "GET", LOG)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "decision_log_unavailable")


def test_entries_are_followed_as_they_come(app_of: App, serve: Callable[[Starlette], str]) -> None:
    """A follower gets what comes from now on, as events with ids, and goes on where it was when it comes back."""
    url = serve(app_of(SETTINGS, FixedClassifier(CODE)))
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        client.post(ROUTING, json=said("before"))
        with client.stream("GET", "/routing/v1/decisions?follow=true&route=code") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry: ")
            for number in range(2):
                client.post(ROUTING, json=said("new"), headers={"x-request-id": f"r{number}"})
            told = [json.loads(next(line for line in lines if line.startswith("data: "))[6:]) for _ in range(2)]
        last = {"last-event-id": told[0]["id"]}
        with client.stream("GET", "/routing/v1/decisions?follow=true", headers=last) as stream:
            again = json.loads(next(line for line in stream.iter_lines() if line.startswith("data: "))[6:])

    assert stream.headers["content-type"].startswith("text/event-stream")
    assert [entry["request_id"] for entry in told] == ["r0", "r1"]
    assert again == told[1]


TOKEN = SETTINGS + "admin: {token: tell-me-4711}\n"


@pytest.mark.parametrize(
    "case",
    [
        (SETTINGS, "http://127.0.0.1:12000", {}, 200),
        (SETTINGS, "http://localhost:12000", {}, 200),
        (SETTINGS, "http://[::1]:12000", {}, 200),
        (SETTINGS, "http://evil.test", {}, 403),
        (SETTINGS, "http://127.0.0.1.evil.test", {}, 403),
        (SETTINGS, "http://127.0.0.1", {"x-forwarded-for": "127.0.0.1"}, 403),
        (SETTINGS, "http://127.0.0.1", {"forwarded": "for=10.0.0.1"}, 403),
        (TOKEN, "http://evil.test", {"authorization": "Bearer tell-me-4711"}, 200),
        (TOKEN, "http://127.0.0.1", {}, 401),
        (TOKEN, "http://127.0.0.1", {"authorization": "Bearer tell-me-471"}, 401),
        (TOKEN, "http://127.0.0.1", {"authorization": "Bearer "}, 401),
    ],
    ids=["ipv4", "name", "ipv6", "rebound", "alike", "proxied", "forwarded", "token", "no-token", "wrong", "empty"],
)
@pytest.mark.parametrize("path", ["/routing/v1/decisions", "/metrics"])
def test_operators_only(path: str, case: tuple[str, str, dict[str, str], int], app_of: App, ask: Ask) -> None:
    """The log and the metrics are shown to who has the token, or without one to this machine alone."""
    text, url, headers, status = case
    answer = ask(app_of(text, FixedClassifier(CODE)), "GET", f"{url}{path}", headers=headers)

    assert answer.status_code == status
    assert "4711" not in answer.text + str(answer.headers)


def test_requests_from_elsewhere_are_refused(app_of: App) -> None:
    """Without a token, a client of another address sees nothing, whatever name it asks for."""

    async def ask_from_elsewhere() -> httpx.Response:
        """Ask as another machine."""
        transport = httpx.ASGITransport(app_of(SETTINGS, FixedClassifier(CODE)), client=("10.0.0.7", 4711))
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.get(LOG)

    assert anyio.run(ask_from_elsewhere).status_code == 403


@pytest.mark.parametrize(("more", "status"), [("", 404), ("decision_log: {store: memory}\n", 200)], ids=["off", "on"])
def test_an_app_keeps_no_log_unless_told_to(
    more: str, status: int, behind: Callable[..., PlanoMiddleware], ask: Ask
) -> None:
    """Behind the middleware there is a log where the settings name its store, and there only."""
    app = behind(Starlette(), SETTINGS + more, FixedClassifier(CODE))
    ask(app, "POST", CHAT, json=CALL)

    answer = ask(app, "GET", LOG)
    assert answer.status_code == status
    if status == 200:
        assert [entry["route"] for entry in answer.json()["decisions"]] == ["code"]


def test_only_get_is_answered(app_of: App, ask: Ask) -> None:
    """The log cannot be written from outside."""
    assert ask(app_of(SETTINGS, FixedClassifier(CODE)), "POST", LOG, json={}).status_code == 405


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_log_lives_where_the_settings_say(
    kind: str, app_of: App, ask: Ask, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A log in SQLite or Redis outlives its process, is all workers', and says so."""
    where = f"path: {tmp_path}/log.sqlite" if kind == "sqlite" else "size: 10"
    redis = f"redis: {{url: '{request.getfixturevalue('redis_url')}', prefix: '{tmp_path.name}:', timeout_ms: 5000}}\n"
    text = f"{SETTINGS}{redis if kind == 'redis' else ''}decision_log: {{store: {kind}, {where}}}\n"
    before = app_of(text, FixedClassifier(CODE))
    ask(before, "POST", ROUTING, json=CALL)
    before.state.service.observation.close()

    found = logged(ask, app_of(text, FixedClassifier(CODE)))
    assert (len(found["decisions"]), found["store"], found["worker"]) == (1, kind, None)


def test_fields_of_an_entry_are_documented(app_of: App, ask: Ask, forwarding: str) -> None:
    """The page's table lists the fields of an entry, in their order, and no other."""
    app = app_of(forwarding + "decision_log: {content: conversation}\n", FixedClassifier(CODE))
    ask(app, "POST", CHAT, json=CALL)
    (entry,) = logged(ask, app)["decisions"]

    assert rows("The decision log", of=1) == [f"`{name}`" for name in entry]


def test_events_are_documented_with_their_fields(app_of: App, ask: Ask, forwarding: str) -> None:
    """The page lists every event there is; a served call's two lines have its fields and the call's identity."""
    text = page().partition("## Logs")[2].partition("\n## ")[0]
    told = dict(re.findall(r"^\| `(plano\.\w+)` \| \w+ \| (.+) \|$", text, re.MULTILINE))
    there_are = {value for name, value in vars(events).items() if name.isupper() and str(value).startswith("plano.")}
    app = app_of(forwarding, FixedClassifier(CODE))
    with capture_logs() as logs:
        ask(app, "POST", CHAT, json=CALL, headers={"x-request-id": "mine"})

    assert told.keys() == there_are
    assert [line["event"] for line in logs] == ["plano.call_routed", "plano.call_forwarded"]
    for line in logs:
        fields = re.findall(r"`(\w+)`", told[line["event"]])
        assert [name for name in line if name not in {"event", "log_level"}] == [*fields, "request_id", "trace_id"]
        assert line["request_id"] == "mine"
    assert logs[0]["trace_id"] == logs[1]["trace_id"]


def test_attributes_of_spans_are_documented(app_of: App, ask: Ask, forwarding: str, host: Any) -> None:
    """Every attribute of a span is in the page's table."""
    app = app_of(forwarding + "telemetry: {capture_content: true}\n", FixedClassifier(CODE))
    for more in ({}, {"stream": True}):
        ask(app, "POST", CHAT, json={**CALL, **more})
    names = {f"`{name}`" for span in host.spans.get_finished_spans() for name in span.attributes}

    assert len(names) > 20
    assert names <= set(rows("Traces", of=1))
