"""Classifications on worker threads: bounded, shared by identical calls, and owned by no caller.

A classification belongs to nobody: a caller that gives up or disconnects does not take the answer away from the others
who wait for it, or from the cache.
"""

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic

from plano_asgi.decisions import Scores
from plano_asgi.errors import ClassificationError, ClassifierSaturatedError, ClassifierTimeoutError


class Classifications:
    """Runs classifications on `workers` threads while at most `queue` more wait; thread-safe."""

    def __init__(self, *, workers: int, queue: int) -> None:
        """Set the bounds; threads start with the first classification."""
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="plano-classify")
        self._limit = workers + queue
        self._in_flight: dict[Hashable, _Flight] = {}
        self._lock = Lock()

    def submit(self, key: Hashable, work: Callable[[], Scores], *, deadline_s: float) -> Future[Scores]:
        """Return the future scores of `work`, or of the same key's classification that is already under way.

        The future fails with a `ClassificationError` and nothing else.

        Raises:
            ClassifierSaturatedError: The queue is full.
            ClassificationError: No thread can take it, above all after `close`.
        """
        latest_start = monotonic() + deadline_s
        with self._lock:
            if flight := self._in_flight.get(key):
                flight.latest_start = latest_start  # who joins last waits longest
                return flight.future
            if len(self._in_flight) >= self._limit:
                raise ClassifierSaturatedError(f"{self._limit} classifications are waiting already")
            flight = _Flight(work, latest_start)
            try:
                flight.future = self._executor.submit(flight.run)
            except RuntimeError as error:
                raise ClassificationError(str(error)) from error
            self._in_flight[key] = flight
        flight.future.add_done_callback(lambda _: self._forget(key))
        return flight.future

    def close(self) -> None:
        """Drop what waits and let what runs end; later submissions are errors."""
        self._executor.shutdown(wait=False)
        with self._lock:
            flights = list(self._in_flight.values())
        for flight in flights:  # under no lock, and not by the executor, which holds its own: their callbacks take ours
            flight.future.cancel()

    def _forget(self, key: Hashable) -> None:
        with self._lock:
            self._in_flight.pop(key, None)


@dataclass(slots=True)
class _Flight:
    """One classification under way; not started any more once nobody waits for it."""

    work: Callable[[], Scores]
    latest_start: float
    future: Future[Scores] = field(init=False)

    def run(self) -> Scores:
        if monotonic() > self.latest_start:
            raise ClassifierTimeoutError("waited past its deadline")
        try:
            return self.work()
        except ClassificationError:
            raise
        except BaseException as error:  # a panic in a Rust library, such as tokenizers, is no Exception
            raise ClassificationError(f"{type(error).__name__} in the classifier") from error
