"""Two classifiers in a row: who is asked when, and what stands when the second has no answer."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event, Thread, active_count, stack_size
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from structlog.testing import capture_logs

from plano_asgi.assembly import build_router
from plano_asgi.classify import Classifier, IsAwaited, always_awaited
from plano_asgi.classify.cascade import CascadeClassifier
from plano_asgi.classify.cascade.band import Band
from plano_asgi.conversation import Conversation, LLMCall, Message, Role
from plano_asgi.decisions import Reason, RoutingDecision, Scores, Source
from plano_asgi.errors import (
    ArtifactIntegrityError,
    ClassificationError,
    ClassifierTimeoutError,
    ClassifierUnavailableError,
)
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.router import Router
from plano_asgi.settings import Settings

CONFIG = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences:
      - {name: code, description: writing code}
      - {name: chat, description: small talk}
"""
POLICY = RoutingPolicy(
    preferences=tuple(
        RoutingPreference(name=name, description=name, models=("openai/gpt-4o",)) for name in ("code", "chat")
    )
)
SAID = (Message(role=Role.USER, text="hello"),)
PLANTED = "what a user said"


def scores_of(code: float, chat: float = 0.0) -> Scores:
    """Return scores of the two routes, and what they leave for none."""
    return Scores(routes={"code": code, "chat": chat}, other=max(0.0, 1.0 - code - chat))


SURE, UNSURE, SURE_OF_NONE, BETTER = scores_of(0.9), scores_of(0.55), scores_of(0.1), scores_of(0.0, 0.7)


