"""The circuit breaker as a state machine, and how long a rate limit is obeyed."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plano_asgi.upstream.breaker import MOST_MODELS, Admission, BreakerRules, Breakers

MODEL = "openai/gpt-4o"
RULES = BreakerRules(failures=3, open_s=10.0, rest_s=1.0)
LONGEST_OPEN_S = 80.0


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        """Start at some time."""
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin, succeed, fail and are given up in any order, as time passes."""

    def __init__(self) -> None:
        """Start with a model of which nothing is known."""
        super().__init__()
        self.clock = Clock()
        self.breakers = Breakers(RULES, clock=self.clock)
        self.under_way: list[Admission | None] = []
        self.has_probe = False
        self.failures_since_success = 0

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds

    @precondition(lambda self: self.breakers.admits(MODEL))
    @rule()
    def ask(self) -> None:
        """Begin a call; while half-open it is the only one."""
        health = self.breakers.of(MODEL)
        is_half_open = health.open_until is not None
        self.under_way.append(self.breakers.asked(MODEL))
        assert not is_half_open or not self.breakers.admits(MODEL)

    @precondition(lambda self: self.under_way)
    @rule()
    def succeed(self) -> None:
        """End a call well: the breaker is closed."""
        self.under_way.pop()
        self.failures_since_success = 0
        self.breakers.succeeded(MODEL)
        assert self.breakers.admits(MODEL)

    @precondition(lambda self: self.under_way)
    @rule()
    def fail(self) -> None:
        """End a call badly: after as many in a row as the rules say, the breaker is open."""
        self.under_way.pop()
        self.failures_since_success += 1
        self.breakers.failed(MODEL)
        if self.failures_since_success >= RULES.failures:
            assert self.breakers.of(MODEL).open_until is not None

    @precondition(lambda self: self.under_way)
    @rule(retry_after_s=st.none() | st.floats(0, 60))
    def limit(self, retry_after_s: float | None) -> None:
        """End a call by a rate limit: the model rests for as long as it was asked to."""
        self.under_way.pop()
        self.breakers.limited(MODEL, retry_after_s)
        assert self.breakers.rest_s(MODEL) >= (0.999 if retry_after_s is None else retry_after_s - 0.001)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 9))
    def give_up(self, which: int) -> None:
        """Abandon a call: if it was the probe, another may be made, and nothing else changes."""
        admission = self.under_way.pop(which % len(self.under_way))
        before = self.breakers.of(MODEL)
        self.breakers.abandoned(MODEL, admission)
        if admission and admission.probe_until is not None and admission.probe_until == before.probe_until:
            assert self.breakers.admits(MODEL) or self.breakers.rest_s(MODEL)
        else:
            assert self.breakers.of(MODEL) == before

    @invariant()
    def never_sticks(self) -> None:
        """However it went, the model is admitted again once time has passed."""
        later = self.clock.now + LONGEST_OPEN_S
        assert self.breakers.of(MODEL).admits(later + 1)

    @invariant()
    def open_is_open(self) -> None:
        """Nothing is admitted before the time until which it is open."""
        open_until = self.breakers.of(MODEL).open_until
        assert open_until is None or self.clock.now >= open_until or not self.breakers.admits(MODEL)


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBreaker = BreakerMachine.TestCase


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


@pytest.fixture
def breakers(clock: Clock) -> Breakers:
    """Return breakers with that clock."""
    return Breakers(RULES, clock=clock)


def test_every_other_failure_opens_it(breakers: Breakers) -> None:
    """A model that fails every other time is a failing model, though it never fails twice in a row."""
    for _ in range(RULES.failures):
        breakers.succeeded(MODEL)
        breakers.failed(MODEL)

    assert not breakers.admits(MODEL)


def test_rare_failures_do_not_open_it(breakers: Breakers) -> None:
    """Failures that are far between are forgotten."""
    for _ in range(20):
        breakers.failed(MODEL)
        for _ in range(4):
            breakers.succeeded(MODEL)

    assert breakers.admits(MODEL)


