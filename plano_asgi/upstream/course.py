"""Which candidate a call tries next, and when."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import random

from plano_asgi.providers import ModelProvider
from plano_asgi.upstream.breaker import Breakers
from plano_asgi.upstream.failures import Failure, FailureKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that may serve a call; `window` is how many tokens it reads, None where nobody knows."""

    provider: ModelProvider
    window: int | None = None

    @property
    def model(self) -> str:
        """The qualified model."""
        return self.provider.model


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverRules:
    """How often and how soon a call is tried again.

    Attributes:
        attempts: Most attempts of one call, over all its models.
        backoff_s: Seconds before a model is tried a second time; doubled before each further time, and jittered.
        backoff_max_s: Most seconds to wait between two attempts, for whatever reason.
    """

    attempts: int = 3
    backoff_s: float = 0.5
    backoff_max_s: float = 8.0


@dataclass(frozen=True, slots=True)
class Step:
    """The next attempt, the seconds to wait before it, and whether the candidate's breaker lets it through so far."""

    candidate: Candidate
    wait_s: float
    is_admitted: bool


class Course:
    """The candidates of one call: each is tried once in its order, then those again that may do better now.

    A model whose breaker is open comes after the others, and is tried only where they have failed: to spare it is no
    reason to fail a call. One whose provider has asked to be left alone is waited for a little, or passed over.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate],
        *,
        rules: FailoverRules,
        breakers: Breakers,
        jitter: Callable[[], float] = random,
    ) -> None:
        """Start before the first attempt; `jitter` gives numbers in [0, 1)."""
        self._rules = rules
        self._breakers = breakers
        self._jitter = jitter
        self._queue = list(candidates)
        self._again: list[Candidate] = []
        self._made = 0
        self._rounds = 0

    def put_back(self, candidate: Candidate) -> None:
        """Take back the attempt that was to be made last: another call has come before it, so that it can wait."""
        self._queue.insert(0, candidate)
        self._made -= 1

    def give_back(self) -> None:
        """Take back the attempt that was to be made last: the candidate could not even be asked."""
        self._made -= 1

    @property
    def attempts(self) -> int:
        """How many attempts there were."""
        return self._made

    def next(self) -> Step | None:
        """Return the next attempt, or None where there is none left to make."""
        if self._made == self._rules.attempts:
            return None
        pause_s = 0.0
        if not self._queue and self._again:
            self._queue, self._again = self._again, []
            pause_s = self._pause_s()
        if not self._queue:
            return None
        candidate = min(self._queue, key=self._reluctance)  # the first of those that are equal
        wait_s = max(pause_s, self._breakers.rest_s(candidate.model))
        if wait_s > self._rules.backoff_max_s:
            return None
        self._queue.remove(candidate)
        self._made += 1
        return Step(candidate, wait_s, is_admitted=self._breakers.admits(candidate.model))

    def note(self, candidate: Candidate, failure: Failure) -> None:
        """Take into account how an attempt has failed."""
        if failure.kind is FailureKind.TOO_LONG:
            self._queue = [other for other in self._queue if _is_larger(other, candidate)]
            self._again = [other for other in self._again if _is_larger(other, candidate)]
        elif failure.is_transient:
            self._again.append(candidate)

    def at_once(self, candidate: Candidate) -> None:
        """Let an attempt be made again before any other, and without a wait; it counts as one more."""
        self._queue.insert(0, candidate)

    @property
    def is_over(self) -> bool:
        """Whether no candidate is left that could be tried, whatever the time and the number of attempts."""
        return not self._queue and not self._again

    def _reluctance(self, candidate: Candidate) -> tuple[float, bool]:
        return self._breakers.rest_s(candidate.model), not self._breakers.admits(candidate.model)

    def _pause_s(self) -> float:
        """Return the backoff before a round of further tries: half of it is certain, half is chance."""
        whole = min(self._rules.backoff_s * 2.0**self._rounds, self._rules.backoff_max_s)
        self._rounds += 1
        return whole * (0.5 + self._jitter() / 2)


def _is_larger(candidate: Candidate, than: Candidate) -> bool:
    return candidate.window is not None and than.window is not None and candidate.window > than.window
