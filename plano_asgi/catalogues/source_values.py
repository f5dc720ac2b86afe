"""What another server says of models, read again and again beside the calls that need it."""

import os
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import Final, Generic, TypeVar

from plano_asgi.errors import NetworkError
from plano_asgi.events import MODEL_METRICS_FAILED, MODEL_METRICS_READ, get_logger

RETRY_S: Final = 30.0

_Value = TypeVar("_Value")


class SourceValues(Generic[_Value]):
    """The values that a source has told last, by its own names; none before it was read for the first time.

    It is read on a thread that does not outlive the process, from `start` to `stop`; a forked child goes on with a
    thread of its own. Where it cannot be read, what was known stays, the log says so once, and it is asked again after
    30 seconds at the latest.
    """

    def __init__(self, source: str, read: Callable[[], Mapping[str, _Value]], *, every_s: float) -> None:
        """Ask nobody yet.

        Args:
            source: What the log calls it.
            read: Returns what the source says now; raises a `NetworkError` where that cannot be had.
            every_s: Seconds from one reading to the next.
        """
        self._source: Final = source
        self._read: Final = read
        self._every_s: Final = every_s
        self._values: Mapping[str, _Value] = {}
        self._running: dict[int, Event] = {}  # by process: a fork takes no thread along

    def get(self, name: str) -> _Value | None:
        """Return what is known by a name, at once; None where nothing is."""
        if self._running and os.getpid() not in self._running:
            self.start()
        return self._values.get(name)

    def start(self) -> None:
        """Begin to read, unless that has begun in this process."""
        stopped = Event()
        if self._running.setdefault(os.getpid(), stopped) is stopped:
            Thread(target=self._repeat, args=(stopped,), name="plano-model-metrics", daemon=True).start()

    def stop(self) -> None:
        """Read no more; a reading that is under way is not waited for. What is known stays."""
        stopped = self._running.get(os.getpid())
        self._running = {}
        if stopped:
            stopped.set()

    def _repeat(self, stopped: Event) -> None:
        is_known: bool | None = None
        while not stopped.is_set():
            was_known, is_known = is_known, self._refresh(stopped, is_told=is_known is not False)
            if is_known and not was_known:
                get_logger().info(MODEL_METRICS_READ, source=self._source, models=len(self._values))
            stopped.wait(self._every_s if is_known else min(self._every_s, RETRY_S))

    def _refresh(self, stopped: Event, *, is_told: bool) -> bool:
        """Return whether the source could be read."""
        try:
            values = self._read()
        except Exception as error:  # noqa: BLE001 - whatever it is, what was known is of more use than a dead thread
            if is_told and not stopped.is_set():
                detail = str(error) if isinstance(error, NetworkError) else ""
                get_logger().warning(
                    MODEL_METRICS_FAILED,
                    source=self._source,
                    error=type(error).__name__,
                    detail=detail,
                    models=len(self._values),
                )
            return False
        self._values = values
        return True
