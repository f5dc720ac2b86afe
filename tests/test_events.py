"""What is logged: one line a call, to whom the host says, and never what a user wrote."""

import logging
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from time import sleep
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from plano_asgi import events
from plano_asgi.conversation import LLMCall
from plano_asgi.errors import ClassificationError, RoutingUnavailableError
from plano_asgi.policy import Rules
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.providers import ModelCatalog
from plano_asgi.router import OnError, Router
from plano_asgi.stores import MemoryStore
from plano_asgi.testing import FixedClassifier

PLANTED = "planted words of a user"
CALL = LLMCall.from_text(PLANTED)
POLICY = RoutingPolicy(
    preferences=(RoutingPreference(name="code", description="writing code", models=("openai/gpt-4o",)),)
)


@pytest.fixture(autouse=True)
def _structlog_as_imported() -> Iterator[None]:
    """Undo what a test configures."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def new_router(*, error: Exception | None = None, on_error: str = "default", deadline_ms: float = 5_000) -> Router:
    """Return a router that finds code in everything, or whose classifier raises."""

    def before() -> None:
        if error:
            raise error

    return Router(
        classifier=FixedClassifier({"code": 0.87654}, before=before),
        policy=POLICY,
        catalog=ModelCatalog(providers=()),
        rules=Rules(threshold=0.5, default_model="openai/gpt-4o-mini", applies_to=("auto",)),
        cache=MemoryStore(size=10),
        on_error=OnError(on_error),
        deadline_ms=deadline_ms,
    )


def without_latency(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry less its latency, which is some number of milliseconds."""
    rest = dict(entry)
    assert isinstance(rest.pop("latency_ms"), float)
    return rest


def test_a_call_is_one_line_with_exactly_these_fields() -> None:
    """A routed call logs one line at info: its route, model, reason, sources, rounded confidence and time."""
    router = new_router()

    with capture_logs() as logs:
        router.route(CALL)

    (line,) = logs
    assert without_latency(line) == {
        "event": "plano.call_routed",
        "log_level": "info",
        "api_format": "chat_completions",
        "route": "code",
        "model": "openai/gpt-4o",
        "reason": "matched",
        "source": "classifier",
        "policy": "config",
        "confidence": 0.877,
        "classifier": "fixed",
        "stage": None,
        "failed_stage": None,
    }


@pytest.mark.parametrize(
    ("call", "bypass", "reason", "source"),
    [
        (CALL, False, "matched", "cache"),
        (CALL, True, "bypassed", "none"),
        (replace(CALL, model="gpt-4"), False, "not_applicable", "none"),
        (LLMCall.from_text(" "), False, "no_match", "none"),
    ],
    ids=["cached", "bypassed", "not-applicable", "no-text"],
)
def test_every_call_is_one_line(call: LLMCall, *, bypass: bool, reason: str, source: str) -> None:
    """Calls that are not classified log the same one line, with the same fields."""
    router = new_router()
    with capture_logs() as classified:
        router.route(CALL)

    with capture_logs() as logs:
        router.route(call, bypass=bypass)

    (line,) = logs
    assert line.keys() == classified[0].keys()
    assert (line["event"], line["reason"], line["source"]) == ("plano.call_routed", reason, source)


def test_a_failure_is_told_besides_and_not_in_the_users_words() -> None:
    """A classifier that fails logs one warning that names the error, and nothing of what the error quotes."""
    router = new_router(error=ValueError(PLANTED))

    with capture_logs() as logs:
        router.route(CALL)

    failure, line = logs
    assert failure == {
        "event": "plano.classifier_failed",
        "log_level": "warning",
        "error": "ClassificationError",
        "detail": "ValueError in the classifier",
        "on_error": "default",
    }
    assert (line["event"], line["reason"], line["confidence"]) == ("plano.call_routed", "error", None)
    assert PLANTED not in repr(logs)


def test_a_rejected_call_logs_its_failure_only() -> None:
    """Under `reject` a failure is logged, and no decision, for there is none."""
    router = new_router(error=ClassificationError("no answer"), on_error="reject")

    with capture_logs() as logs, pytest.raises(RoutingUnavailableError):
        router.route(CALL)

    assert [(line["event"], line["on_error"]) for line in logs] == [(events.CLASSIFIER_FAILED, "reject")]


def test_no_line_holds_what_the_user_wrote() -> None:
    """Neither message text nor a description of a route is in any line."""
    router = new_router()

    with capture_logs() as logs:
        router.start()
        router.route(CALL)
        router.route(replace(CALL, inline_policy=None))

    assert len(logs) == 3
    assert PLANTED not in repr(logs)
    assert "writing code" not in repr(logs)


