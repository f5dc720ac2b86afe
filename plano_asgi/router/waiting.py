"""Waiting for a thread's result, on an event loop or without one."""

from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any

import anyio
from anyio.lowlevel import current_token

from plano_asgi.decisions import Scores
from plano_asgi.errors import ClassificationError, ClassifierTimeoutError


def wait_blocking(future: Future[Scores], timeout_s: float) -> Scores | ClassificationError:
    """Return the future's result, or why there is none after `timeout_s` seconds at the most."""
    return _outcome(future, timeout_s, waited_s=timeout_s)


async def wait_async(future: Future[Scores], timeout_s: float) -> Scores | ClassificationError:
    """Return the same as `wait_blocking`, and neither block the event loop nor hold a thread meanwhile."""
    token: Any = current_token().native_token
    over = _over_on_trio if hasattr(token, "run_sync_soon") else _over_on_asyncio
    await over(future, timeout_s, token)
    return _outcome(future, 0, waited_s=timeout_s)


async def _over_on_asyncio(future: Future[Scores], timeout_s: float, loop: AbstractEventLoop) -> None:
    """Return once the future is done or the time is over, in a fraction of what an event and a scope of anyio take."""
    over = loop.create_future()

    def end() -> None:
        if not over.done():
            over.set_result(None)

    _announce(future, lambda: loop.call_soon_threadsafe(end))
    deadline = loop.call_later(timeout_s, end)
    try:
        await over
    finally:
        deadline.cancel()


async def _over_on_trio(future: Future[Scores], timeout_s: float, token: Any) -> None:  # noqa: ANN401 - trio is optional
    done = anyio.Event()
    _announce(future, lambda: token.run_sync_soon(done.set))
    with anyio.move_on_after(timeout_s):
        await done.wait()


def _announce(future: Future[Scores], call_soon: Callable[[], object]) -> None:
    """Tell an event loop when the future is done, and never wait for that loop: its host may have stalled it."""

    def announce(_: Future[Scores]) -> None:
        with suppress(RuntimeError):  # the loop may have ended while the work ran on
            call_soon()

    future.add_done_callback(announce)


def _outcome(future: Future[Scores], timeout_s: float, *, waited_s: float) -> Scores | ClassificationError:
    try:
        return future.result(timeout_s)
    except TimeoutError:
        return ClassifierTimeoutError(f"no answer within {waited_s * 1000:.0f} ms")
    except CancelledError:
        return ClassificationError("the router is shutting down")
    except ClassificationError as error:
        return error