@dataclass
class Stage:
    """A classifier that says what it is told to, or does what it is told to before, and keeps what it was asked."""

    kind: str = "first"
    scores: Scores = SURE
    revision: str = "1"
    threshold: float = 0.5
    deadline_ms: float = 5_000
    parallelism: int = 2
    before: Callable[[], object] = lambda: None
    asked: list[IsAwaited] = field(default_factory=list)
    prepared: int = 0
    closed: int = 0

    def prepare(self, policy: RoutingPolicy) -> None:
        """Count it."""
        self.prepared += 1

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return the scores."""
        self.asked.append(is_awaited)
        self.before()
        return self.scores

    def close(self) -> None:
        """Count it."""
        self.closed += 1


def second_of(**more: Any) -> Stage:
    """Return a second stage that thinks otherwise than the first."""
    return Stage(**{"kind": "second", "scores": BETTER, **more})


def cascade_of(first: Classifier, second: Classifier, **more: Any) -> CascadeClassifier:
    """Return a cascade of the default band."""
    return CascadeClassifier(first, second, **{"low": 0.2, "high": 0.8, **more})


def raising(error: BaseException) -> Callable[[], object]:
    """Return what raises an error."""

    def fail() -> None:
        raise error

    return fail


@pytest.fixture
def release() -> Iterator[Event]:
    """Return the event that lets whatever hangs go on, set at the end at the latest."""
    event = Event()
    yield event
    event.set()


@pytest.fixture
def router_of(settings_of: Callable[[str], Settings]) -> Iterator[Callable[..., Router]]:
    """Return what builds a router over a classifier, with more sections of settings."""
    with ExitStack() as routers:

        def build(classifier: Classifier, sections: str = "") -> Router:
            router = build_router(settings_of(CONFIG + sections), classifier=classifier)
            routers.callback(router.close)
            return router

        yield build


Routers = Callable[..., Router]


def ask(router: Router, text: str = "hello") -> RoutingDecision:
    """Return the decision on a text."""
    return router.route(LLMCall.from_text(text))


@pytest.mark.parametrize(
    ("code", "chat", "is_sure"),
    [
        (0.8, 0.1, True),
        (0.79, 0.01, False),
        (0.45, 0.45, False),
        (0.2, 0.0, True),
        (0.21, 0.0, False),
        (0.15, 0.15, False),
        (0.0, 0.0, True),
        (1.0, 0.0, True),
        (0.5, 0.0, False),
    ],
    ids=["match", "nearly", "two-routes", "none", "nearly-none", "none-but-diffuse", "nothing", "all", "even"],
)
def test_the_likeliest_outcome_has_to_be_likely_enough(code: float, chat: float, *, is_sure: bool) -> None:
    """Sure is who gives the best route 0.8, or all routes together no more than 0.2."""
    assert Band(low=0.2, high=0.8).is_sure(scores_of(code, chat)) is is_sure


def test_a_route_that_is_not_the_likeliest_outcome_is_never_a_sure_match() -> None:
    """With a low bound for matches, a route that is less likely than no route makes nobody sure."""
    assert not Band(low=0.2, high=0.3).is_sure(scores_of(0.35))


def test_without_routes_it_is_sure_that_none_fits() -> None:
    """A policy of no routes leaves nothing to ask."""
    assert Band(low=0.0, high=1.0).is_sure(Scores(routes={}, other=1.0))


shares = st.floats(0, 1)


@st.composite
def any_scores(draw: st.DrawFn) -> Scores:
    """Return probabilities that sum to 1."""
    weights = [draw(shares), draw(shares), draw(shares)]
    total = sum(weights)
    code, chat, other = (weight / total for weight in weights) if total > 1e-9 else (0.0, 0.0, 1.0)
    return Scores(routes={"code": min(1.0, code), "chat": min(1.0, chat)}, other=min(1.0, other))


@given(scores=any_scores(), one=shares, other=shares)
def test_the_second_is_asked_where_and_only_where_the_first_is_not_sure(
    scores: Scores, one: float, other: float
) -> None:
    """Whatever the scores and the band: the first's answer stands or the second's does, and it says whose it is."""
    low, high = sorted((one, other))
    first, second = Stage(scores=scores, threshold=0.4), second_of(threshold=0.6)

    answer = cascade_of(first, second, low=low, high=high).classify(SAID, POLICY)

    if Band(low=low, high=high).is_sure(scores):
        assert (answer.stage, answer.routes, answer.threshold, len(second.asked)) == ("first", scores.routes, 0.4, 0)
    else:
        assert (answer.stage, answer.routes, answer.threshold, len(second.asked)) == ("second", BETTER.routes, 0.6, 1)
    assert (answer.failed_stage, len(first.asked)) == (None, 1)


@given(scores=any_scores(), bounds=st.lists(shares, min_size=4, max_size=4).map(sorted))
def test_a_wider_band_never_spares_a_question(scores: Scores, bounds: list[float]) -> None:
    """Who is not sure by a narrow band is not sure by one around it."""
    lowest, low, high, highest = bounds

    if not Band(low=low, high=high).is_sure(scores):
        assert not Band(low=lowest, high=highest).is_sure(scores)


NAN = Scores(routes={"code": float("nan"), "chat": 0.0}, other=0.0)


@pytest.mark.parametrize(
    "second",
    [
        second_of(before=raising(ClassificationError("no"))),
        second_of(before=raising(ClassifierUnavailableError("down"))),
        second_of(before=raising(ArtifactIntegrityError(__file__, problem="damaged"))),  # type: ignore[arg-type]
        second_of(before=raising(ValueError(PLANTED))),
        second_of(before=raising(SystemExit(PLANTED))),
        second_of(scores=NAN),
        second_of(scores=Scores(routes={"mine": 1.0}, other=0.0)),
    ],
    ids=["no-answer", "down", "damaged", "error", "exit", "nan", "other-routes"],
)
def test_where_the_second_fails_the_firsts_answer_stands(second: Stage) -> None:
    """No failure of the second is one of the cascade; scores and one log line say so, and quote nobody."""
    with capture_logs() as logs:
        answer = cascade_of(Stage(scores=UNSURE), second).classify(SAID, POLICY)

    assert (answer.stage, answer.failed_stage, answer.routes) == ("first", "second", UNSURE.routes)
    (line,) = logs
    assert (line["event"], line["log_level"], line["stage"]) == ("plano.second_stage_failed", "warning", "second")
    assert PLANTED not in repr(logs)


def test_a_first_without_an_answer_is_a_failure() -> None:
    """What the first raises, and scores of it that cannot be true, are the cascade's failure; nobody else is asked."""
    second = second_of()

    with pytest.raises(ClassificationError, match="no probabilities"):
        cascade_of(Stage(scores=NAN), second).classify(SAID, POLICY)
    with pytest.raises(ClassifierTimeoutError):
        cascade_of(Stage(before=raising(ClassifierTimeoutError("late"))), second).classify(SAID, POLICY)
    assert second.asked == []


