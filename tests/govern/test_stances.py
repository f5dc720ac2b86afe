"""Shared counters that cannot be had: who has failed is left alone, whatever there is to tell it."""

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from plano_asgi.errors import StoreError
from plano_asgi.events import QUOTAS_UNSHARED
from plano_asgi.govern import Charge, Hold, MemoryCounters, Ruling, Settlement, SlidingWindow
from plano_asgi.govern.stances import SharedCounters

SHARED = Hold(key="a", window=SlidingWindow(60), ident="1", slot=0, amount=5, is_shared=True)


class Away:
    """Counters on a server that is away; counts how often it is asked."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.asked = 0

    async def reserve(self, charges: Sequence[Charge], *, lease_ms: int, settling: Sequence[Settlement] = ()) -> Ruling:
        """Fail."""
        raise self._failed(charges, lease_ms, settling)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Fail."""
        raise self._failed(settlements)

    def _failed(self, *_: object) -> StoreError:
        """Count that it was asked."""
        self.asked += 1
        return StoreError("it is away")


@pytest.mark.anyio
async def test_what_is_settled_waits_for_no_server_that_has_just_failed() -> None:
    """Of many calls that end while the server is away, one asks it; the others leave it alone, and none fails."""
    away = Away()
    counters = SharedCounters(away, otherwise=MemoryCounters())

    with capture_logs() as logged:
        for _ in range(5):
            await counters.settle([Settlement(SHARED, used=3)])

    assert away.asked == 1
    assert [entry["event"] for entry in logged] == [QUOTAS_UNSHARED]


@pytest.mark.anyio
async def test_nothing_to_tell_asks_nobody() -> None:
    """Holds of this process alone are settled without a question to the server."""
    away, own = Away(), MemoryCounters()
    counters = SharedCounters(away, otherwise=own)
    charge = Charge(key="a", window=SlidingWindow(60), limit=10, amount=6)
    ruling = await own.reserve([charge], lease_ms=60_000)
    assert ruling.holds

    await counters.settle([Settlement(ruling.holds[0], used=1)])
    again = await own.reserve([charge], lease_ms=60_000)

    assert away.asked == 0
    assert again.holds
