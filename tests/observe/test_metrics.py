"""Metrics: what is counted, by which labels, who is shown them, and that the dashboard asks for what there is."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from plano_asgi import PlanoMiddleware
from plano_asgi.events import get_logger
from plano_asgi.observe.metrics import GENAI_METRICS, METRICS, MetricKind
from plano_asgi.testing import FixedClassifier

ROOT = Path(__file__).parents[2]
CHAT = "/v1/chat/completions"
ROUTING = "/routing/v1/chat/completions"
CALL = {"model": "gpt-4o", "messages": [{"role": "user", "content": "write a function"}]}
CODE = {"code": 0.9}
HERE = {"base_url": "http://127.0.0.1"}
SETTINGS = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing functions}]
"""

App = Callable[..., Starlette]
Ask = Callable[..., httpx.Response]
Values = dict[tuple[str, ...], float]


def scraped(ask: Ask, app: Any, **request: Any) -> dict[str, Values]:
    """Return every sample by its name, and by its labels' values in the order of their names."""
    answer = ask(app, "GET", "http://127.0.0.1/metrics", **request)
    assert answer.status_code == 200, answer.text
    return samples(answer.text)


def samples(text: str) -> dict[str, Values]:
    """Return the samples of an exposition."""
    found: dict[str, Values] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_decisions_are_counted_by_what_came_of_them(app_of: App, ask: Ask) -> None:
    """Each decision counts once, the second of the same call as the cache's."""
    app = app_of(SETTINGS, FixedClassifier(CODE))
    for _ in range(3):
        ask(app, "POST", ROUTING, json=CALL)

    found = scraped(ask, app)
    api_classifier_model = ("chat_completions", "fixed", "openai/gpt-4o", "matched", "code")
    assert found["plano_decisions_total"] == {
        (*api_classifier_model, "classifier", "none"): 1,
        (*api_classifier_model, "cache", "none"): 2,
    }
    assert found["plano_decision_duration_seconds_count"] == {("fixed", "classifier"): 1, ("fixed", "cache"): 2}
    assert found["plano_queue_depth"] == {(): 0}


def test_labels_come_from_the_configuration_only(app_of: App, ask: Ask) -> None:
    """What callers make up is no label's value: their models are `other`, routes of their own `inline`."""
    app = app_of(SETTINGS + "routing: {unmatched: requested}\n", FixedClassifier({"code": 0.0, "mine": 0.9}))
    own = [{"name": "mine", "description": "made up", "models": ["openai/gpt-4o"]}]
    ask(app, "POST", ROUTING, json={**CALL, "routing_preferences": own})
    ask(app, "POST", ROUTING, json={**CALL, "model": "made-up-4711"})

    routes = {(labels[2], labels[4]) for labels in scraped(ask, app)["plano_decisions_total"]}
    assert routes == {("openai/gpt-4o", "inline"), ("other", "none")}
    assert "4711" not in ask(app, "GET", "http://127.0.0.1/metrics").text


def test_served_calls_are_measured_from_first_attempt_to_last_token(app_of: App, ask: Ask, forwarding: str) -> None:
    """Calls, attempts, breakers, tokens, cost and times of calls that are served here are all there."""
    app = app_of(forwarding, FixedClassifier(CODE))
    for more in ({}, {"stream": True}):
        assert ask(app, "POST", CHAT, json={**CALL, **more}).status_code == 200

    found = scraped(ask, app)
    assert found["plano_calls_total"] == {("chat_completions", "complete", "openai/gpt-4o", "code"): 2}
    assert found["plano_attempts_total"] == {("mistral/down", "server_error"): 2, ("openai/gpt-4o", "answered"): 2}
    assert found["plano_breaker_state"] == {("mistral/down",): 0, ("openai/gpt-4o",): 0}
    assert found["plano_tokens_total"] == {("openai/gpt-4o", "input"): 14, ("openai/gpt-4o", "output"): 8}
    assert found["plano_cost_usd_total"] == {("openai/gpt-4o", "code"): 0.03}
    assert found["plano_call_duration_seconds_count"] == {("chat_completions", "openai/gpt-4o"): 2}
    assert found["plano_first_token_duration_seconds_count"] == {("openai/gpt-4o",): 1}
    assert found["plano_attempt_duration_seconds_count"].keys() == found["plano_attempts_total"].keys()


