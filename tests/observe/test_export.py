"""What leaves the process: OTLP to a real receiver, and no canary to anybody."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import enumerate as enumerate_threads
from time import monotonic
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from starlette.applications import Starlette
from structlog.testing import capture_logs

from plano_asgi import PlanoMiddleware
from plano_asgi.errors import ConfigurationError, MissingExtraError
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

KEY, PROMPT, ANSWER = "sk-canary-of-a-key", "canary words of a caller", "canary words of a model"
CHAT = "/v1/chat/completions"
CALL: Mapping[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}]}
CODE = {"code": 0.9}

Ask = Callable[..., httpx.Response]


def lived(app: Starlette, *calls: Mapping[str, Any]) -> None:
    """Make calls to an app within its lifespan, as a server does."""

    async def live() -> None:
        """Start it, ask it and stop it."""
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://plano.test")
        async with app.router.lifespan_context(app), client:
            for call in calls:
                await client.post(CHAT, json=call)

    anyio.run(live)


def attributes(span: Any) -> dict[str, Any]:
    """Return the attributes of a span as protobuf."""
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value")) for entry in span.attributes}


def test_receiver_gets_spans_and_metrics_over_otlp(
    app_of: Callable[..., Starlette], forwarding: str, receiver: Any
) -> None:
    """`telemetry.otlp` sends both to a receiver, and all of it by the time the service has stopped."""
    app = app_of(f"{forwarding}telemetry: {{otlp: '{receiver.url}'}}\n", FixedClassifier(CODE))

    lived(app, CALL, {**CALL, "stream": True})

    assert set(receiver.spans) == {"chat gpt-4o", "plano.decide", "plano.attempt"}
    call = receiver.spans["chat gpt-4o"]
    assert attributes(call)["gen_ai.provider.name"] == "openai"
    assert attributes(call)["gen_ai.usage.output_tokens"] == 4
    assert receiver.spans["plano.decide"].trace_id == call.trace_id
    assert {"gen_ai.client.operation.duration", "gen_ai.client.token.usage", "plano.decisions"} <= set(receiver.metrics)
    duration = receiver.metrics["gen_ai.client.operation.duration"]
    assert duration.unit == "s"
    (point,) = duration.histogram.data_points
    assert (point.count, point.explicit_bounds[0], point.explicit_bounds[-1]) == (2, 0.01, 81.92)
    assert receiver.services == {"plano-asgi"}


def test_standard_variables_name_receiver_and_service(
    app_of: Callable[..., Starlette], forwarding: str, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the setting, the variables that every OpenTelemetry SDK reads are obeyed."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")

    lived(app_of(forwarding, FixedClassifier(CODE)), CALL)

    assert "chat gpt-4o" in receiver.spans
    assert receiver.services == {"mine"}


def test_variable_of_the_platform_is_no_reason_not_to_start(
    app_of: Callable[..., Starlette], ask: Ask, forwarding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the variables name a receiver and the extra is not installed, calls are served, and one warning says so."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delitem(sys.modules, "plano_asgi.observe.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    with capture_logs() as logs:
        app = app_of(forwarding, FixedClassifier(CODE))

    assert ask(app, "POST", CHAT, json=CALL).status_code == 200
    assert [line["event"] for line in logs] == ["plano.settings_ignored"]


def test_receiver_that_is_away_keeps_nobody_waiting(
    app_of: Callable[..., Starlette], forwarding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a receiver that cannot be reached, calls are served, and the service still stops in seconds."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "4")
    others = set(enumerate_threads())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        place = f"http://127.0.0.1:{probe.getsockname()[1]}"
    app = app_of(f"{forwarding}telemetry: {{otlp: '{place}'}}\n", FixedClassifier(CODE))

    started = monotonic()
    lived(app, CALL)
    assert monotonic() - started < 8
    for thread in set(enumerate_threads()) - others:  # what tries to send draws random numbers
        thread.join(30)


def test_an_app_sends_nothing_by_itself(
    behind: Callable[..., PlanoMiddleware], ask: Ask, forwarding: str, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within somebody's app nothing is set up or sent, whatever the variables say: that is the host's to do."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    text = f"{forwarding}telemetry: {{otlp: '{receiver.url}'}}\n"

    app = behind(Starlette(), text, FixedClassifier(CODE))
    ask(app, "POST", CHAT, json=CALL)

    assert app._service.observation.export is None  # noqa: SLF001 - that something is not there
    assert receiver.bodies == []


def everything_said(app: Starlette, ask: Ask, host: Any) -> dict[str, str]:
    """Return all that can be seen of calls that succeed, fail and are refused, by where it can be seen."""
    said: dict[str, str] = {}
    with capture_logs() as logs:
        for more in ({}, {"stream": True}, {"model": "down"}):
            ask(app, "POST", CHAT, json={**CALL, **more}, headers={"authorization": f"Bearer {KEY}"})
        said["error"] = ask(app, "POST", CHAT, json={"messages": PROMPT, "n": KEY}).text
    spans: tuple[ReadableSpan, ...] = host.spans.get_finished_spans()
    said["logs"] = repr(logs)
    said["spans"] = "".join(span.to_json() for span in spans)
    said["otel metrics"] = host.metrics.get_metrics_data().to_json()
    said["metrics"] = ask(app, "GET", "http://127.0.0.1/metrics").text
    said["decision log"] = ask(app, "GET", "http://127.0.0.1/routing/v1/decisions").text
    service = app.state.service
    parts = (service, service.settings, service.observation, service.gateway, service.observation.observer.journal)
    said["repr"] = "".join(map(repr, parts))
    assert all(said.values())
    return said


def test_no_canary_is_seen_anywhere(app_of: Callable[..., Starlette], ask: Ask, forwarding: str, host: Any) -> None:
    """Keys, and what callers and models wrote, are in no log, span, metric, entry, error or `repr`."""
    said = everything_said(app_of(forwarding, FixedClassifier(CODE)), ask, host)

    for canary in (KEY, PROMPT, ANSWER):
        assert [place for place, text in said.items() if canary in text] == []


def test_content_is_captured_where_that_is_switched_on(
    app_of: Callable[..., Starlette], ask: Ask, forwarding: str, host: Any
) -> None:
    """`telemetry.capture_content` puts prompts into spans, `decision_log.content` into the log; no further."""
    more = "telemetry: {capture_content: true}\ndecision_log: {content: conversation}\n"
    said = everything_said(app_of(forwarding + more, FixedClassifier(CODE)), ask, host)

    assert {place for place, text in said.items() if PROMPT in text} == {"spans", "decision log"}
    assert [place for place, text in said.items() if KEY in text] == []
    (message,) = json.loads(dict(host.span("chat gpt-4o").attributes)["gen_ai.input.messages"])
    assert message == {"role": "user", "parts": [{"type": "text", "content": PROMPT}]}


WITHOUT = """
import sys
for name in ("opentelemetry", "prometheus_client", "redis", "sqlite3"):
    sys.modules[name] = None