def test_a_second_that_hangs_costs_no_call_its_answer(release: Event, router_of: Routers) -> None:
    """The first's answer is there before the router gives up, and so a call is routed and not served by `on_error`."""
    second = second_of(before=release.wait, deadline_ms=800)
    router = router_of(cascade_of(Stage(scores=UNSURE), second))

    decision = ask(router)

    assert (decision.reason, decision.route) == (Reason.MATCHED, "code")
    assert (decision.stage, decision.failed_stage) == ("first", "second")
    assert decision.latency_ms < 5_000


def test_a_second_that_hangs_for_ever_takes_no_more_than_its_own_threads(release: Event) -> None:
    """However many calls ask it in vain, as many threads hang as it answers side by side."""
    second = second_of(before=release.wait, deadline_ms=20, parallelism=2)
    cascade = cascade_of(Stage(scores=UNSURE), second)
    before = active_count()

    answers = [cascade.classify(SAID, POLICY) for _ in range(20)]

    assert active_count() - before <= 2
    assert len(second.asked) == 2
    assert {(answer.stage, answer.failed_stage) for answer in answers} == {("first", "second")}


def test_while_the_second_is_busy_others_are_answered_at_once(release: Event) -> None:
    """One question more than it takes is answered by the first; when it is free again, it is asked again."""
    is_asked = Event()

    def hang() -> None:
        is_asked.set()
        release.wait()

    second = second_of(before=hang, parallelism=1, deadline_ms=60_000)
    cascade = cascade_of(Stage(scores=UNSURE), second)
    answers: list[Scores] = []
    caller = Thread(target=lambda: answers.append(cascade.classify(SAID, POLICY)))
    caller.start()
    assert is_asked.wait(10)

    with capture_logs() as logs:
        meanwhile = cascade.classify(SAID, POLICY)
    release.set()
    caller.join(10)
    afterwards = cascade.classify(SAID, POLICY)

    assert (meanwhile.stage, meanwhile.failed_stage) == ("first", "second")
    assert [answer.stage for answer in (*answers, afterwards)] == ["second", "second"]
    assert logs == []


def test_where_no_thread_can_be_had_the_firsts_answer_stands() -> None:
    """A machine that has no room for another thread loses the second's answers for as long as that lasts."""
    second = second_of(parallelism=1)
    cascade = cascade_of(Stage(scores=UNSURE), second)
    usual = stack_size(1 << 47)  # more than there are addresses

    try:
        without = [cascade.classify(SAID, POLICY) for _ in range(3)]
    finally:
        stack_size(usual)
    afterwards = cascade.classify(SAID, POLICY)

    assert {(answer.stage, answer.failed_stage) for answer in without} == {("first", "second")}
    assert (afterwards.stage, len(second.asked)) == ("second", 1)


def test_a_late_answer_is_not_waited_for_and_does_no_harm(release: Event) -> None:
    """What the second says too late is dropped, and it is asked again the next time."""
    second = second_of(before=lambda: release.wait(5), deadline_ms=20, parallelism=1)
    cascade = cascade_of(Stage(scores=UNSURE), second)

    late = cascade.classify(SAID, POLICY)
    release.set()
    second.deadline_ms = cascade.deadline_ms = 60_000
    until = monotonic() + 10
    while (again := cascade.classify(SAID, POLICY)).failed_stage and monotonic() < until:
        sleep(0.01)

    assert (late.stage, late.failed_stage) == ("first", "second")
    assert (again.stage, again.routes) == ("second", BETTER.routes)


