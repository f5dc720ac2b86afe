"""Waiting for a classification: who leaves early disturbs nobody, and nothing of a call is left behind."""

import asyncio
import gc
import time
import weakref
from asyncio import AbstractEventLoop, SelectorEventLoop, TimerHandle
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import Context
from threading import Event
from typing import Any, TypeVarTuple

import anyio
import pytest

from plano_asgi.classify import IsAwaited
from plano_asgi.decisions import Scores
from plano_asgi.errors import ClassifierTimeoutError
from plano_asgi.router.classifications import Classifications
from plano_asgi.router.waiting import wait_async

SCORES = Scores(routes={"code": 0.9}, other=0.1)
Given = TypeVarTuple("Given")
LONG_S = 20.0  # a deadline that does not come


class WatchedLoop(SelectorEventLoop):
    """An event loop that remembers its timers."""

    def __init__(self) -> None:
        """Start with none."""
        self.timers: list[TimerHandle] = []
        super().__init__()

    def call_later(
        self, delay: float, callback: Callable[[*Given], object], *args: *Given, context: Context | None = None
    ) -> TimerHandle:
        """Remember the timer."""
        timer = super().call_later(delay, callback, *args, context=context)
        self.timers.append(timer)
        return timer


@pytest.fixture
def without_cycles() -> Iterator[None]:
    """Collect no garbage meanwhile: only what nothing refers to goes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def leave_at_deadline(future: Future[Scores]) -> None:
    """Wait until the deadline."""
    assert isinstance(await wait_async(future, 0.01), ClassifierTimeoutError)


async def leave_by_cancellation(future: Future[Scores]) -> None:
    """Be cancelled in asyncio's own way."""
    caller = asyncio.ensure_future(wait_async(future, LONG_S))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def leave_by_timeout(future: Future[Scores]) -> None:
    """Be cancelled by a shorter time limit of the host."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wait_async(future, LONG_S)


LEAVING = [leave_at_deadline, leave_by_cancellation, leave_by_timeout]


@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
def test_answer_whose_caller_has_left_disturbs_no_event_loop(leave: Callable[[Future[Scores]], Any]) -> None:
    """A caller that goes takes nothing from the classification, and the loop has nothing to complain of afterwards."""
    complaints: list[dict[str, Any]] = []

    def complain(_: AbstractEventLoop, context: dict[str, Any]) -> None:
        """Note what a loop complains of."""
        complaints.append(context)

    async def leave_before_the_answer() -> object:
        """Return what one hears who came later."""
        asyncio.get_running_loop().set_exception_handler(complain)
        future: Future[Scores] = Future()
        await leave(future)
        staying = asyncio.ensure_future(wait_async(future, LONG_S))
        await asyncio.sleep(0)
        future.set_result(SCORES)
        return await staying

    assert asyncio.run(leave_before_the_answer()) is SCORES
    assert complaints == []


def test_answered_call_leaves_no_timer_behind() -> None:
    """Once a call has its answer, the event loop keeps nothing of it until the deadline."""
    future: Future[Scores] = Future()
    future.set_result(SCORES)
    loop = WatchedLoop()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        outcome = runner.run(wait_async(future, LONG_S))

    assert outcome is SCORES
    assert [timer.cancelled() for timer in loop.timers] == [True]


@pytest.mark.anyio
async def test_scope_that_ends_ends_the_wait() -> None:
    """A cancel scope of the host ends the wait at once, and the classification goes on."""
    future: Future[Scores] = Future()

    with anyio.move_on_after(0.01) as scope:
        await wait_async(future, LONG_S)

    assert scope.cancelled_caught
    assert not future.cancelled()


def is_gone(thing: "weakref.ref[Any]") -> bool:
    """Return whether a thing goes soon; a worker lets go of it last."""
    for _ in range(200):
        if thing() is None:
            return True
        time.sleep(0.005)
    return False


@pytest.mark.usefixtures("without_cycles")
def test_nothing_of_a_call_is_kept_once_it_is_classified() -> None:
    """What was classified, a user's words among it, goes with its last user and need not wait to be collected."""
    classifications = Classifications(workers=1, queue=1)

    def work(_: IsAwaited) -> Scores:
        """Classify."""
        return SCORES

    kept = weakref.ref(work)
    assert asyncio.run(wait_async(classifications.submit("key", work, deadline_s=LONG_S), LONG_S)) is SCORES
    del work

    assert is_gone(kept)
    classifications.close()


@pytest.mark.usefixtures("without_cycles")
def test_nothing_of_a_call_is_kept_that_was_dropped() -> None:
    """What waits when the router is closed goes at once, and not when it is started again."""
    classifications = Classifications(workers=1, queue=1)
    begun, gate = Event(), Event()

    def hold(_: IsAwaited) -> Scores:
        """Keep the only worker busy."""
        begun.set()
        gate.wait(LONG_S)
        return SCORES

    def work(_: IsAwaited) -> Scores:
        """Classify."""
        return SCORES

    running = classifications.submit("busy", hold, deadline_s=LONG_S)
    assert begun.wait(LONG_S)
    assert not classifications.submit("key", work, deadline_s=LONG_S).done()
    kept = weakref.ref(work)
    del work
    classifications.close()

    assert is_gone(kept)
    gate.set()
    assert running.result(LONG_S) is SCORES
