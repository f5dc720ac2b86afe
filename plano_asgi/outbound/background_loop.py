"""An event loop in a thread of its own, for callers that block."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from threading import Thread, current_thread
from typing import Any, Final, TypeVar

CLOSING_S: Final = 5.0

_Result = TypeVar("_Result")


class BackgroundLoop:
    """Runs work for threads that wait for it, in the context of the caller; belongs to the process that made it."""

    def __init__(self, on_stop: Callable[[], Awaitable[None]]) -> None:
        """Start the thread; `on_stop` is awaited in the loop when it ends."""
        self._process: Final = os.getpid()
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread: Final = Thread(target=_run, args=[started, on_stop], name="plano-outbound", daemon=True)
        self._thread.start()
        self._loop, self._stopped = started.result()

    def run(self, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """Return what the work comes to; whoever is interrupted while waiting takes the work with him.

        Raises:
            RuntimeError: The loop is stopped, or was made by the parent of this process.
        """
        if current_thread() is self._thread:
            raise RuntimeError("the transport's own event loop cannot wait for itself; use an async client there")
        if os.getpid() != self._process:
            raise RuntimeError("this was begun before the process was forked, and ends with the parent; begin it anew")
        future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise RuntimeError("the transport was closed meanwhile") from None
        except BaseException:
            future.cancel()
            raise

    def run_if_alive(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do the work, unless the loop has ended, which has done it, or is that of this process's parent."""
        if os.getpid() == self._process and self._thread.is_alive():
            with suppress(RuntimeError):  # it ends just now
                self.run(work)

    def end(self) -> None:
        """Let the loop end as soon as it can; waits for nothing, and may be called from anywhere."""
        if os.getpid() == self._process:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stopped.set)

    def stop(self) -> None:
        """End the loop and what it still does, and wait up to 5 seconds until that is so."""
        self.end()
        if os.getpid() == self._process and current_thread() is not self._thread:
            self._thread.join(CLOSING_S)


def _run(
    started: "Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]", on_stop: Callable[[], Awaitable[None]]
) -> None:
    async def live() -> None:
        stopped = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stopped))
        await stopped.wait()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await on_stop()

    asyncio.run(live())