def test_the_second_has_the_time_that_the_first_has_left() -> None:
    """A first that used up the time leaves none to ask the second in."""
    second = second_of(deadline_ms=20)

    answer = cascade_of(Stage(scores=UNSURE, before=lambda: sleep(0.03)), second).classify(SAID, POLICY)

    assert second.asked == []
    assert (answer.stage, answer.failed_stage) == ("first", "second")


def test_both_stages_know_whether_anybody_waits() -> None:
    """The first is given the caller's own word; the second hears no as soon as the caller or the time says so."""
    waits = [True]
    first, second = Stage(scores=UNSURE), second_of(deadline_ms=50)

    def is_awaited() -> bool:
        return waits[0]

    cascade = cascade_of(first, second)
    cascade.classify(SAID, POLICY, is_awaited=is_awaited)
    cascade.deadline_ms = 60_000
    cascade.classify(SAID, POLICY, is_awaited=is_awaited)
    sleep(0.06)
    heard = [asked() for asked in second.asked]
    waits[0] = False

    assert heard == [False, True]
    assert [asked() for asked in (*first.asked, *second.asked)] == [False] * 4


def test_a_call_that_nobody_waits_for_is_not_asked_twice() -> None:
    """Where the caller has gone, the second is left alone."""
    second = second_of()

    cascade_of(Stage(scores=UNSURE), second).classify(SAID, POLICY, is_awaited=lambda: False)

    assert second.asked == []


def test_changes_are_logged_and_calls_are_not() -> None:
    """A second that fails is told of once, however many calls it fails, and once when it is back."""
    second = second_of()
    cascade = cascade_of(Stage(scores=UNSURE), second)

    with capture_logs() as logs:
        for error in (None, ClassifierUnavailableError("down"), ValueError(), None, ClassifierUnavailableError("down")):
            second.before = raising(error) if error else lambda: None
            for _ in range(3):
                cascade.classify(SAID, POLICY)

    assert [line["event"].removeprefix("plano.second_stage_") for line in logs] == ["failed", "back", "failed"]
    assert logs[0] == {
        "event": "plano.second_stage_failed",
        "log_level": "warning",
        "stage": "second",
        "error": "ClassifierUnavailableError",
        "detail": "down",
    }


def test_preparing_prepares_both_and_tries_the_second() -> None:
    """A start loads both stages and asks the second once, so that the first call that needs it finds it warm."""
    first, second = Stage(), second_of()

    with capture_logs() as logs:
        cascade_of(first, second).prepare(POLICY)
        cascade_of(first, second).prepare(RoutingPolicy())

    assert (first.prepared, second.prepared, len(second.asked)) == (2, 2, 1)
    assert logs == []


@pytest.mark.parametrize("error", [ClassifierUnavailableError("down"), ClassifierTimeoutError("slow")], ids=repr)
def test_a_second_that_is_elsewhere_and_down_keeps_nobody_from_starting(
    error: ClassificationError, router_of: Routers
) -> None:
    """The router is ready, one line says what is missing, and the second is back with the first call it answers."""
    second = second_of(before=raising(error))
    router = router_of(cascade_of(Stage(scores=UNSURE), second))

    with capture_logs() as logs:
        router.start()
        without = ask(router)
        second.before = lambda: None
        restored = ask(router)

    assert router.is_ready
    assert [line["event"] for line in logs if "stage_" in line["event"]] == [
        "plano.second_stage_failed",
        "plano.second_stage_back",
    ]
    assert (without.stage, without.failed_stage) == ("first", "second")
    assert (restored.stage, restored.failed_stage, restored.route) == ("second", None, "chat")


