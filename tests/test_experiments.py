"""Experiments: sessions are dealt by their hash, variants decide them, and shadows change and delay nothing."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any, Final

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from plano_asgi.assembly import build_router, calibration_text
from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
from plano_asgi.decisions import RoutingDecision, Scores
from plano_asgi.errors import ClassifierUnavailableError, ConfigurationError
from plano_asgi.events import (
    CALL_ROUTED,
    CLASSIFIER_FAILED,
    EXPERIMENT_DIFFERS,
    SHADOW_DROPPED,
    CallIdentity,
    identified,
)
from plano_asgi.policy import Calibration, Rules
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.providers import ModelCatalog, ModelProvider
from plano_asgi.router import Experiment, MemorySessions, Router, Sessions
from plano_asgi.router.experimenting import share_of
from plano_asgi.settings import Settings
from plano_asgi.stores import MemoryStore
from plano_asgi.testing import FixedClassifier

SettingsOf = Callable[[str], Settings]

CATALOG: Final = ModelCatalog(
    providers=(
        ModelProvider(model="a/usual", name="a/usual", is_default=True),
        ModelProvider(model="b/other", name="b/other"),
    )
)
USUAL: Final = RoutingPolicy(preferences=(RoutingPreference(name="work", description="work", models=("a/usual",)),))
OTHER: Final = RoutingPolicy(preferences=(RoutingPreference(name="chores", description="it", models=("b/other",)),))
RULES: Final = Rules(threshold=0.5, default_model="a/usual")
DEADLINE_MS: Final = 5_000.0
SESSIONS: Final = 2_000


class Answers:
    """Takes whatever route there is, as far as it is sure of it; may be held up, and may fail."""

    kind: Final = "answers"
    threshold: Final = 0.5
    deadline_ms: Final = DEADLINE_MS
    parallelism: Final = 1

    def __init__(self, chance: float = 0.9, *, fails: bool = False) -> None:
        """Answer at once, until it is told otherwise."""
        self.revision = f"answers-{id(self)}"
        self.chance, self.fails, self.asked, self.prepared = chance, fails, 0, list[RoutingPolicy]()
        self.may_answer = Event()
        self.may_answer.set()

    def prepare(self, policy: RoutingPolicy) -> None:
        """Take note."""
        self.prepared.append(policy)

    def classify(self, conversation: Any, policy: RoutingPolicy, **_: Any) -> Scores:
        """Return the chance of the first route."""
        del conversation
        self.asked += 1
        self.may_answer.wait(10)
        if self.fails:
            raise ClassifierUnavailableError("it is elsewhere")
        return Scores(routes={policy.preferences[0].name: self.chance}, other=1 - self.chance)

    def close(self) -> None:
        """Do nothing."""


RouterOf = Callable[..., Router]


@pytest.fixture
def router_of() -> Iterator[RouterOf]:
    """Return what makes a router of experiments."""
    made: list[Router] = []

    def make(*experiments: Experiment, classifier: Answers | None = None, queue: int = 8) -> Router:
        router = Router(
            classifier=classifier or Answers(),
            policy=USUAL,
            catalog=CATALOG,
            rules=RULES,
            cache=MemoryStore(size=100, ttl_s=60),
            deadline_ms=DEADLINE_MS,
            queue=queue,
            sessions=Sessions(store=MemorySessions(size=100, ttl_s=60), secret=b"any"),
            experiments=experiments,
        )
        made.append(router)
        return router

    yield make
    for router in made:
        router.close()


def experiment(name: str = "try", share: float = 1.0, **more: Any) -> Experiment:
    """Return an experiment that decides by other routes, unless it is told otherwise."""
    told: dict[str, Any] = {"is_shadow": False, "policy": OTHER, "rules": RULES, "deadline_ms": DEADLINE_MS}
    return Experiment(name=name, share=share, **(told | more))


def call_of(*said: str, **more: Any) -> LLMCall:
    """Return a chat in which the user has said all that."""
    conversation = tuple(Message(role=Role.USER, text=text) for text in said)
    return LLMCall(api_format=ApiFormat.CHAT_COMPLETIONS, conversation=conversation, **more)


def arm_of(decision: RoutingDecision) -> tuple[str, str] | None:
    """Return name and arm of the experiment that a decision belongs to."""
    return (decision.trial.experiment, decision.trial.arm) if decision.trial else None


def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so, five seconds at the most."""
    deadline = monotonic() + 5
    while not is_so():
        assert monotonic() < deadline, "it never came to be"
        sleep(0.005)


