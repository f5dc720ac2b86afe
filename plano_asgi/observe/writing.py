"""Writing on a thread beside the calls, so that no call waits for a disk or a server."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from typing import Final
from weakref import WeakMethod

from plano_asgi.events import DECISION_LOG_FAILED, get_logger

MOST_WAITING: Final = 1_000
MOST_AT_ONCE: Final = 100
_FLUSH_S: Final = 5.0

Entry = Mapping[str, object]


class BackgroundWriter:
    """Writes entries in their order; of those that come faster than they are written, beyond 1,000 waiting are lost.

    Its thread starts with the first entry, does not outlive the process, and a fork begins anew.
    """

    def __init__(self, write: Callable[[Sequence[Entry]], object]) -> None:
        """Take what writes, which may block; what it raises costs the entries that it was given."""
        self._write = write
        self._start_empty()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=partial(_call, WeakMethod(self._start_empty)))

    def _start_empty(self) -> None:
        self._lock = Lock()
        self._waiting: Queue[Entry | Event] = Queue(MOST_WAITING)
        self._thread: Thread | None = None

    def put(self, entry: Entry) -> None:
        """Have an entry written soon; never blocks."""
        self._ensure_thread()
        try:
            self._waiting.put_nowait(entry)
        except Full:
            get_logger().warning(DECISION_LOG_FAILED, error="Full")

    def flush(self) -> None:
        """Return when all that waits is written, or after five seconds."""
        if self._thread is None:
            return
        written = Event()
        try:
            self._waiting.put(written, timeout=_FLUSH_S)
        except Full:
            return
        written.wait(_FLUSH_S)

    def _ensure_thread(self) -> None:
        if self._thread:
            return
        with self._lock:
            if self._thread is None:
                self._thread = Thread(target=self._work, args=(self._waiting,), name="plano-decision-log", daemon=True)
                self._thread.start()

    def _work(self, waiting: "Queue[Entry | Event]") -> None:
        while True:
            taken = [waiting.get()]
            try:
                while len(taken) < MOST_AT_ONCE:
                    taken.append(waiting.get_nowait())
            except Empty:
                pass
            self._write_down([one for one in taken if not isinstance(one, Event)])
            for one in taken:
                if isinstance(one, Event):
                    one.set()

    def _write_down(self, entries: Sequence[Entry]) -> None:
        try:
            if entries:
                self._write(entries)
        except Exception as error:  # noqa: BLE001 - whatever it is, the entries that come later are written
            get_logger().warning(DECISION_LOG_FAILED, error=type(error).__name__, lost=len(entries))


def _call(method: WeakMethod[Callable[[], None]]) -> None:
    """Call a method of somebody who may be gone."""
    if alive := method():
        alive()