@pytest.mark.parametrize(
    "error",
    [ArtifactIntegrityError(__file__, problem="damaged"), ClassificationError("answered 401; set the key")],  # type: ignore[arg-type]
    ids=["files", "key"],
)
def test_what_waiting_does_not_mend_is_told_at_start(error: Exception, router_of: Routers) -> None:
    """A second that is here and broken, or that refuses our key, keeps the service from starting without it."""
    router = router_of(cascade_of(Stage(), second_of(before=raising(error))))

    with pytest.raises(type(error), match=str(error)):
        router.start()


def test_closing_closes_both() -> None:
    """Both stages give back what they hold."""
    first, second = Stage(), second_of()

    cascade_of(first, second).close()

    assert (first.closed, second.closed) == (1, 1)


def test_the_revision_changes_with_either_stage_and_with_the_band() -> None:
    """Whatever may change an answer changes the key under which it is remembered."""
    base = cascade_of(Stage(), second_of())
    others = [
        cascade_of(Stage(revision="2"), second_of()),
        cascade_of(Stage(), second_of(revision="2")),
        cascade_of(Stage(), second_of(), low=0.1),
        cascade_of(Stage(), second_of(), high=0.9),
    ]

    assert len({each.revision for each in (base, *others)}) == 5
    assert cascade_of(Stage(), second_of()).revision == base.revision


def test_the_deadline_is_the_seconds_and_sure_answers_have_threads_of_their_own() -> None:
    """The second may take its time; side by side run what both stages take together."""
    cascade = cascade_of(Stage(deadline_ms=250, parallelism=2), second_of(deadline_ms=2_000, parallelism=32))

    assert (cascade.deadline_ms, cascade.parallelism) == (2_000, 34)
    assert cascade_of(Stage(), second_of(), deadline_ms=700).deadline_ms == 700


@pytest.mark.parametrize(
    ("first", "second", "route"),
    [(0.5, 0.9, None), (0.9, 0.5, "chat")],
    ids=["second-stricter", "first-stricter"],
)
def test_each_stage_has_its_own_threshold(first: float, second: float, route: str | None, router_of: Routers) -> None:
    """The second's 0.7 for a route is held against the second's threshold, whatever the first's is."""
    cascade = cascade_of(Stage(scores=UNSURE, threshold=first), second_of(threshold=second))

    assert ask(router_of(cascade)).route == route


def test_a_threshold_of_the_settings_is_that_of_both(
    router_of: Routers,
) -> None:
    """`routing.threshold` holds whichever stage answers."""
    sections = "routing: {threshold: 0.95}\n"
    stages = (Stage(scores=UNSURE, threshold=0.1), second_of(threshold=0.1))
    sure = (Stage(threshold=0.1), second_of())

    decisions = [ask(router_of(cascade_of(*each, keeps_thresholds=False), sections)) for each in (stages, sure)]

    assert [(each.stage, each.reason) for each in decisions] == [
        ("second", Reason.NO_MATCH),
        ("first", Reason.NO_MATCH),
    ]


def test_a_remembered_decision_remembers_its_stage(router_of: Routers) -> None:
    """A decision from the cache says which stage answered, and asks neither again."""
    first, second = Stage(scores=UNSURE), second_of()
    router = router_of(cascade_of(first, second))

    decisions = [ask(router), ask(router)]

    assert [(each.source, each.stage, each.route) for each in decisions] == [
        (Source.CLASSIFIER, "second", "chat"),
        (Source.CACHE, "second", "chat"),
    ]
    assert (len(first.asked), len(second.asked)) == (1, 1)


def test_an_answer_that_only_stands_in_is_not_remembered(router_of: Routers) -> None:
    """When the second is back, a call that it had missed is decided by it at once."""
    second = second_of(before=raising(ClassifierUnavailableError("down")))
    router = router_of(cascade_of(Stage(scores=UNSURE), second))

    missed = ask(router)
    second.before = lambda: None
    decision = ask(router)

    assert (missed.route, missed.failed_stage) == ("code", "second")
    assert (decision.source, decision.stage, decision.route) == (Source.CLASSIFIER, "second", "chat")


