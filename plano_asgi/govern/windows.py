"""The time that a quota is for: one that slides, or a period of the calendar.

What is counted lies in slots, each known by the millisecond it begins at. A slot counts until all of it has left the
window, so that no stretch of time as long as the window ever holds more than the quota; in return capacity comes back
up to one slot late.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

SLOTS: Final = 20  # of a sliding window: capacity comes back late by a twentieth of it at the most
DAY_S: Final = 86_400


class Period(StrEnum):
    """A period of the calendar, in UTC; weeks begin on Mondays."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Window(Protocol):
    """A stretch of time; all moments and slots are milliseconds since 1970 (UTC)."""

    @property
    def seconds(self) -> int:
        """How long it is, or a month in general."""

    def slot_of(self, now: int) -> int:
        """Return the slot that a moment lies in."""

    def oldest(self, now: int) -> int:
        """Return the oldest slot that still counts at a moment."""

    def leaves(self, slot: int) -> int:
        """Return the moment from which a slot counts no more."""

    def told(self, now: int) -> tuple[int, ...]:
        """Return the window as numbers: length and count of slots, or the calendar's edges around about now."""


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """The latest so many seconds, in twenty slots."""

    seconds: int

    def slot_of(self, now: int) -> int:
        """Return the slot that a moment lies in."""
        return now - now % self._slot_ms

    def oldest(self, now: int) -> int:
        """Return the oldest slot that still counts at a moment."""
        return self.slot_of(now) - SLOTS * self._slot_ms

    def leaves(self, slot: int) -> int:
        """Return the moment from which a slot counts no more."""
        return slot + (SLOTS + 1) * self._slot_ms

    def told(self, now: int) -> tuple[int, ...]:
        """Return length and count of the slots."""
        del now
        return (self._slot_ms, SLOTS)

    @property
    def _slot_ms(self) -> int:
        return self.seconds * 1000 // SLOTS


@dataclass(frozen=True, slots=True)
class CalendarWindow:
    """The current period of the calendar: one slot, which ends with it."""

    period: Period

    @property
    def seconds(self) -> int:
        """How long it is; 30 days for any month."""
        return {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 30}[self.period] * DAY_S

    def slot_of(self, now: int) -> int:
        """Return the slot that a moment lies in."""
        return _millisecond(self._start(_day_of(now)))

    def oldest(self, now: int) -> int:
        """Return the oldest slot that still counts at a moment: the current one."""
        return self.slot_of(now)

    def leaves(self, slot: int) -> int:
        """Return the moment from which a slot counts no more."""
        return _millisecond(self._after(_day_of(slot)))

    def told(self, now: int) -> tuple[int, ...]:
        """Return where the last, this and the next period begin and end, for a clock that is not quite ours."""
        start = self._start(_day_of(now))
        before = self._start(start - timedelta(days=1))
        after = self._after(start)
        return tuple(map(_millisecond, (before, start, after, self._after(after))))

    def _start(self, day: date) -> date:
        if self.period is Period.WEEK:
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.period is Period.MONTH else day

    def _after(self, start: date) -> date:
        if self.period is Period.MONTH:
            return self._start(start + timedelta(days=31))
        return start + timedelta(days=7 if self.period is Period.WEEK else 1)


def _day_of(now: int) -> date:
    return datetime.fromtimestamp(now / 1000, UTC).date()


def _millisecond(day: date) -> int:
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY_S * 1000
