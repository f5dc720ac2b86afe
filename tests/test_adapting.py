"""What adapters share: a router that starts with the first call of a process, whoever makes it."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Final

import pytest
from structlog.testing import capture_logs

from plano_asgi.assembly import Adapted, build_adapted, build_router
from plano_asgi.errors import ArtifactError, ConfigurationError
from plano_asgi.observe.sqlite_decisions import SqliteDecisions
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier, routed_by

ROOT: Final = Path(__file__).parents[1]
CONFIG: Final = """\
model_providers:
  - {model: x/a, default: true}
  - {model: x/b, routing_preferences: [{name: r, description: d}]}
"""
Make = Callable[..., Adapted]


class Broken(FixedClassifier):
    """A classifier whose model is not there."""

    def prepare(self, policy: RoutingPolicy) -> None:
        """Fail."""
        raise ArtifactError("no model")


@pytest.fixture
def make(settings_of: Callable[[str], Settings]) -> Make:
    """Return what makes the objects of an adapter, with a classifier."""

    def adapted(classifier: FixedClassifier, more: str = "", body_bytes: int | None = None) -> Adapted:
        """Make them."""
        settings = settings_of(CONFIG + more)
        router = build_router(settings, classifier=classifier)
        made = build_adapted(settings, asgi_app="the app", body_bytes=body_bytes, router=router)
        assert made
        return made

    return adapted


def test_calls_at_the_same_time_load_one_model(make: Make) -> None:
    """Of several first calls one starts the router, the others wait for it, and later ones do nothing."""
    release = Event()
    classifier = FixedClassifier({"r": 0.9}, before=lambda: release.wait(10))
    made = make(classifier)

    with ThreadPoolExecutor(4) as threads:
        begun = [threads.submit(made.first_call.begin) for _ in range(4)]
        assert not any(one.done() for one in begun)
        release.set()
    made.first_call.begin()

    assert (len(classifier.calls), made.router.is_ready, made.first_call.is_over) == (1, True, True)


def test_first_call_does_not_wait_where_the_model_is_loaded_beside_it(make: Make) -> None:
    """Under `startup: background` the first call goes on at once, and the router is ready later."""
    release, warmed = Event(), Event()

    def warm_up() -> None:
        """Wait to be released."""
        release.wait(10)
        warmed.set()

    made = make(FixedClassifier({}, before=warm_up), "startup: background\n")

    made.first_call.begin()

    assert not made.router.is_ready
    release.set()
    assert warmed.wait(10)


def test_model_that_cannot_be_loaded_fails_no_call(make: Make) -> None:
    """The log says why, once; the call goes on."""
    made = make(Broken({}))

    with capture_logs() as logs:
        made.first_call.begin()
        made.first_call.begin()

    assert [(line["event"], line["detail"]) for line in logs] == [("plano.classifier_failed", "no model")]


def test_rule_of_a_test_needs_no_model_and_leaves_it_to_be_loaded_later(make: Make) -> None:
    """While a rule stands in nothing is loaded, and the first call after it loads the model."""
    classifier = FixedClassifier({})
    made = make(classifier)

    with routed_by({}):
        made.first_call.begin()
        assert (classifier.calls, made.first_call.is_over) == ([], True)
    made.first_call.begin()

    assert len(classifier.calls) == 1


@pytest.mark.parametrize(
    ("frameworks", "bound"), [(None, 700), (500, 500), (900, 700), (0, 0)], ids=["none", "less", "more", "nothing"]
)
def test_smaller_bound_on_bodies_holds(frameworks: int | None, bound: int, make: Make) -> None:
    """Of the settings' bound and the framework's the smaller one holds."""
    made = make(FixedClassifier({}), "limits: {body_bytes: 700}\n", frameworks)

    assert made.calls.body_bytes == bound


def test_report_says_what_a_configuration_comes_to(make: Make) -> None:
    """One line names routes, default, mode and classifier, with the time of one decision."""
    report = make(FixedClassifier({})).report()

    assert report.startswith("1 routes, default x/a, mode rewrite; embedded: one decision in ")


def test_forwarding_is_refused_with_what_serves_it(settings_of: Callable[[str], Settings]) -> None:
    """`mode: forward` is a fault of the setting, with the way to have it."""
    text = "mode: forward\nmodel_providers: [{model: openai/gpt-4o, default: true, access_key: sk-any}]"

    with pytest.raises(ConfigurationError, match=r"mode: .* around the app"):
        build_adapted(settings_of(text), asgi_app="the app")


def test_a_process_that_ends_leaves_no_decision_unwritten(tmp_path: Path) -> None:
    """What is decided just before the end of a process without a lifespan is in the log after it."""
    log = tmp_path / "log.sqlite"
    program = f"""
from plano_asgi.assembly import build_adapted
from plano_asgi.conversation import LLMCall
from plano_asgi.settings import load_settings
from plano_asgi.testing import routed_by
settings = load_settings(environ={{}}, overrides={{
    "model_providers": [{{"model": "x/a", "default": True}}],
    "decision_log": {{"store": "sqlite", "path": {str(log)!r}}},
}})
with routed_by({{}}):
    adapted = build_adapted(settings, asgi_app="the app")
    for number in range(50):
        adapted.router.route(LLMCall.from_text(str(number)))
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environ, check=True)

    assert len(list(SqliteDecisions(log, size=99, ttl_s=60).newest())) == 50