def test_breaker_that_opens_is_seen(app_of: App, ask: Ask, forwarding: str) -> None:
    """A model whose breaker its latest attempt has opened shows 2."""
    app = app_of(forwarding + "failover: {breaker_failures: 1}\n", FixedClassifier(CODE))
    ask(app, "POST", CHAT, json=CALL)

    assert scraped(ask, app)["plano_breaker_state"][("mistral/down",)] == 2


def test_losses_of_a_translation_are_counted(app_of: App, ask: Ask, forwarding: str) -> None:
    """What a provider of another API could not be told counts, by the caller's API and the model."""
    app = app_of(forwarding, FixedClassifier(CODE))
    call = {"model": "x", "max_tokens": 9, "top_k": 3, "messages": [{"role": "user", "content": "hi"}]}
    answer = ask(app, "POST", "/v1/messages", json=call)

    lost = len(answer.headers["x-plano-losses"].split(", "))
    assert scraped(ask, app)["plano_losses_total"] == {("messages", "openai/gpt-4o"): lost}


def test_what_is_refused_and_what_goes_wrong_is_counted(app_of: App, ask: Ask) -> None:
    """Refusals count by their code, failures that a call survives by their event."""
    app = app_of(SETTINGS, FixedClassifier(CODE, before=lambda: 1 / 0))
    ask(app, "POST", ROUTING, content=b"{", headers={"content-type": "application/json"})
    ask(app, "POST", ROUTING, json=CALL)

    found = scraped(ask, app)
    assert found["plano_refusals_total"] == {("chat_completions", "invalid_json"): 1}
    assert found["plano_problems_total"] == {("plano.classifier_failed",): 1}


def test_limits_that_are_hit_are_counted_by_name(app_of: App, ask: Ask, forwarding: str) -> None:
    """Each attempt for which a limit has no room counts, by the limit's name and what it measures."""
    app = app_of(f"{forwarding}ratelimits: [{{name: one, limit: {{requests: 1, unit: day}}}}]\n", FixedClassifier(CODE))
    statuses = [ask(app, "POST", CHAT, json=CALL).status_code for _ in range(2)]

    assert statuses == [200, 429]
    found = scraped(ask, app)
    assert found["plano_limits_hit_total"].keys() == {("one", "requests")}
    assert found["plano_refusals_total"] == {("chat_completions", "rate_limit_exceeded"): 1}
    assert "plano_problems_total" not in found


def test_verdicts_of_guardrails_are_counted(app_of: App, ask: Ask) -> None:
    """What a guardrail finds in a call counts by filter and verdict, and is no problem; what passes is not counted."""
    app = app_of(SETTINGS + "guardrails: {calls: [{filter: pii}]}\n", FixedClassifier(CODE))
    for text in ("I am a@example.org", "I am nobody"):
        ask(app, "POST", ROUTING, json={"messages": [{"role": "user", "content": text}]})

    found = scraped(ask, app)
    assert found["plano_guardrails_total"] == {("pii", "call", "changed"): 1}
    assert "plano_problems_total" not in found


def test_good_news_is_no_problem(app_of: App, ask: Ask) -> None:
    """Of all events, those alone that are warnings or errors count as problems."""
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8").partition("## Logs")[2]
    levels = dict(re.findall(r"^\| `(plano\.\w+)` \| (\w+) \|", page, re.MULTILINE))
    app = app_of(SETTINGS, FixedClassifier(CODE))
    for event, level in levels.items():
        getattr(get_logger(), level)(event)

    assert {labels[0] for labels in scraped(ask, app)["plano_problems_total"]} == {
        event for event, level in levels.items() if level in {"warning", "error"}
    }


def test_calls_that_go_on_unrouted_are_counted(behind: Callable[..., PlanoMiddleware], ask: Ask) -> None:
    """In an app that has switched metrics on, calls that are not read are counted by what was wrong with them."""

    async def answer(request: Request) -> Response:
        """Read the call."""
        return Response(await request.body())

    app = Starlette(routes=[Route(CHAT, answer, methods=["POST"])])
    wrapped = behind(app, SETTINGS + "telemetry: {prometheus: true}\n", FixedClassifier(CODE))
    ask(wrapped, "POST", CHAT, content=b"{")

    assert scraped(ask, wrapped)["plano_passed_on_total"] == {("chat_completions", "invalid_json"): 1}


def test_an_app_shows_no_metrics_unless_told_to(behind: Callable[..., PlanoMiddleware], ask: Ask) -> None:
    """Behind the middleware, `/metrics` is the app's own."""
    own = Starlette(routes=[Route("/metrics", lambda _: Response("the app's"))])

    answer = ask(behind(own, SETTINGS, FixedClassifier(CODE)), "GET", "http://127.0.0.1/metrics")

    assert answer.text == "the app's"


