"""Decisions over HTTP: what the three endpoints answer to calls that they can read."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from plano_asgi.testing import FixedClassifier

SETTINGS: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences:
      - {name: complex_reasoning, description: "complex reasoning tasks, multi-step analysis"}
  - model: anthropic/claude-sonnet-4-20250514
routing_preferences:
  - name: code_generation
    description: generating new code, writing functions
    models: [anthropic/claude-sonnet-4-20250514, openai/gpt-4o]
"""
CHAT, MESSAGES, RESPONSES = "/routing/v1/chat/completions", "/routing/v1/messages", "/routing/v1/responses"
TURNS: Final = [{"role": "user", "content": "Write a function that reverses a list."}]
CALLS: Final[Mapping[str, Mapping[str, Any]]] = {
    CHAT: {"model": "auto", "messages": TURNS},
    MESSAGES: {"model": "auto", "max_tokens": 64, "messages": TURNS},
    RESPONSES: {"model": "auto", "input": TURNS[0]["content"]},
}
CONFIDENT: Final = {"code_generation": 0.97, "complex_reasoning": 0.02}
NEW_REQUEST_ID: Final = r"req_[0-9a-f]{24}"
INLINE_FORMS: Final[Mapping[str, Mapping[str, Any]]] = {
    "by model": {
        "routing_policy": [
            {"model": "openai/gpt-4o", "routing_preferences": [{"name": "poems", "description": "writing poems"}]}
        ]
    },
    "by preference": {
        "routing_preferences": [
            {
                "name": "poems",
                "description": "writing poems",
                "models": ["openai/gpt-4o"],
                "selection_policy": {"prefer": "none"},
            }
        ]
    },
}


class Unrouted(NamedTuple):
    """A call that goes to no route: settings, headers and chances that make it so, and what is said of it."""

    expected: Mapping[str, object]
    more: str = ""
    headers: Mapping[str, str] = {}
    chances: Mapping[str, float] = CONFIDENT


UNROUTED: Final[Mapping[str, Unrouted]] = {
    "no match": Unrouted(
        {"reason": "no_match", "source": "classifier", "would_use": "openai/gpt-4o-mini", "confidence": 0.3},
        chances={"code_generation": 0.3},
    ),
    "no match, requested": Unrouted(
        {"reason": "no_match", "source": "classifier", "would_use": "auto", "confidence": 0.0},
        more="routing: {unmatched: requested}\n",
        chances={},
    ),
    "not enabled": Unrouted({"reason": "bypassed", "source": "none", "would_use": "auto"}, more="enabled: false\n"),
    "bypassed": Unrouted({"reason": "bypassed", "would_use": "auto"}, headers={"x-plano-routing": "off"}),
    "not applicable": Unrouted(
        {"reason": "not_applicable", "would_use": "auto"}, more="routing: {applies_to: [router]}\n"
    ),
}

Ask = Callable[..., httpx.Response]
Service = Callable[..., Starlette]

every_api = pytest.mark.parametrize("path", CALLS, ids=lambda path: path.removeprefix("/routing/v1/"))


@pytest.fixture
def service(app_of: Service) -> Service:
    """Return what makes the app of a classifier and some more settings."""
    return lambda classifier, more="": app_of(SETTINGS + more, classifier)


@pytest.fixture
def ask_fixed(service: Service, ask: Ask) -> Ask:
    """Return what asks a service whose classifier is confident."""
    return partial(ask, service(FixedClassifier(CONFIDENT)))


@every_api
def test_matched_call_is_answered_with_the_whole_decision(path: str, service: Service, ask: Ask) -> None:
    """A match names the route, its models, and all that the classifier thinks."""
    answer = ask(service(FixedClassifier(CONFIDENT)), "POST", path, json=CALLS[path])

    said = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert 0 <= said.pop("latency_ms") < 60_000
    assert re.fullmatch(r"[0-9a-f]{32}", said.pop("trace_id"))
    assert re.fullmatch(r"implicit:[0-9a-f]{32}", said.pop("session_id"))
    assert said == {
        "model": "anthropic/claude-sonnet-4-20250514",
        "route": "code_generation",
        "models": ["anthropic/claude-sonnet-4-20250514", "openai/gpt-4o"],
        "would_use": "anthropic/claude-sonnet-4-20250514",
        "confidence": 0.97,
        "threshold": 0.5,
        "reason": "matched",
        "source": "classifier",
        "policy": "config",
        "scores": {"complex_reasoning": 0.02, "code_generation": 0.97, "other": 0.01},
        "classifier": "fixed",
        "pinned": False,
        "switched": False,
    }


@every_api
@pytest.mark.parametrize("unrouted", UNROUTED.values(), ids=UNROUTED)
def test_call_without_a_route_says_why_and_what_would_serve_it(
    path: str, unrouted: Unrouted, service: Service, ask: Ask
) -> None:
    """A call that goes to no route has `none` for a model, a reason, and the model that a served call would get."""
    app = service(FixedClassifier(unrouted.chances), unrouted.more)

    answer = ask(app, "POST", path, json=CALLS[path], headers=unrouted.headers)

    said = answer.json()
    common = {"model": "none", "models": ["none"], "route": None, "policy": "config", "source": "none"}
    assert answer.status_code == 200
    assert said.items() >= {**common, "confidence": None, **unrouted.expected}.items()
    assert bool(said["scores"]) == (said["reason"] == "no_match")


def test_bypass_that_the_service_forbids_is_not_obeyed(service: Service, ask: Ask) -> None:
    """`routing.bypass_header: false` routes a call whatever its header asks."""
    app = service(FixedClassifier(CONFIDENT), "routing: {bypass_header: false}\n")

    answer = ask(app, "POST", CHAT, json=CALLS[CHAT], headers={"x-plano-routing": "off"})

    assert answer.json()["reason"] == "matched"


