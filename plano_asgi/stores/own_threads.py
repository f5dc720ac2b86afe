"""Threads on which an event loop asks one server, apart from those that everything else shares."""

from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from plano_asgi.errors import StoreBusyError

_Answer = TypeVar("_Answer")
_numbers = count()


class OwnThreads:
    """At most `most` threads for each event loop; a server that hangs takes none of anybody else's."""

    def __init__(self, most: int, *, patience_s: float) -> None:
        """Set the bounds.

        Args:
            most: Most threads at a time.
            patience_s: Seconds to wait for a free one.
        """
        self._most: Final = most
        self._patience_s: Final = patience_s
        self._turns_of_this_loop: Final[RunVar[anyio.Semaphore]] = RunVar(f"plano_asgi_threads_{next(_numbers)}")

    async def run(self, ask: Callable[[], _Answer]) -> _Answer:
        """Return what comes of asking, without blocking the event loop.

        Raises:
            StoreBusyError: No thread became free in time.
        """
        turns = self._turns()
        try:
            with anyio.fail_after(self._patience_s):
                await turns.acquire()
        except TimeoutError:
            raise StoreBusyError("all connections are in use; fewer calls at once, or a longer timeout_ms") from None
        try:
            return await anyio.to_thread.run_sync(ask, limiter=anyio.CapacityLimiter(1))
        finally:
            turns.release()

    def _turns(self) -> anyio.Semaphore:
        turns = self._turns_of_this_loop.get(None)
        if turns is None:
            turns = anyio.Semaphore(self._most)
            self._turns_of_this_loop.set(turns)
        return turns