def test_a_decision_that_nobody_made_has_no_stage(router_of: Routers) -> None:
    """A bypassed call is no stage's, and neither is a classifier's that works alone."""
    router = router_of(cascade_of(Stage(), second_of()))

    bypassed = router.route(LLMCall.from_text("hello"), bypass=True)

    assert (bypassed.stage, bypassed.failed_stage) == (None, None)
    assert ask(router_of(Stage())).stage is None


def test_the_line_of_a_call_names_the_stage(router_of: Routers) -> None:
    """`plano.call_routed` says who answered, and who should have."""
    second = second_of()
    router = router_of(cascade_of(Stage(scores=UNSURE), second))

    with capture_logs() as logs:
        ask(router, "one")
        second.before = raising(ClassificationError("no"))
        ask(router, "two")

    lines = [line for line in logs if line["event"] == "plano.call_routed"]
    assert [(line["classifier"], line["stage"], line["failed_stage"]) for line in lines] == [
        ("cascade", "second", None),
        ("cascade", "first", "second"),
    ]


@pytest.mark.parametrize(
    ("classifier", "told"),
    [
        (cascade_of(Stage(), second_of()), {"stage": "first"}),
        (cascade_of(Stage(scores=UNSURE), second_of()), {"stage": "second"}),
        (
            cascade_of(Stage(scores=UNSURE), second_of(before=raising(ClassificationError("no")))),
            {"stage": "first", "failed_stage": "second"},
        ),
        (Stage(), {}),
    ],
    ids=["sure", "unsure", "failed", "alone"],
)
def test_decision_endpoints_say_which_stage_answered(
    classifier: Classifier,
    told: Mapping[str, str],
    app_of: Callable[..., Starlette],
    ask: Callable[..., httpx.Response],
) -> None:
    """The keys are there for a cascade, and no decision of another classifier has them."""
    body = {"messages": [{"role": "user", "content": "hello"}]}

    answer = ask(app_of(CONFIG, classifier), "POST", "/routing/v1/chat/completions", json=body).json()

    assert {key: answer[key] for key in ("stage", "failed_stage") if key in answer} == told


FORKED = """
import os
from threading import Event, Thread

from plano_asgi.classify.cascade import CascadeClassifier
from plano_asgi.conversation import Message, Role
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.testing import FixedClassifier

policy = RoutingPolicy(preferences=(RoutingPreference(name="code", description="code", models=("openai/a",)),))
said = (Message(role=Role.USER, text="hello"),)
parent, is_busy, release = os.getpid(), Event(), Event()
places = FixedClassifier.parallelism

def wait():
    if os.getpid() == parent:
        if len(second.calls) == places:
            is_busy.set()
        release.wait()

second = FixedClassifier({"code": 1.0}, before=wait)
cascade = CascadeClassifier(FixedClassifier({"code": 0.5}), second, low=0.2, high=0.8, deadline_ms=60_000)
callers = [Thread(target=cascade.classify, args=(said, policy)) for _ in range(places)]
for caller in callers:
    caller.start()
assert is_busy.wait(10)
busy = cascade.classify(said, policy).failed_stage
child = os.fork()
if child == 0:
    answer = cascade.classify(said, policy)
    os._exit(0 if answer.failed_stage is None and answer.routes == {"code": 1.0} else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
release.set()
for caller in callers:
    caller.join(10)
print(busy, code)
"""


def test_a_fork_does_not_inherit_who_is_busy() -> None:
    """A process that was forked while all places of the second were taken asks it, and has its answer."""
    ran = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=False)

    assert (ran.returncode, ran.stdout) == (0, "fixed 0\n"), ran.stderr