from plano_asgi.assembly import build_service
from plano_asgi.conversation import LLMCall
from plano_asgi.settings import load_settings
service = build_service(load_settings(environ={"PLANO_MODEL_PROVIDERS__0__MODEL": "openai/a",
    "PLANO_MODEL_PROVIDERS__0__DEFAULT": "true"}), in_host=False)
service.router.route(LLMCall.from_text("hello"))
observer = service.observation.observer
print(observer.tracing, observer.measures, len(observer.journal.newest(limit=9).entries))
"""


def test_nothing_optional_is_needed(tmp_path: Path) -> None:
    """Without OpenTelemetry, prometheus_client, redis and sqlite3, decisions are made and kept."""
    environ = {"PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run([sys.executable, "-c", WITHOUT], env=environ, cwd=tmp_path, capture_output=True, check=False)

    assert (ran.stdout, ran.stderr) == (b"None None 1\n", b"")


@pytest.mark.parametrize(
    ("package", "setting", "extra"),
    [
        ("opentelemetry.sdk.trace", "otlp: 'http://127.0.0.1:4318'", "otel"),
        ("prometheus_client", "prometheus: true", "prometheus"),
    ],
    ids=["otlp", "prometheus"],
)
def test_missing_extra_is_told_at_start_up(
    package: str, setting: str, extra: str, app_of: Callable[..., Starlette], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting whose packages are not installed is refused with the command that installs them."""
    for name in ("plano_asgi.observe.otlp", "plano_asgi.observe.prometheus"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    text = f"model_providers: [{{model: openai/a, default: true}}]\ntelemetry: {{{setting}}}\n"

    with pytest.raises(MissingExtraError, match=rf"pip install 'plano-asgi\[{extra}\]'"):
        app_of(text, FixedClassifier({}))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("decision_log: {store: sqlite}", "decision_log.path"),
        ("decision_log: {store: redis}", "decision_log.store"),
        ("decision_log: {size: 0}", "decision_log.size"),
        ("telemetry: {otlp: nowhere}", "telemetry.otlp"),
    ],
    ids=["sqlite", "redis", "size", "otlp"],
)
def test_settings_that_cannot_work_are_faults(text: str, where: str, settings_of: Callable[[str], Settings]) -> None:
    """A log without what its store needs, and values out of range, are told at start-up with their path."""
    with pytest.raises(ConfigurationError) as raised:
        settings_of(f"model_providers: [{{model: openai/a, default: true}}]\n{text}\n")

    assert [fault.where for fault in raised.value.faults] == [where]
