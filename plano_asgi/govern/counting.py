"""What is counted against quotas: charges, holds on capacity, and what became of them. Pure.

A charge is reserved by its estimate before a call and settled by what was really used after it. Until then it is held;
a hold that nobody settles in time (its process was killed) is given back. All are named tuples: every call makes them,
and they take half the time that a frozen dataclass does.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from plano_asgi.govern.windows import Window

MOST_AMOUNT: Final = 2**50  # all sums stay exact, also in Lua's floating point


class Charge(NamedTuple):
    """What a call is to take of one counter.

    Attributes:
        key: The counter's name.
        window: The time that the limit is for.
        limit: Most that may be counted in it.
        amount: How much the call takes.
    """

    key: str
    window: Window
    limit: int
    amount: int


class Hold(NamedTuple):
    """An amount that one call has reserved.

    Attributes:
        key: The counter's name.
        window: The time that its limit is for.
        ident: What tells it from all other holds.
        slot: The slot that it is counted in.
        amount: How much.
        is_shared: Whether all processes count it, or this one alone.
    """

    key: str
    window: Window
    ident: str
    slot: int
    amount: int
    is_shared: bool = False


class Settlement(NamedTuple):
    """What a hold has come to: what was really used of it."""

    hold: Hold
    used: int


class Standing(NamedTuple):
    """How a counter stands as a charge comes.

    Attributes:
        used: What is counted already.
        wait_ms: Milliseconds until the charge fits, 0 where it does now; None where it never will.
        reset_ms: Milliseconds until nothing of what is counted counts any more.
    """

    used: int
    wait_ms: int | None
    reset_ms: int


class Ruling(NamedTuple):
    """What became of charges: all are held, or none is.

    Attributes:
        standings: How each counter stood.
        holds: A hold for each charge; None where one of them does not fit.
    """

    standings: tuple[Standing, ...]
    holds: tuple[Hold, ...] | None


class Counters(Protocol):
    """Keeps the counters."""

    async def reserve(self, charges: Sequence[Charge], *, lease_ms: int, settling: Sequence[Settlement] = ()) -> Ruling:
        """Hold all of the charges or, where one does not fit, none; in one step that nothing comes between.

        Args:
            charges: What is to be held.
            lease_ms: After how many milliseconds a hold is given back that nobody has settled; 0 to charge for good.
            settling: What is settled first.

        Raises:
            StoreError: The counters cannot be had.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Count what was really used in place of what was held.

        Raises:
            StoreError: The counters cannot be had.
        """


class Counter:
    """One counter: what was taken in each slot of its window, and what of it is only held.

    Bounded by the window's slots and by one hold for each call in flight.
    """

    __slots__ = ("_held", "_slots")

    def __init__(self) -> None:
        """Start at nothing."""
        self._slots: dict[int, int] = {}
        self._held: dict[str, tuple[int, Hold]] = {}

    def standing(self, charge: Charge, now: int) -> Standing:
        """Return how it stands, having forgotten what has left the window and what was held for too long."""
        self._tidy(charge.window, now)
        used = sum(self._slots.values())
        reset_ms = charge.window.leaves(max(self._slots)) - now if self._slots else 0
        return Standing(used=used, wait_ms=self._wait_ms(charge, used, now), reset_ms=reset_ms)

    def _wait_ms(self, charge: Charge, used: int, now: int) -> int | None:
        """Return how long a charge waits until so much has left the window that it fits; None where it never will."""
        if charge.amount > charge.limit:
            return None
        excess, wait_ms = used + charge.amount - charge.limit, 0
        for slot in sorted(self._slots) if excess > 0 else ():
            if excess > 0:
                excess -= self._slots[slot]
                wait_ms = charge.window.leaves(slot) - now
        return wait_ms

    def take(self, charge: Charge, now: int, *, ident: str, lease_ms: int) -> Hold:
        """Count a charge as held; for good where the lease is 0."""
        slot = charge.window.slot_of(now)
        hold = Hold(key=charge.key, window=charge.window, ident=ident, slot=slot, amount=charge.amount)
        self._slots[slot] = self._slots.get(slot, 0) + charge.amount
        if lease_ms:
            self._held[ident] = (now + lease_ms, hold)
        return hold

    def settle(self, settlement: Settlement, now: int) -> None:
        """Count what was used in place of what is held, or on top where that was given back already."""
        hold = settlement.hold
        is_held = self._held.pop(hold.ident, None) is not None
        if now < hold.window.leaves(hold.slot):
            change = settlement.used - (hold.amount if is_held else 0)
            self._slots[hold.slot] = self._slots.get(hold.slot, 0) + change

    def _tidy(self, window: Window, now: int) -> None:
        while self._held:
            until, hold = next(iter(self._held.values()))
            if until > now:
                break
            del self._held[hold.ident]
            if hold.slot in self._slots:
                self._slots[hold.slot] -= hold.amount
        oldest = window.oldest(now)
        for slot in [slot for slot in self._slots if slot < oldest]:
            del self._slots[slot]
