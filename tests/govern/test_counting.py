"""Counters: whatever comes, no stretch of time holds more than the limit; the same in memory and in Redis."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plano_asgi.govern import (
    CalendarWindow,
    Charge,
    Counters,
    Hold,
    MemoryCounters,
    Period,
    Ruling,
    Settlement,
    SlidingWindow,
)
from plano_asgi.govern.redis_counters import RedisCounters
from plano_asgi.govern.windows import Window
from plano_asgi.secret import Secret
from plano_asgi.stores.redis_server import RedisServer

START = 1_763_900_000_000
MINUTE = SlidingWindow(60)
_names = count()


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: int = START

    def __call__(self) -> int:
        """Return the time."""
        return self.now


def charge(amount: int, *, limit: int = 100, window: Window = MINUTE, key: str = "counter") -> Charge:
    """Return a charge."""
    return Charge(key=key, window=window, limit=limit, amount=amount)


def reserve(counters: Counters, *charges: Charge, lease_ms: int = 600_000) -> Ruling:
    """Return what becomes of charges."""

    async def run() -> Ruling:
        """Ask."""
        return await counters.reserve(charges, lease_ms=lease_ms)

    return anyio.run(run)


def settle(counters: Counters, *settlements: Settlement) -> None:
    """Settle."""
    anyio.run(counters.settle, settlements)


def held(ruling: Ruling) -> Hold:
    """Return the one hold of a ruling."""
    assert ruling.holds is not None
    (hold,) = ruling.holds
    return hold


def used(counters: Counters, key: str = "counter", window: Window = MINUTE) -> int:
    """Return what a counter has counted."""
    return reserve(counters, charge(0, limit=2**50, key=key, window=window), lease_ms=0).standings[0].used


@dataclass
class Log:
    """The simplest limiter there is: a list of all that was admitted, and when."""

    entries: list[tuple[int, int]] = field(default_factory=list)

    def within(self, window_ms: int, until: int) -> int:
        """Return what was admitted in the so many milliseconds up to a moment."""
        return sum(amount for moment, amount in self.entries if until - window_ms < moment <= until)


STEPS = st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 60)), max_size=60)


@given(steps=STEPS)
def test_no_minute_holds_more_than_the_limit_and_what_fits_is_admitted(steps: list[tuple[int, int]]) -> None:
    """Of any calls at any times: every minute's admitted ones are within the limit; none is refused without need."""
    clock, log = Clock(), Log()
    counters = MemoryCounters(clock=clock)
    for pause_ms, amount in steps:
        clock.now += pause_ms
        is_admitted = reserve(counters, charge(amount)).holds is not None
        if is_admitted:
            log.entries.append((clock.now, amount))
        else:
            assert log.within(63_000, clock.now) + amount > 100  # a window and its slot
        assert log.within(60_000, clock.now) <= 100


@given(steps=STEPS)
def test_what_is_refused_fits_once_the_time_it_is_told_has_passed(steps: list[tuple[int, int]]) -> None:
    """`wait_ms` is kept: nothing else happening, a refused charge is admitted then, and not a millisecond earlier."""
    clock = Clock()
    counters = MemoryCounters(clock=clock)
    for pause_ms, amount in steps:
        clock.now += pause_ms
        ruling = reserve(counters, charge(amount))
        wait_ms = ruling.standings[0].wait_ms
        if ruling.holds is None:
            assert wait_ms
            clock.now += wait_ms - 1
            assert reserve(counters, charge(amount)).holds is None
            clock.now += 1
            assert reserve(counters, charge(amount)).holds is not None


@given(estimates=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60)), max_size=20), keep=st.lists(st.booleans()))
def test_sum_is_what_was_used_where_that_is_known_and_else_what_is_held(
    estimates: list[tuple[int, int]], keep: list[bool]
) -> None:
    """Settled calls count by their use, the others by their estimate, in whatever order they are settled."""
    counters, expected, open_holds = MemoryCounters(clock=Clock()), 0, []
    for (estimate, really), is_kept in zip(estimates, [*keep, *[False] * 20], strict=False):
        ruling = reserve(counters, charge(estimate, limit=10_000))
        expected += estimate if is_kept else really
        if not is_kept:
            open_holds.append(Settlement(held(ruling), really))
    settle(counters, *reversed(open_holds))

    assert used(counters) == expected


