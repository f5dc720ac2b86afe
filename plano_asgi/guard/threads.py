"""Threads of one filter's own, so that what is slow holds up nothing else."""

from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

MOST_THREADS: Final = 8
_numbers = count()
T = TypeVar("T")


class OwnThreads:
    """Runs work on at most 8 threads in each event loop; what is given up goes on there, and is not heard."""

    def __init__(self) -> None:
        """Start no thread yet."""
        self._limiters: RunVar[anyio.CapacityLimiter | None] = RunVar(f"plano_asgi_filter_{next(_numbers)}")

    async def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns."""
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter())

    def _limiter(self) -> anyio.CapacityLimiter:
        limiter = self._limiters.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(MOST_THREADS)
            self._limiters.set(limiter)
        return limiter
