"""Which models are spared for a while: after failures by a circuit breaker, after a rate limit by the provider's word.

A state machine without a clock: it is told the time, in seconds of any monotonic clock.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Lock
from time import monotonic
from typing import Final

RECENT: Final = 10  # answers that are looked back on
MOST_DOUBLINGS: Final = 3
MOST_MODELS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When a breaker opens, and for how long.

    Attributes:
        failures: Failures among a model's latest 10 answers that open it.
        open_s: Seconds for which it is open; twice as long after each probe that fails, eight times at the most.
        rest_s: Seconds of rest after a rate limit that names none; doubled in the same way.
    """

    failures: int = 5
    open_s: float = 10.0
    rest_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Admission:
    """That a call may be made.

    Attributes:
        probe_until: Until when it is the probe, which tells it from every other; None where it is none.
    """

    probe_until: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is known of one model at one provider.

    Closed while `open_until` is None; open until that time; half-open from then on, when one probe at a time is let
    through, and its outcome decides. Beside that, a model rests until `rests_until`, as its provider has asked.
    """

    recent: tuple[bool, ...] = ()
    open_until: float | None = None
    openings: int = 0
    probe_until: float | None = None
    rests_until: float = float("-inf")
    limits: int = 0

    def admits(self, now: float) -> bool:
        """Return whether the model may be asked."""
        if now < self.rests_until:
            return False
        if self.open_until is None:
            return True
        return now >= self.open_until and (self.probe_until is None or now >= self.probe_until)

    def asked(self, now: float, rules: BreakerRules) -> "Health":
        """Return the health with a call under way; while half-open that is the probe."""
        if self.open_until is None or now < self.open_until:
            return self
        return replace(self, probe_until=now + rules.open_s)

    def succeeded(self) -> "Health":
        """Return the health after an answer, whichever call it answers: the breaker is closed."""
        recent = () if self.open_until is not None else (*self.recent, False)[-RECENT:]
        return Health(recent=recent)

    def failed(self, now: float, rules: BreakerRules) -> "Health":
        """Return the health after a failure; calls that were under way when it opened change nothing."""
        if self.open_until is not None:
            return self._opened(now, rules) if now >= self.open_until else self
        health = replace(self, recent=(*self.recent, True)[-RECENT:])
        return health._opened(now, rules) if sum(health.recent) >= rules.failures else health  # noqa: SLF001 - our own

    def limited(self, now: float, retry_after_s: float | None, rules: BreakerRules) -> "Health":
        """Return the health after a rate limit: at rest for as long as the provider says, or ever longer."""
        rest_s = rules.rest_s * 2 ** min(self.limits, MOST_DOUBLINGS) if retry_after_s is None else retry_after_s
        rests_until = max(self.rests_until, now + rest_s)
        return replace(self, rests_until=rests_until, limits=self.limits + 1, probe_until=None)

    def abandoned(self, admission: Admission | None) -> "Health":
        """Return the health after a call that nobody waits for any more: it has said nothing, and another may probe."""
        was_probe = admission is not None and admission.probe_until == self.probe_until
        return replace(self, probe_until=None) if was_probe else self

    def _opened(self, now: float, rules: BreakerRules) -> "Health":
        open_s = rules.open_s * 2 ** min(self.openings, MOST_DOUBLINGS)
        return replace(self, recent=(), open_until=now + open_s, openings=self.openings + 1, probe_until=None)


_UNKNOWN: Final = Health()


@dataclass(slots=True)
class Breakers:
    """The health of the models that were asked last, 10,000 at the most: callers may name any under `provider/*`.

    Thread-safe: nothing that is noted is lost, and of two calls that would be the probe, one is.
    """

    rules: BreakerRules = field(default_factory=BreakerRules)
    clock: Callable[[], float] = monotonic
    _healths: OrderedDict[str, Health] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def of(self, model: str) -> Health:
        """Return what is known of a model."""
        return self._healths.get(model, _UNKNOWN)

    def admits(self, model: str) -> bool:
        """Return whether a model may be asked now."""
        return self.of(model).admits(self.clock())

    def state_of(self, model: str) -> int:
        """Return 0 where a model's breaker is closed, 1 where it is half open, 2 where it is open."""
        open_until = self.of(model).open_until
        if open_until is None:
            return 0
        return 1 if self.clock() >= open_until else 2

    def rest_s(self, model: str) -> float:
        """Return for how many seconds more a model's provider asks not to be asked for it; 0 where it may be."""
        return max(0.0, self.of(model).rests_until - self.clock())

    def asked(self, model: str) -> Admission | None:
        """Note that a model is asked; return None where it may not be: what is asked all the same is no probe."""
        with self._lock:
            health, now = self.of(model), self.clock()
            if not health.admits(now):
                return None
            self._note(model, health := health.asked(now, self.rules))
            return Admission(health.probe_until)

    def succeeded(self, model: str) -> None:
        """Note that a model answers."""
        with self._lock:
            self._note(model, self.of(model).succeeded())

    def failed(self, model: str, retry_after_s: float | None = None) -> None:
        """Note that a model has failed, and that its provider asks to be left alone, where it does."""
        with self._lock:
            health = self.of(model).failed(self.clock(), self.rules)
            if retry_after_s is not None:
                health = replace(health, rests_until=max(health.rests_until, self.clock() + retry_after_s))
            self._note(model, health)

    def limited(self, model: str, retry_after_s: float | None) -> None:
        """Note that a provider limits a model's rate."""
        with self._lock:
            self._note(model, self.of(model).limited(self.clock(), retry_after_s, self.rules))

    def abandoned(self, model: str, admission: Admission | None) -> None:
        """Note that a call was given up, which had been admitted so, or was made all the same."""
        with self._lock:
            self._note(model, self.of(model).abandoned(admission))

    def _note(self, model: str, health: Health) -> None:
        self._healths[model] = health  # before it becomes the latest: who reads without the lock always finds it
        self._healths.move_to_end(model)
        if len(self._healths) > MOST_MODELS:
            self._healths.popitem(last=False)