def test_a_call_that_is_larger_than_the_limit_is_told_that_it_never_fits() -> None:
    """Waiting would be in vain: there is no time after which it is admitted."""
    assert reserve(MemoryCounters(clock=Clock()), charge(101)).standings[0].wait_ms is None


def test_all_of_several_charges_are_held_or_none_is() -> None:
    """Where one limit is used up, nothing is taken of the other."""
    counters = MemoryCounters(clock=Clock())
    reserve(counters, charge(90, key="narrow"))

    assert reserve(counters, charge(50, key="wide"), charge(20, key="narrow")).holds is None
    assert (used(counters, "wide"), used(counters, "narrow")) == (0, 90)


def test_settling_twice_counts_once() -> None:
    """The second settlement of a hold that is settled adds its use, and gives nothing back again."""
    counters = MemoryCounters(clock=Clock())
    hold = held(reserve(counters, charge(50)))
    settle(counters, Settlement(hold, 10))
    settle(counters, Settlement(hold, 0))

    assert used(counters) == 10


def test_a_hold_that_nobody_settles_is_given_back_when_its_lease_ends() -> None:
    """What a killed call held is there again; a call that only was slow is counted all the same."""
    clock = Clock()
    counters = MemoryCounters(clock=clock)
    day = SlidingWindow(86_400)
    slow = held(reserve(counters, charge(60, window=day), lease_ms=1_000))
    reserve(counters, charge(40, window=day), lease_ms=1_000)
    clock.now += 1_000
    assert used(counters, window=day) == 0

    settle(counters, Settlement(slow, 70))
    assert used(counters, window=day) == 70


def test_a_call_that_ends_after_its_window_changes_nothing() -> None:
    """What was counted in a minute long gone is not counted in this one."""
    clock = Clock()
    counters = MemoryCounters(clock=clock)
    hold = held(reserve(counters, charge(60)))
    clock.now += 120_000
    settle(counters, Settlement(hold, 90))

    assert used(counters) == 0


def test_the_counter_used_longest_ago_makes_room() -> None:
    """Memory is bounded by the number of counters, not by how many callers there are."""
    counters = MemoryCounters(most=3, clock=Clock())
    for key in ("a", "b", "c", "a", "d"):
        reserve(counters, charge(10, key=key))

    assert len(counters) == 3
    assert [used(counters, key) for key in ("a", "c", "d")] == [20, 10, 10]


@pytest.mark.parametrize(
    ("period", "begins", "ends"),
    [
        (Period.DAY, "2026-02-28", "2026-03-01"),
        (Period.WEEK, "2026-02-23", "2026-03-02"),
        (Period.MONTH, "2026-02-01", "2026-03-01"),
    ],
    ids=["day", "week", "month"],
)
def test_a_calendar_window_begins_and_ends_with_its_period(period: Period, begins: str, ends: str) -> None:
    """The last Saturday of February 2026 is of that day, of the week from Monday on, and of that month."""
    window, now = CalendarWindow(period), milliseconds("2026-02-28T23:59:59.999")

    assert window.slot_of(now) == milliseconds(begins)
    assert window.leaves(window.slot_of(now)) == milliseconds(ends)
    assert window.told(now)[1:3] == (milliseconds(begins), milliseconds(ends))
    assert window.told(now)[0] < milliseconds(begins)
    assert window.told(now)[3] == window.leaves(milliseconds(ends))


def test_a_budget_is_whole_again_with_the_next_period() -> None:
    """What was spent in February does not count in March; until then the wait is until midnight."""
    clock, month = Clock(milliseconds("2026-02-28T12:00")), CalendarWindow(Period.MONTH)
    counters = MemoryCounters(clock=clock)
    reserve(counters, charge(90, window=month))
    assert reserve(counters, charge(20, window=month)).standings[0].wait_ms == 12 * 3_600_000
    clock.now = milliseconds("2026-03-01")

    assert reserve(counters, charge(20, window=month)).holds is not None