def test_each_probe_that_fails_doubles_the_time_up_to_a_bound(breakers: Breakers, clock: Clock) -> None:
    """10, 20, 40, 80 and again 80 seconds; one answer closes it and starts over."""
    for _ in range(RULES.failures):
        breakers.failed(MODEL)
    waits = []
    for _ in range(5):
        waits.append((breakers.of(MODEL).open_until or 0) - clock.now)
        clock.now += waits[-1]
        breakers.asked(MODEL)
        breakers.failed(MODEL)
    breakers.succeeded(MODEL)

    assert waits == [10, 20, 40, 80, 80]
    assert breakers.of(MODEL).openings == 0


def test_call_from_before_that_is_given_up_lets_no_second_probe_through(breakers: Breakers, clock: Clock) -> None:
    """Of a call that began before the breaker opened nothing is learned; while the probe is out it is the only one."""
    stale = breakers.asked(MODEL)
    for _ in range(RULES.failures):
        breakers.failed(MODEL)
    clock.now += RULES.open_s
    probe = breakers.asked(MODEL)

    breakers.abandoned(MODEL, stale)
    admits_beside_the_probe = breakers.admits(MODEL)
    breakers.abandoned(MODEL, breakers.asked(MODEL))  # made all the same, as there was nobody else
    admits_beside_both = breakers.admits(MODEL)
    breakers.abandoned(MODEL, probe)

    assert (admits_beside_the_probe, admits_beside_both, breakers.admits(MODEL)) == (False, False, True)


def test_rate_limits_without_a_time_rest_longer_and_longer(breakers: Breakers, clock: Clock) -> None:
    """1, 2, 4, 8 and again 8 seconds, until the model answers."""
    rests = []
    for _ in range(5):
        breakers.limited(MODEL, None)
        rests.append(breakers.rest_s(MODEL))
        clock.now += rests[-1]
    breakers.succeeded(MODEL)
    breakers.limited(MODEL, None)

    assert (rests, breakers.rest_s(MODEL)) == ([1, 2, 4, 8, 8], 1)


def test_failure_may_name_a_time_too(breakers: Breakers) -> None:
    """A 503 with `Retry-After` is obeyed like a rate limit's."""
    breakers.failed(MODEL, 7.0)

    assert breakers.rest_s(MODEL) == 7.0


def test_models_that_clients_make_up_do_not_fill_the_memory() -> None:
    """Under `provider/*` a client may name any model: those asked last are remembered, and no more than 10,000."""
    breakers = Breakers(RULES, clock=Clock())
    for _ in range(RULES.failures):
        breakers.failed(MODEL)
    for number in range(MOST_MODELS - 1):
        breakers.asked(f"groq/{number}")
    assert not breakers.admits(MODEL)

    breakers.asked("groq/one-more")

    assert breakers.admits(MODEL)
    assert not breakers.of("groq/0").recent


@pytest.fixture
def hurried() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def at_once(do: Callable[[], object], threads: int = 8) -> list[object]:
    """Return what comes of doing something on threads that begin together."""
    start = Barrier(threads)

    def wait_and_do() -> object:
        """Begin with the others."""
        start.wait()
        return do()

    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(wait_and_do) for _ in range(threads)]]


@pytest.mark.usefixtures("hurried")
def test_one_of_many_threads_is_the_probe(clock: Clock) -> None:
    """However many calls come at once when a breaker is half open, one is let through; the others are told no."""
    for _ in range(60):
        breakers = Breakers(RULES, clock=clock)
        for _ in range(RULES.failures):
            breakers.failed(MODEL)
        clock.now += RULES.open_s

        assert Counter(map(bool, at_once(partial(breakers.asked, MODEL)))) == {True: 1, False: 7}


@pytest.mark.usefixtures("hurried")
def test_no_failure_is_lost_between_threads(clock: Clock) -> None:
    """As many failures as open a breaker open it, whichever threads they come on."""
    for _ in range(60):
        breakers = Breakers(BreakerRules(failures=8), clock=clock)

        at_once(partial(breakers.failed, MODEL))

        assert breakers.state_of(MODEL) == 2
