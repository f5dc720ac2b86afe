"""Counters in this process's memory."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import count
from threading import Lock
from time import time_ns

from plano_asgi.govern.counting import Charge, Counter, Ruling, Settlement


def now_ms() -> int:
    """Return the milliseconds since 1970 by this machine's clock."""
    return time_ns() // 1_000_000


class MemoryCounters:
    """Counts exactly within one process, whatever its threads and event loops.

    Bounded by `most` counters: the one used longest ago is forgotten, with all that it has counted.
    """

    def __init__(self, *, most: int = 100_000, clock: Callable[[], int] = now_ms) -> None:
        """Start at nothing; `clock` gives milliseconds since 1970."""
        self._most = most
        self._clock = clock
        self._counters: OrderedDict[str, Counter] = OrderedDict()
        self._lock = Lock()
        self._numbers = count()

    async def reserve(self, charges: Sequence[Charge], *, lease_ms: int, settling: Sequence[Settlement] = ()) -> Ruling:
        """Hold all of the charges or none, as `Counters` says; never waits."""
        now = self._clock()
        with self._lock:
            self._settle(settling, now)
            pairs = [(self._counter(charge.key), charge) for charge in charges]
            standings = tuple([counter.standing(charge, now) for counter, charge in pairs])
            if any(standing.wait_ms != 0 for standing in standings):
                return Ruling(standings=standings, holds=None)
            ident = str(next(self._numbers))
            holds = tuple([counter.take(charge, now, ident=ident, lease_ms=lease_ms) for counter, charge in pairs])
        return Ruling(standings=standings, holds=holds)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Count what was really used, as `Counters` says; never waits."""
        with self._lock:
            self._settle(settlements, self._clock())

    def __len__(self) -> int:
        """Return how many counters are kept."""
        return len(self._counters)

    def _settle(self, settlements: Sequence[Settlement], now: int) -> None:
        for settlement in settlements:
            self._counter(settlement.hold.key).settle(settlement, now)

    def _counter(self, key: str) -> Counter:
        counter = self._counters.get(key)
        if counter is not None:
            self._counters.move_to_end(key)
            return counter
        if len(self._counters) >= self._most:
            self._counters.popitem(last=False)
        return self._counters.setdefault(key, Counter())