def test_variant_decides_and_says_so(router_of: RouterOf) -> None:
    """A session of an experiment goes where that decides, on threads and on event loops alike."""
    router = router_of(experiment())

    decision = router.route(call_of("hello"))
    same = anyio.run(router.aroute, call_of("hello"))

    assert (decision.route, decision.would_use, arm_of(decision)) == ("chores", "b/other", ("try", "variant"))
    assert (same.route, same.would_use, same.trial) == (decision.route, decision.would_use, decision.trial)


def test_another_threshold_matches_what_was_missed(router_of: RouterOf) -> None:
    """The same scores make another decision by another threshold, without being asked for again."""
    classifier = Answers(0.4)
    usual, bold = (
        router_of(*experiments, classifier=classifier)
        for experiments in ((), (experiment(policy=USUAL, rules=replace(RULES, threshold=0.3)),))
    )

    assert (usual.route(call_of("x")).route, bold.route(call_of("x")).route) == (None, "work")


def test_own_classifier_decides_instead(router_of: RouterOf) -> None:
    """Where an experiment brings a classifier, that one is asked and the router's is not."""
    usual, own = Answers(), Answers(0.1)
    router = router_of(experiment(policy=USUAL, classifier=own), classifier=usual)

    assert router.route(call_of("x")).route is None
    assert (usual.asked, own.asked) == (0, 1)


def test_session_keeps_its_arm(router_of: RouterOf) -> None:
    """Turn by turn, in any worker and whatever else is said, a session stays in its experiment or out of it."""
    workers = [router_of(experiment("half", 0.5)) for _ in range(2)]
    for number in range(40):
        first = f"session {number}"
        arms = {arm_of(worker.route(call_of(first, *more))) for worker in workers for more in ((), ("b",), ("b", "c"))}
        assert len(arms) == 1
    explicit = {arm_of(workers[0].route(call_of(text, affinity="mine"))) for text in ("a", "b", "c", "d", "e")}
    assert len(explicit) == 1


def test_shares_are_what_is_written(router_of: RouterOf) -> None:
    """Of 2,000 sessions each experiment has its share, within four standard deviations, and the rest has none."""
    router = router_of(experiment("first", 0.1), experiment("second", 0.3))
    dealt = Counter(arm_of(router.route(call_of(f"session {number}"))) for number in range(SESSIONS))

    for arm, share in ((("first", "variant"), 0.1), (("second", "variant"), 0.3), (None, 0.6)):
        assert abs(dealt[arm] - SESSIONS * share) < 4 * (SESSIONS * share * (1 - share)) ** 0.5


def test_sessions_are_dealt_by_their_hash_alone() -> None:
    """Where a session stands is its key read as a fraction: no chance, no clock and no process comes in."""
    key = blake2b(b"any", digest_size=16).hexdigest()

    assert share_of("0" * 32) == 0.0
    assert share_of("8" + "0" * 31) == 0.5
    assert share_of("f" * 16 + "0" * 16) <= 1.0
    assert share_of(key) == int(key[:16], 16) / 2**64


def test_growing_share_keeps_those_who_are_in() -> None:
    """A key that is below a share is below a greater one."""
    keys = [blake2b(str(number).encode(), digest_size=16).hexdigest() for number in range(200)]

    assert {key for key in keys if share_of(key) < 0.1} < {key for key in keys if share_of(key) < 0.2}


@pytest.mark.parametrize(
    "call",
    [
        call_of("x", inline_policy=USUAL),
        LLMCall(api_format=ApiFormat.CHAT_COMPLETIONS, conversation=()),
        call_of("x", previous_response="resp_1"),
    ],
    ids=["inline-policy", "nobody-spoke", "unknown-beginning"],
)
def test_call_that_is_no_sessions_is_in_no_experiment(call: LLMCall, router_of: RouterOf) -> None:
    """A call that brings its policy, or whose session nothing tells, is decided as usual."""
    assert router_of(experiment()).route(call).trial is None


