"""Classifications on worker threads: bounded, shared by identical calls, and owned by no caller.

A classification belongs to nobody: a caller that gives up or disconnects does not take the answer away from the others
who wait for it, or from the cache.
"""

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from time import monotonic

from plano_asgi.decision import Scores
from plano_asgi.errors import ClassificationError, ClassifierSaturatedError, ClassifierTimeoutError


class Classifications:
    """Runs classifications on `workers` threads while at most `queue` more wait; thread-safe."""

    def __init__(self, *, workers: int, queue: int) -> None:
        """Set the bounds; threads start with the first classification."""
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="plano-classify")
        self._limit = workers + queue
        self._in_flight: dict[Hashable, Future[Scores]] = {}
        self._lock = Lock()

    def submit(self, key: Hashable, work: Callable[[], Scores], *, deadline_s: float) -> Future[Scores]:
        """Return the future scores of `work`, or of the same key's classification that is already under way.

        The future fails with a `ClassificationError` and nothing else.

        Raises:
            ClassifierSaturatedError: The queue is full.
        """
        with self._lock:
            if future := self._in_flight.get(key):
                return future
            if len(self._in_flight) >= self._limit:
                raise ClassifierSaturatedError(f"{self._limit} classifications are waiting already")
            latest_start = monotonic() + deadline_s
            future = self._executor.submit(_run, work, latest_start)
            self._in_flight[key] = future
        future.add_done_callback(lambda _: self._forget(key))
        return future

    def close(self) -> None:
        """Drop what waits and let what runs end; later submissions are errors."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _forget(self, key: Hashable) -> None:
        with self._lock:
            self._in_flight.pop(key, None)


def _run(work: Callable[[], Scores], latest_start: float) -> Scores:
    if monotonic() > latest_start:  # nobody waits for it any more
        raise ClassifierTimeoutError("waited past its deadline")
    try:
        return work()
    except ClassificationError:
        raise
    except Exception as error:
        raise ClassificationError(f"{type(error).__name__} in the classifier") from error