@pytest.mark.parametrize(
    ("deadline_ms", "expected"),
    [(5_000, ["plano.classifier_ready"]), (0.000_001, ["plano.classifier_ready", "plano.classifier_slow"])],
    ids=["fast", "slow"],
)
def test_starting_tells_how_fast_the_classifier_is(deadline_ms: float, expected: list[str]) -> None:
    """Start-up logs the timed classification, and warns where it takes more than half of the deadline."""
    router = new_router(deadline_ms=deadline_ms)

    with capture_logs() as logs:
        router.start()

    assert [line["event"] for line in logs] == expected
    assert all(line["classifier"] == "fixed" and line["deadline_ms"] == deadline_ms for line in logs)


def test_starting_warns_from_half_of_the_deadline_on() -> None:
    """A classification that takes more than half of the deadline, and less than all of it, is slow already."""
    router = new_router(deadline_ms=200)
    router.classifier = FixedClassifier({"code": 1.0}, before=lambda: sleep(0.11))

    with capture_logs() as logs:
        router.start()

    assert [line["event"] for line in logs] == ["plano.classifier_ready", "plano.classifier_slow"]


def test_a_host_with_structlog_gets_the_events_there() -> None:
    """Where the host has configured structlog, its processors see the events."""
    seen: list[str] = []

    def keep(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        seen.append(event["event"])
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    new_router().route(CALL)

    assert seen == ["plano.call_routed"]


def test_a_host_with_standard_logging_gets_the_events_there(caplog: pytest.LogCaptureFixture) -> None:
    """Without structlog, events are records of the logger `plano_asgi`, with their fields as attributes."""
    router = new_router(error=ValueError("bad"))

    with caplog.at_level(logging.INFO, "plano_asgi"):
        router.route(CALL)

    assert [(record.name, record.levelname, record.message) for record in caplog.records] == [
        ("plano_asgi", "WARNING", "plano.classifier_failed"),
        ("plano_asgi", "INFO", "plano.call_routed"),
    ]
    assert vars(caplog.records[1])["reason"] == "error"


def test_a_host_that_wants_warnings_only_gets_no_line_per_call(caplog: pytest.LogCaptureFixture) -> None:
    """A level set while calls arrive counts from the next call on."""
    router = new_router()

    for level in (logging.WARNING, logging.INFO, logging.WARNING):
        with caplog.at_level(level, "plano_asgi"):
            router.route(CALL)

    assert [record.message for record in caplog.records] == ["plano.call_routed"]


def test_the_library_is_silent_by_default() -> None:
    """In a process that configures no logging, calls that succeed and calls that fail print nothing."""
    program = """
from plano_asgi import LLMCall, RoutingPolicy, RoutingPreference, Router
from plano_asgi.policy import Rules
from plano_asgi.providers import ModelCatalog
from plano_asgi.stores import MemoryStore
from plano_asgi.testing import FixedClassifier

policy = RoutingPolicy(preferences=(RoutingPreference(name="code", description="code", models=("openai/a",)),))
for before in (lambda: None, lambda: 1 / 0):
    router = Router(
        classifier=FixedClassifier({"code": 0.9}, before=before),
        policy=policy,
        catalog=ModelCatalog(providers=()),
        rules=Rules(threshold=0.5, default_model=None),
        cache=MemoryStore(size=1),
        deadline_ms=5_000,
    )
    router.route(LLMCall.from_text("hello"))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


class Deaf:
    """A listener that raises."""

    def heard(self, event: str, fields: Mapping[str, object]) -> None:
        """Fail."""
        raise OSError(event)


def test_a_listener_that_fails_takes_no_event_from_anybody() -> None:
    """Where a listener raises, the event is logged all the same, and the call goes on."""
    deaf = Deaf()
    events.listen(deaf)

    with capture_logs() as logs:
        new_router().route(CALL)

    assert [line["event"] for line in logs] == ["plano.call_routed"]
    del deaf


def test_events_of_a_call_bear_its_identity_and_others_do_not() -> None:
    """Within an identity each event has its request and trace; a `traceparent` that is none begins a new trace."""
    mine = events.CallIdentity(request_id="mine", traceparent="00-c16d1096c1af4a17abb48fb182918a88-00f067aa0ba902b7-01")
    with capture_logs() as logs, events.identified(mine):
        new_router().route(CALL)
    with capture_logs() as others:
        new_router().route(CALL)

    assert (logs[0]["request_id"], logs[0]["trace_id"]) == ("mine", "c16d1096c1af4a17abb48fb182918a88")
    assert "request_id" not in others[0]
    assert re.fullmatch(r"[0-9a-f]{32}", events.CallIdentity(request_id="x", traceparent="00-0-0-00").trace_id)