def test_bypassed_call_is_in_no_experiment(router_of: RouterOf) -> None:
    """Who asks not to be routed is not tried on."""
    assert router_of(experiment()).route(call_of("x"), bypass=True).trial is None


def test_shadow_changes_nothing_and_tells_the_difference(router_of: RouterOf) -> None:
    """The call goes where it always went; what the shadow would have done is one event, with the call's identity."""
    router = router_of(experiment(is_shadow=True))
    with capture_logs() as logged, identified(CallIdentity(request_id="req-1")):
        decision = router.route(call_of("x"))
        until(lambda: [entry for entry in logged if entry["event"] == EXPERIMENT_DIFFERS])

    assert (decision.route, decision.would_use, arm_of(decision)) == ("work", "a/usual", ("try", "shadow"))
    (told,) = (entry for entry in logged if entry["event"] == EXPERIMENT_DIFFERS)
    shown = {key: told[key] for key in ("experiment", "route", "model", "other_route", "other_model", "request_id")}
    assert shown == {
        "experiment": "try",
        "route": "work",
        "model": "a/usual",
        "other_route": "chores",
        "other_model": "b/other",
        "request_id": "req-1",
    }
    (routed,) = (entry for entry in logged if entry["event"] == CALL_ROUTED)
    assert (routed["experiment"], routed["arm"]) == ("try", "shadow")


def test_shadow_that_agrees_says_nothing(router_of: RouterOf) -> None:
    """Only a difference is told."""
    own = Answers(0.8)
    router = router_of(experiment(is_shadow=True, policy=USUAL, classifier=own))
    with capture_logs() as logged:
        router.route(call_of("x"))
        until(lambda: own.asked)
        router.route(call_of("y"))
        until(lambda: own.asked == 2)

    assert EXPERIMENT_DIFFERS not in [entry["event"] for entry in logged]


def test_slow_shadow_delays_nobody_and_is_dropped_when_full(router_of: RouterOf) -> None:
    """While a shadow hangs, calls are served at once; what it cannot take is dropped, which is told once."""
    own = Answers()
    own.may_answer.clear()
    router = router_of(experiment(is_shadow=True, policy=USUAL, classifier=own), queue=2)
    began = monotonic()
    with capture_logs() as logged:
        decisions = [router.route(call_of(f"call {number}")) for number in range(20)]
        decisions += [anyio.run(router.aroute, call_of("one more"))]
        took_s = monotonic() - began
    own.may_answer.set()

    assert {decision.route for decision in decisions} == {"work"}
    assert took_s < DEADLINE_MS / 1000
    assert [entry["event"] for entry in logged].count(SHADOW_DROPPED) == 1
    until(lambda: own.asked >= 2)
    sleep(0.05)
    assert own.asked <= 3, "one at work, and two that waited"


def test_failing_shadow_is_no_difference(router_of: RouterOf) -> None:
    """A shadow that has no answer is logged as such, and nothing is compared."""
    router = router_of(experiment(is_shadow=True, classifier=Answers(fails=True)))
    with capture_logs() as logged:
        assert router.route(call_of("x")).route == "work"
        until(lambda: [entry for entry in logged if entry["event"] == CLASSIFIER_FAILED])
        sleep(0.05)

    assert EXPERIMENT_DIFFERS not in [entry["event"] for entry in logged]


def test_router_starts_with_a_variant_that_is_down(router_of: RouterOf) -> None:
    """A router starts, and starts again, whose variant has a classifier that cannot be asked."""
    variant = Answers(fails=True)
    router = router_of(experiment(classifier=variant))
    for _ in range(2):
        router.start()
        assert router.is_ready
        assert OTHER in variant.prepared
        assert router.route(call_of("x")).would_use == "a/usual"
        router.close()


FILE: Final = """
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - {model: openai/gpt-4o}
routing_preferences: [{name: code, description: writing code, models: [openai/gpt-4o]}]
"""