def milliseconds(moment: str) -> int:
    """Return a moment of UTC."""
    return round(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def in_redis(redis_url: str) -> Callable[[], RedisCounters]:
    """Return what makes counters in Redis which nobody else uses."""
    return lambda: RedisCounters(RedisServer(Secret(redis_url), timeout_s=5), prefix=f"test{next(_names)}:")


DEALINGS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 60), st.integers(0, 80), st.booleans()), max_size=12
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dealings=DEALINGS, window=st.sampled_from([SlidingWindow(86_400), *map(CalendarWindow, Period)]))
def test_redis_rules_as_memory_does(
    in_redis: Callable[[], RedisCounters], dealings: list[tuple[str, int, int, bool]], window: Window
) -> None:
    """Of any charges and settlements, both backends admit the same, and count the same."""
    backends: list[Counters] = [MemoryCounters(), in_redis()]

    async def deal() -> None:
        """Do the same with both, and compare."""
        for key, amount, really, is_settled in dealings:
            charges = [charge(amount, key=key, window=window), charge(1, key="all", limit=9, window=window)]
            rulings = [await counters.reserve(charges, lease_ms=60_000) for counters in backends]
            told = [[(standing.used, standing.wait_ms == 0) for standing in ruling.standings] for ruling in rulings]
            assert told[0] == told[1]
            for counters, ruling in zip(backends, rulings, strict=True):
                if ruling.holds and is_settled:
                    await counters.settle([Settlement(ruling.holds[0], really)])

    anyio.run(deal)


def test_redis_counts_large_amounts_exactly(in_redis: Callable[[], RedisCounters]) -> None:
    """Billions of billionths of a USD are neither rounded nor written in a way that Redis does not read."""
    counters, large = in_redis(), 2**50 - 1

    async def run() -> list[int]:
        """Count up to the limit, to the last one."""
        first = await counters.reserve([charge(large, limit=2**50)], lease_ms=60_000)
        second = await counters.reserve([charge(2, limit=2**50)], lease_ms=60_000)
        third = await counters.reserve([charge(1, limit=2**50)], lease_ms=60_000)
        return [len(ruling.holds or ()) for ruling in (first, second, third)]

    assert anyio.run(run) == [1, 0, 1]


def test_redis_gives_back_what_nobody_settles_and_lets_go_of_keys(
    in_redis: Callable[[], RedisCounters], redis_url: str
) -> None:
    """By the server's clock a lease ends, and a second's counter is gone a little after it; nothing lives for ever."""
    counters = in_redis()
    server = RedisServer(Secret(redis_url), timeout_s=5)

    async def run() -> tuple[int, int]:
        """Hold for 50 ms, and ask again."""
        await counters.reserve([charge(100, key="slow", window=SlidingWindow(86_400))], lease_ms=50)
        await counters.reserve([charge(100, key="fast", window=SlidingWindow(1))], lease_ms=50)
        await anyio.sleep(0.06)
        again = await counters.reserve([charge(100, key="slow", window=SlidingWindow(86_400))], lease_ms=50)
        return again.standings[0].used, len(again.holds or ())

    assert anyio.run(run) == (0, 1)
    keys = server.ask("KEYS", f"{counters.prefix}*")
    assert {key.split(b":")[1] for key in keys} >= {b"slow", b"fast"}
    assert all(0 < server.ask("PTTL", key) <= 91_000_000 for key in keys)
    until = time.monotonic() + 5
    while any(b"fast" in key for key in server.ask("KEYS", f"{counters.prefix}*")):
        assert time.monotonic() < until
        time.sleep(0.1)
    server.close()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_redis_releases_what_one_model_held_as_it_holds_for_the_next(
    in_redis: Callable[[], RedisCounters], backend: str
) -> None:
    """Giving back and holding are one step: the limit's last piece passes from one to the other."""
    counters = in_redis()

    async def run() -> bool:
        """Hold everything twice."""
        first = await counters.reserve([charge(100)], lease_ms=60_000)
        released = [Settlement(hold, 0) for hold in first.holds or ()]
        return (await counters.reserve([charge(100)], lease_ms=60_000, settling=released)).holds is not None

    assert anyio.run(run, backend=backend)
