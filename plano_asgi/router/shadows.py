"""Work that follows a decision and that nobody waits for."""

import os
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import Empty, Full, Queue
from threading import Lock, Thread
from time import monotonic
from typing import Final

from plano_asgi.events import SHADOW_DROPPED, SHADOW_FAILED, get_logger

TOLD_EVERY_S: Final = 60.0

_Work = Callable[[], None]


class Shadows:
    """Does work on one thread of its own, while at most `most` more of it waits; more is dropped, which is logged.

    Thread-safe and fork-safe; the thread does not outlive the process. What a work raises is logged, and ends there.
    """

    def __init__(self, *, most: int) -> None:
        """Set the bound; the thread starts with the first work."""
        self._most: Final = most
        self._told_at = -TOLD_EVERY_S
        self._is_closed = False
        self._start_empty()

    def _start_empty(self) -> None:
        self._waiting: Queue[_Work | None] = Queue(self._most)
        self._thread: Thread | None = None
        self._lock = Lock()
        self._process = os.getpid()  # last: a thread that reads it finds the rest in place

    def reopen(self) -> None:
        """Take work again, where `close` was called before."""
        if self._is_closed:
            self._start_empty()
            self._is_closed = False

    def begin(self, work: _Work) -> None:
        """Have work done later, which logs as the call does that it is for; returns at once."""
        if os.getpid() != self._process:  # a fork takes no thread along, but locks as others held them
            self._start_empty()
        with self._lock:
            if self._is_closed:
                return
            if self._thread is None:
                self._thread = Thread(target=_do_all, args=(self._waiting,), name="plano-shadow", daemon=True)
                self._thread.start()
            try:
                self._waiting.put_nowait(partial(copy_context().run, work))
            except Full:
                self._tell_dropped()

    def close(self) -> None:
        """Drop what waits; work that comes later is dropped too."""
        if os.getpid() != self._process:
            self._start_empty()
        with self._lock:
            self._is_closed = True
            with suppress(Empty):
                while True:
                    self._waiting.get_nowait()
            self._waiting.put_nowait(None)

    def _tell_dropped(self) -> None:
        now = monotonic()
        if now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            get_logger().warning(SHADOW_DROPPED, waiting=self._most, advice="lower the experiment's share")


def _do_all(waiting: "Queue[_Work | None]") -> None:
    while (work := waiting.get()) is not None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - nobody waits for it, and the call was served
            get_logger().warning(SHADOW_FAILED, error=type(error).__name__)
