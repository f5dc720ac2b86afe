"""Work that follows a decision and that nobody waits for."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock
from time import monotonic
from typing import Final

from plano_asgi.events import SHADOW_DROPPED, SHADOW_FAILED, get_logger

TOLD_EVERY_S: Final = 60.0


class Shadows:
    """Does work on one thread of its own, while at most `most` more of it waits; more is dropped, which is logged.

    Thread-safe and fork-safe. What a work raises is logged, and ends there.
    """

    def __init__(self, *, most: int) -> None:
        """Set the bound; the thread starts with the first work."""
        self._most: Final = most
        self._told_at = -TOLD_EVERY_S
        self.reopen()

    def reopen(self) -> None:
        """Begin empty, also where `close` was called before."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="plano-shadow")
        self._waiting = 0
        self._lock = Lock()
        self._process = os.getpid()

    def begin(self, work: Callable[[], None]) -> None:
        """Have work done later, which logs as the call does that it is for; returns at once."""
        if os.getpid() != self._process:
            self.reopen()
        with self._lock:
            is_full = self._waiting > self._most
            self._waiting += not is_full
        if is_full:
            self._tell_dropped()
            return
        try:
            self._executor.submit(copy_context().run, self._do, work)
        except RuntimeError:  # it is closed
            self._waiting = 0

    def close(self) -> None:
        """Drop what waits; work that comes later is dropped too."""
        if os.getpid() == self._process:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - nobody waits for it, and the call was served
            get_logger().warning(SHADOW_FAILED, error=type(error).__name__)
        finally:
            with self._lock:
                self._waiting -= 1

    def _tell_dropped(self) -> None:
        now = monotonic()
        if now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            get_logger().warning(SHADOW_DROPPED, waiting=self._most, advice="lower the experiment's share")
