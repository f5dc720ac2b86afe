"""Classifications on worker threads: bounded, shared by identical calls, and owned by no caller.

A classification belongs to nobody: a caller that gives up or disconnects does not take the answer away from the others
who wait for it, or from the cache.
"""

import os
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Final

from plano_asgi.classify import IsAwaited
from plano_asgi.decisions import Scores
from plano_asgi.errors import ClassificationError, ClassifierSaturatedError, ClassifierTimeoutError, PlanoError

Work = Callable[[IsAwaited], Scores]


class Classifications:
    """Runs classifications on `workers` threads while at most `queue` more wait; thread-safe, and fork-safe.

    Callers join the classification of the same key that is under way, unless it has run for longer than their deadline.
    """

    def __init__(self, *, workers: int, queue: int) -> None:
        """Set the bounds; threads start with the first classification."""
        self._workers: Final = workers
        self._limit: Final = workers + queue
        self._is_closed = False
        self._start_empty()

    def _start_empty(self) -> None:
        self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="plano-classify")
        self._in_flight: dict[Hashable, _Flight] = {}
        self._lock = Lock()
        self._process = os.getpid()  # last: a thread that reads it finds the rest in place

    @property
    def is_closed(self) -> bool:
        """Whether it takes no work until it is reopened."""
        return self._is_closed

    @property
    def waiting(self) -> int:
        """How many classifications are under way or wait."""
        return len(self._in_flight)

    def _leave_parent(self) -> None:
        """Start empty in a process forked off: a fork takes no threads along, but locks as others held them."""
        if os.getpid() != self._process:
            self._start_empty()

    def submit(self, key: Hashable, work: Work, *, deadline_s: float) -> Future[Scores]:
        """Return the future scores of `work`, or of the same key's classification that is already under way.

        The future fails with a `ClassificationError` and nothing else.

        Args:
            key: What makes two classifications the same.
            work: Classifies; is told how to ask whether anybody still waits.
            deadline_s: Seconds that the caller will wait.

        Raises:
            ClassifierSaturatedError: The queue is full.
            ClassifierTimeoutError: The classification under way has run for longer than the deadline.
            ClassificationError: No thread can take it, above all after `close`.
        """
        self._leave_parent()
        now = monotonic()
        with self._lock:
            if self._is_closed:
                raise ClassificationError("the router is closed; start it again")
            if flight := self._in_flight.get(key):
                flight.join(now, deadline_s)
                return flight.future
            if len(self._in_flight) >= self._limit:
                raise ClassifierSaturatedError(f"{self._limit} classifications are waiting already")
            flight = _Flight(work, awaited_until=now + deadline_s)
            try:
                flight.future = self._executor.submit(self._run, key, flight)
            except RuntimeError as error:
                raise ClassificationError(str(error)) from error
            self._in_flight[key] = flight
        return flight.future

    def reopen(self) -> None:
        """Take work again, where `close` was called before."""
        self._leave_parent()
        if self._is_closed:
            self._start_empty()
            self._is_closed = False

    def close(self) -> None:
        """Drop what waits and let what runs end; later submissions are errors, in processes forked off as well."""
        self._leave_parent()
        self._is_closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._in_flight.clear()

    def _run(self, key: Hashable, flight: "_Flight") -> Scores:
        with self._lock:
            flight.running_since = monotonic()
            if not flight.is_awaited():
                self._in_flight.pop(key, None)  # before the lock is free, or a caller could join what is given up
                raise ClassifierTimeoutError("waited past its deadline")
        try:
            return flight.work(flight.is_awaited)
        except ClassificationError:
            raise
        except PlanoError as error:  # its words are ours, and hold no key or prompt
            raise ClassificationError(str(error)) from error
        except BaseException as error:  # a panic in a Rust library, such as tokenizers, is no Exception
            raise ClassificationError(f"{type(error).__name__} in the classifier") from error
        finally:
            self._forget(key, flight)

    def _forget(self, key: Hashable, flight: "_Flight") -> None:
        with self._lock:
            if self._in_flight.get(key) is flight:
                del self._in_flight[key]


@dataclass(slots=True, eq=False)
class _Flight:
    """One classification under way, awaited until its last caller's deadline."""

    work: Work
    awaited_until: float
    running_since: float | None = None
    future: Future[Scores] = field(init=False)

    def is_awaited(self) -> bool:
        return monotonic() <= self.awaited_until

    def join(self, now: float, deadline_s: float) -> None:
        if self.running_since is not None and now - self.running_since > deadline_s:
            raise ClassifierTimeoutError("the same classification hangs")
        self.awaited_until = now + deadline_s