@pytest.mark.parametrize(
    ("setting", "path", "status"),
    [("prometheus: false", "/metrics", 404), ("metrics_path: /m", "/m", 200), ("metrics_path: /m", "/metrics", 404)],
    ids=["off", "elsewhere", "not-there"],
)
def test_settings_say_where_metrics_are(setting: str, path: str, status: int, app_of: App, ask: Ask) -> None:
    """`telemetry.prometheus` and `telemetry.metrics_path` are obeyed."""
    app = app_of(f"{SETTINGS}telemetry: {{{setting}}}\n", FixedClassifier(CODE))

    assert ask(app, "GET", f"http://127.0.0.1{path}").status_code == status


def test_opentelemetry_has_the_same_metrics_and_those_of_the_conventions(
    app_of: App, ask: Ask, forwarding: str, host: Any
) -> None:
    """The host's meters get every measurement, and the conventions' own metrics under their published names."""
    app = app_of(forwarding, FixedClassifier(CODE))
    for more in ({}, {"stream": True}):
        ask(app, "POST", CHAT, json={**CALL, **more})

    names = host.metric_names()
    published = {value for value in vars(gen_ai_metrics).values() if isinstance(value, str)}
    assert {metric.name for metric in GENAI_METRICS} <= published
    assert {metric.name for metric in GENAI_METRICS} <= names
    kinds = {"plano.decisions", "plano.attempts", "plano.calls", "plano.tokens", "plano.queue.depth"}
    assert kinds <= names


MULTIPROCESS = """
import os
from plano_asgi.observe.metrics import DECISIONS, QUEUE
from plano_asgi.observe.prometheus import PrometheusInstruments

instruments = PrometheusInstruments()
labels = ("chat_completions", "code", "openai/gpt-4o", "matched", "classifier", "fixed", "none")
for worker in range(3):
    child = os.fork()
    if not child:
        instruments.put(DECISIONS, 1, *labels)
        instruments.put(QUEUE, 2)
        os._exit(0)
    os.waitpid(child, 0)
instruments.put(DECISIONS, 1, *labels)
print(instruments.exposition().decode())
"""


def test_workers_show_the_sums_of_all(tmp_path: Path) -> None:
    """With PROMETHEUS_MULTIPROC_DIR, a worker shows what all of them have counted, those that were forked off too."""
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", MULTIPROCESS], env=environ, capture_output=True, text=True, check=True)

    assert list(samples(ran.stdout)["plano_decisions_total"].values()) == [4]


def documented() -> dict[str, str]:
    """Return the metrics of the page's table, with their labels as written."""
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    page = page.partition("## Metrics")[2].partition("## Logs")[0]
    return dict(re.findall(r"^\| `((?:plano|gen_ai)[\w.]+)` \|([^|]*)\|", page, re.MULTILINE))


def test_every_metric_is_documented_with_its_labels() -> None:
    """The tables of docs/observability.md list the metrics there are, with their labels, and no other."""
    real = {metric.prometheus_name: metric.labels for metric in METRICS}
    real |= {metric.name: metric.labels for metric in GENAI_METRICS}
    real["plano_build_info"] = ("version",)

    assert {name: tuple(re.findall(r"`([\w.]+)`", labels)) for name, labels in documented().items()} == real


def exported() -> set[str]:
    """Return every name of a sample that Prometheus can be asked for."""
    histograms = [metric.prometheus_name for metric in METRICS if metric.kind is MetricKind.HISTOGRAM]
    others = [metric.prometheus_name for metric in METRICS if metric.kind is not MetricKind.HISTOGRAM]
    return {
        *others,
        "plano_build_info",
        *(f"{name}_{end}" for name in histograms for end in ("bucket", "sum", "count")),
    }


def test_dashboard_asks_for_what_there_is() -> None:
    """Every metric and label in the dashboard's questions exists, and every metric is shown somewhere."""
    dashboard = json.loads((ROOT / "docs" / "grafana" / "plano.json").read_text(encoding="utf-8"))
    questions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    named = {name for question in questions for name in re.findall(r"\bplano_\w+", question)}
    labels = {
        name for question in questions for by in re.findall(r"by \(([^)]*)\)", question) for name in by.split(", ")
    }

    assert named <= exported()
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} >= {
        metric.prometheus_name for metric in METRICS
    }
    assert labels <= {label for metric in METRICS for label in metric.labels} | {"le", "version"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) > 8
