"""Waiting for a thread's result, on an event loop or without one."""

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
    done = anyio.Event()
    # anyio's own call into a loop waits for it, so a host that stalls its loop would stall the classifier for everybody
    loop: Any = current_token().native_token  # asyncio's event loop, or trio's token
    call_soon = getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe

    def announce(_: Future[Scores]) -> None:
        with suppress(RuntimeError):  # the loop may have ended while the work ran on
            call_soon(done.set)

    future.add_done_callback(announce)
    with anyio.move_on_after(timeout_s):
        await done.wait()
    return _outcome(future, 0, waited_s=timeout_s)


def _outcome(future: Future[Scores], timeout_s: float, *, waited_s: float) -> Scores | ClassificationError:
    try:
        return future.result(timeout_s)
    except TimeoutError:
        return ClassifierTimeoutError(f"no answer within {waited_s * 1000:.0f} ms")
    except CancelledError:
        return ClassificationError("the router is shutting down")
    except ClassificationError as error:
        return error