def test_settings_make_experiments(settings_of: SettingsOf) -> None:
    """Threshold and routes of the file are those that decide."""
    routes = "[{name: chat, description: small talk, models: [openai/gpt-4o-mini]}]"
    experiments = f"experiments: [{{name: all, share: 1.0, threshold: 0.2, routing_preferences: {routes}}}]"
    router = build_router(settings_of(FILE + experiments), classifier=FixedClassifier({"chat": 0.25}))

    decision = router.route(call_of("hi"))

    assert (decision.route, decision.models, arm_of(decision)) == ("chat", ("openai/gpt-4o-mini",), ("all", "variant"))
    router.close()


def test_experiments_classifier_keeps_its_key(settings_of: SettingsOf) -> None:
    """A key of an experiment's classifier is as secret as that of the main one."""
    classifier = "{kind: remote, base_url: 'http://127.0.0.1:9/v1', access_key: sk-very-secret}"
    settings = settings_of(FILE + f"experiments: [{{name: far, share: 0.5, classifier: {classifier}}}]")

    assert "sk-very-secret" not in repr(settings)
    build_router(settings, classifier=FixedClassifier({})).close()


def test_experiment_is_told_to_clients_log_and_metrics(
    app_of: Callable[..., Starlette], ask: Callable[..., httpx.Response]
) -> None:
    """The answer of a decision endpoint, the decision log and the metrics name experiment and arm."""
    routes = "[{name: chat, description: small talk, models: [openai/gpt-4o-mini]}]"
    written = f"experiments: [{{name: all, share: 1.0, mode: shadow, routing_preferences: {routes}}}]"
    text = f"{FILE}{written}\ndecision_log: {{store: memory}}\ntelemetry: {{prometheus: true}}"
    app = app_of(text, FixedClassifier({"chat": 0.9}))
    call = {"messages": [{"role": "user", "content": "hi"}]}

    answer = ask(app, "POST", "/routing/v1/chat/completions", json=call).json()

    assert (answer["route"], answer["experiment"]) == (None, {"name": "all", "arm": "shadow"})
    page = ask(app, "GET", "http://127.0.0.1/routing/v1/decisions?experiment=all&arm=shadow").json()
    (entry,) = page["decisions"]
    assert (entry["experiment"], entry["arm"]) == ("all", "shadow")

    def measured() -> str:
        """Return all metrics."""
        return ask(app, "GET", "http://127.0.0.1/metrics").text

    assert 'plano_experiments_total{experiment="all",outcome="shadow"} 1.0' in measured()
    until(lambda: 'plano_experiments_total{experiment="all",outcome="differs"} 1.0' in measured())


def test_own_classifier_of_a_variant_is_named_wherever_the_decision_is_told(
    app_of: Callable[..., Starlette], ask: Callable[..., httpx.Response]
) -> None:
    """Answer, log line, decision log and metrics of a call name the classifier of its experiment, not the usual one."""
    own = "{kind: remote, base_url: 'http://127.0.0.1:9/v1'}"
    written = f"experiments: [{{name: all, share: 1.0, classifier: {own}}}]"
    text = f"{FILE}{written}\ndecision_log: {{store: memory}}\ntelemetry: {{prometheus: true}}"
    app = app_of(text, FixedClassifier({"chat": 0.9}))
    call = {"messages": [{"role": "user", "content": "hi"}]}

    with capture_logs() as logged:
        answer = ask(app, "POST", "/routing/v1/chat/completions", json=call).json()

    assert (answer["classifier"], answer["experiment"]["arm"]) == ("remote", "variant")
    assert [line["classifier"] for line in logged if line["event"] == CALL_ROUTED] == ["remote"]
    (entry,) = ask(app, "GET", "http://127.0.0.1/routing/v1/decisions").json()["decisions"]
    assert entry["classifier"] == "remote"
    measured = ask(app, "GET", "http://127.0.0.1/metrics").text
    assert set(re.findall(r'plano_decision\w+{[^}]*classifier="(\w+)"', measured)) == {"remote"}