@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": "auto"}], ids=["missing", "null", "auto"])
def test_call_that_names_no_model_is_always_routed(model: Mapping[str, object], service: Service, ask: Ask) -> None:
    """`routing.applies_to` keeps out only what a client names."""
    app = service(FixedClassifier(CONFIDENT), "routing: {applies_to: [auto]}\n")

    assert ask(app, "POST", CHAT, json={"messages": TURNS, **model}).json()["reason"] == "matched"


@every_api
def test_second_call_is_answered_from_the_cache(path: str, service: Service, ask: Ask) -> None:
    """The same conversation is classified once; the second decision says so, and that its session is known."""
    classifier = FixedClassifier(CONFIDENT)
    app = service(classifier)

    first, second = (ask(app, "POST", path, json=CALLS[path]).json() for _ in range(2))

    varying = {"source": "cache", "pinned": True, "latency_ms": second["latency_ms"], "trace_id": second["trace_id"]}
    assert second == {**first, **varying}
    assert len(classifier.calls) == 1


@every_api
@pytest.mark.parametrize("inline", INLINE_FORMS.values(), ids=INLINE_FORMS)
def test_inline_policy_replaces_the_configured_one(
    path: str, inline: Mapping[str, Any], service: Service, ask: Ask
) -> None:
    """Both inline forms choose among their own routes, for that call alone."""
    app = service(FixedClassifier({"poems": 0.8, **CONFIDENT}))

    said = ask(app, "POST", path, json={**CALLS[path], **inline}).json()
    after = ask(app, "POST", path, json=CALLS[path]).json()

    chosen = {"model": "openai/gpt-4o", "models": ["openai/gpt-4o"], "route": "poems", "policy": "inline"}
    assert said.items() >= chosen.items()
    assert said["scores"] == {"poems": 0.8, "other": 0.2}
    assert (after["route"], after["policy"]) == ("code_generation", "config")


@every_api
@pytest.mark.parametrize("inline", INLINE_FORMS.values(), ids=INLINE_FORMS)
@pytest.mark.parametrize("headers", [{}, {"x-plano-routing": "off"}], ids=["routed", "bypassed"])
def test_inline_policy_of_a_service_that_denies_them_is_refused(
    path: str, inline: Mapping[str, Any], headers: Mapping[str, str], service: Service, ask: Ask
) -> None:
    """`routing.inline: deny` answers 403 and never ignores a policy, though the call asks not to be routed."""
    app = service(FixedClassifier(CONFIDENT), "routing: {inline: deny}\n")

    answer = ask(app, "POST", path, json={**CALLS[path], **inline}, headers=headers)

    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (403, "permission_error")
    assert error.get("code", "inline_policy_not_allowed") == "inline_policy_not_allowed"
    assert "does not allow inline routing policies" in error["message"]


@pytest.mark.parametrize(
    ("parent", "continued"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        ("4bf92f3577b34da6a3ce929d0e0e4736", False),
        ("", False),
    ],
    ids=["valid", "no trace", "no parent", "version ff", "upper case", "id alone", "empty"],
)
def test_trace_is_continued_where_there_is_one(parent: str, continued: bool, ask_fixed: Ask) -> None:  # noqa: FBT001 - a table
    """`trace_id` is that of a valid `traceparent`, else a new one."""
    answer = ask_fixed("POST", CHAT, json=CALLS[CHAT], headers={"traceparent": parent})

    trace_id = answer.json()["trace_id"]
    assert re.fullmatch(r"(?!0{32})[0-9a-f]{32}", trace_id)
    assert (trace_id == "4bf92f3577b34da6a3ce929d0e0e4736") == continued


@every_api
@pytest.mark.parametrize("more", [{}, {"stream": "yes"}], ids=["decision", "error"])
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("req-1.a_B", r"req-1\.a_B"),
        ("x" * 128, "x{128}"),
        ("x" * 129, NEW_REQUEST_ID),
        ("a b", NEW_REQUEST_ID),
        ("\xe9", NEW_REQUEST_ID),
        ("", NEW_REQUEST_ID),
    ],
    ids=["plain", "longest", "too long", "space", "beyond ASCII", "none"],
)
def test_request_id_is_the_client_s_where_harmless(
    path: str, more: Mapping[str, str], given: str, named: str, ask_fixed: Ask
) -> None:
    """Every answer names the request, in the header of its API: with the client's id or a new one."""
    headers = {"x-request-id": given.encode("latin-1")}

    answer = ask_fixed("POST", path, json={**CALLS[path], **more}, headers=headers)

    request_id = answer.headers["request-id" if path == MESSAGES else "x-request-id"]
    assert re.fullmatch(named, request_id)
    assert answer.json().get("request_id", request_id) == request_id


def test_server_that_gives_no_raw_path_is_served_too(service: Service, ask: Ask) -> None:
    """ASGI leaves `raw_path` to the server: None is no path with an encoded slash."""
    app = service(FixedClassifier(CONFIDENT))

    async def without_raw_path(scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the call on as a server does that does not keep the path as sent."""
        await app({**scope, "raw_path": None}, receive, send)

    assert ask(without_raw_path, "POST", CHAT, json=CALLS[CHAT]).json()["route"] == "code_generation"


def test_endpoints_switched_off_are_not_there(service: Service, ask: Ask) -> None:
    """`endpoints: false` leaves health alone to be served."""
    app = service(FixedClassifier(CONFIDENT), "endpoints: false\n")

    assert ask(app, "POST", CHAT, json=CALLS[CHAT]).status_code == 404
    assert ask(app, "GET", "/healthz").status_code == 200