@pytest.mark.parametrize(
    ("experiments", "where", "what"),
    [
        ("[{name: a, share: 0.1}]", "[0]", "changes nothing"),
        ("[{name: a, share: 0, threshold: 0.1}]", "[0].share", ""),
        (
            "[{name: a, share: 0.6, threshold: 0.1}, {name: b, share: 0.5, threshold: 0.1}]",
            "[1].share",
            "more than all",
        ),
        ("[{name: a, share: 0.1, threshold: 0.1}, {name: a, share: 0.1, threshold: 0.2}]", "[1].name", "the same name"),
        (
            "[{name: a, share: 0.1, routing_preferences: [{name: r, description: d, models: [openai/gpt-5]}]}]",
            "[0].routing_preferences[0].models[0]",
            "is not among the models",
        ),
        ("[{name: a, share: 0.1, classifier: {kind: remote}}]", "[0].classifier.base_url", "is required where"),
        ("[{name: a, share: 0.1, mode: mirror, threshold: 0.1}]", "[0].mode", "serve"),
        (
            "[{name: a, share: 0.1, calibration: a.json, classifier: {kind: embedded, calibration: b.json}}]",
            "[0].calibration",
            "keep one",
        ),
    ],
    ids=["nothing", "no-share", "too-much", "twice", "undeclared", "remote", "mode", "two-calibrations"],
)
def test_fault_of_an_experiment_names_it(experiments: str, where: str, what: str, settings_of: SettingsOf) -> None:
    """What is wrong with an experiment is told where it stands."""
    with pytest.raises(ConfigurationError) as raised:
        settings_of(FILE + f"experiments: {experiments}")

    assert any(f.where == f"experiments{where}" and what in f.what for f in raised.value.faults)


def test_ten_tenths_are_all_sessions(settings_of: SettingsOf) -> None:
    """Shares that add up to 1 are no fault, whatever floating point makes of them."""
    written = ", ".join(f"{{name: e{number}, share: 0.1, threshold: 0.1}}" for number in range(10))

    assert len(settings_of(FILE + f"experiments: [{written}]").experiments) == 10


def calibration_for(route: str, threshold: float) -> str:
    """Return the content of a calibration file of the classifier that answers here."""
    fitted = Calibration(
        classifier=FixedClassifier({}).revision,
        temperature=1.0,
        threshold=0.1,
        thresholds={route: threshold},
        cases=9,
        date="2026-01-01",
    )
    return calibration_text(fitted)


@pytest.mark.parametrize(
    ("own", "model"),
    [("", "openai/gpt-4o"), ("calibration: {own}, ", "openai/gpt-4o-mini")],
    ids=["the-classifiers-threshold", "its-own-calibration"],
)
def test_calibration_is_of_one_set_of_routes(own: str, model: str, tmp_path: Path, settings_of: SettingsOf) -> None:
    """An experiment with other routes does not go by the thresholds fitted for the configured ones, but by its own."""
    paths = {"usual": tmp_path / "usual.json", "own": tmp_path / "own.json"}
    paths["usual"].write_text(calibration_for("code", 0.2), encoding="utf-8")
    paths["own"].write_text(calibration_for("chores", 0.95), encoding="utf-8")
    chores = "{name: chores, description: it, models: [openai/gpt-4o]}"
    told = f"{{name: a, share: 1.0, {own.format(**paths)}routing_preferences: [{chores}]}}"
    settings = settings_of(f"{FILE}classifier: {{calibration: {paths['usual']}}}\nexperiments: [{told}]")
    router = build_router(settings, classifier=FixedClassifier({"chores": 0.9}))

    decision = router.route(call_of("some work"))

    assert (arm_of(decision), decision.would_use) == (("a", "variant"), model)
    router.close()


def test_calibration_of_an_experiment_for_other_routes_is_refused_where_it_stands(
    tmp_path: Path, settings_of: SettingsOf
) -> None:
    """A file that was fitted for other routes than the experiment's is a fault at the experiment's own setting."""
    path = tmp_path / "own.json"
    path.write_text(calibration_for("elsewhere", 0.9), encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"experiments\[0\]\.calibration.*elsewhere"):
        build_router(
            settings_of(f"{FILE}experiments: [{{name: a, share: 1.0, calibration: {path}}}]"),
            classifier=FixedClassifier({}),
        )
