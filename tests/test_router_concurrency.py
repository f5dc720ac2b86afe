"""Many calls at once: shared classifications, deadlines, a bounded queue, and callers that go away."""

import asyncio
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, get_ident

import anyio
import pytest
from anyio import to_thread

from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import Reason, RoutingDecision, Scores, Source
from plano_asgi.errors import RoutingUnavailableError
from plano_asgi.policy import Rules, Turn, place_of
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.providers import ModelCatalog
from plano_asgi.router import MemorySessions, OnError, Router, Sessions
from plano_asgi.sessions import Place
from plano_asgi.stores import MemoryStore
from plano_asgi.testing import FixedClassifier

DEFAULT = "openai/gpt-4o-mini"
POLICY = RoutingPolicy(
    preferences=(RoutingPreference(name="code", description="writing code", models=("openai/gpt-4o",)),)
)
A, B, C = (LLMCall.from_text(text) for text in "abc")
AT_ONCE = 2.0  # seconds; generous, and far below the deadlines that would otherwise end a call


class WatchedStore(MemoryStore[bytes, Scores]):
    """A store that counts who looks into it, and tells when something was put there."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__(size=100)
        self.looks = 0
        self.filled = Event()

    def get(self, key: bytes) -> Scores | None:
        """Count, and return what is kept."""
        self.looks += 1
        return super().get(key)

    def put(self, key: bytes, value: Scores) -> None:
        """Keep a value and tell."""
        super().put(key, value)
        self.filled.set()


@dataclass
class Bench:
    """A router whose classifier answers only once its gate is open; one worker, one place in the queue."""

    gate: Event = field(default_factory=Event)
    store: WatchedStore = field(default_factory=WatchedStore)

    def __post_init__(self) -> None:
        """Make the classifier."""
        self.begun = Event()
        self.classifier = FixedClassifier({"code": 0.9}, before=self._pass_gate)
        self.router = self.new_router()

    def new_router(self, *, deadline_ms: float = 20_000, queue: int = 1, on_error: str = "default") -> Router:
        """Return a router with other bounds, and work with it from now on."""
        self.router = Router(
            classifier=self.classifier,
            policy=POLICY,
            catalog=ModelCatalog(providers=()),
            rules=Rules(threshold=0.5, default_model=DEFAULT),
            cache=self.store,
            on_error=OnError(on_error),
            deadline_ms=deadline_ms,
            workers=1,
            queue=queue,
        )
        return self.router

    def _pass_gate(self) -> None:
        """Tell that a classification has begun, and hold it at the gate."""
        self.begun.set()
        self.gate.wait(30)

    @property
    def classified(self) -> list[str]:
        """The texts that were classified, in order."""
        return [conversation[-1].text for conversation in self.classifier.calls]


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a bench whose gate is closed; it is opened in the end, so that no thread stays behind."""
    bench = Bench()
    yield bench
    bench.gate.set()
    bench.router.close()


class Callers:
    """Asynchronous callers of one router, and what they were told."""

    def __init__(self, router: Router) -> None:
        """Start with none."""
        self._router = router
        self.told: dict[str, RoutingDecision] = {}

    async def ask(self, name: str, call: LLMCall) -> None:
        """Route a call and note the decision under a name."""
        self.told[name] = await self._router.aroute(call)

    @property
    def reasons(self) -> dict[str, Reason]:
        """Why each caller's call went where it went."""
        return {name: decision.reason for name, decision in self.told.items()}


def test_identical_calls_of_threads_are_classified_once(bench: Bench) -> None:
    """Threads that ask the same at the same time share one classification, and all get its answer."""
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(bench.router.route, A) for _ in range(12)]
        while bench.store.looks < 12:
            time.sleep(0.01)
        time.sleep(0.05)
        bench.gate.set()
        decisions = [future.result() for future in asked]

    assert bench.classified == ["a"]
    assert {decision.route for decision in decisions} == {"code"}


@pytest.mark.anyio
async def test_identical_calls_of_tasks_are_classified_once(bench: Bench) -> None:
    """Tasks that ask the same at the same time share one classification, and all get its answer."""
    callers = Callers(bench.router)

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(callers.ask, str(number), A)
        await anyio.wait_all_tasks_blocked()
        bench.gate.set()

    assert bench.classified == ["a"]
    assert {decision.source for decision in callers.told.values()} == {Source.CLASSIFIER}
    assert {decision.route for decision in callers.told.values()} == {"code"}


@pytest.mark.anyio
async def test_a_cancelled_caller_takes_nothing_from_the_others(bench: Bench) -> None:
    """The caller whose call began the classification may go away: the others get the answer, and so does the cache."""
    callers = Callers(bench.router)

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as impatient:
            async with anyio.create_task_group() as first:
                first.start_soon(callers.ask, "first", A)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(callers.ask, "second", A)
                await anyio.wait_all_tasks_blocked()
                impatient.cancel()
        bench.gate.set()

    assert callers.reasons == {"second": Reason.MATCHED}
    assert bench.classified == ["a"]
    assert (await bench.router.aroute(A)).source is Source.CACHE


@pytest.mark.anyio
@pytest.mark.parametrize("is_blocking", [True, False], ids=["thread", "task"])
async def test_a_slow_classifier_costs_no_more_than_the_deadline(bench: Bench, *, is_blocking: bool) -> None:
    """A caller gets the default at the deadline, and the late answer serves the next call."""
    router = bench.new_router(deadline_ms=50)

    decision = await (to_thread.run_sync(router.route, A) if is_blocking else router.aroute(A))

    assert (decision.reason, decision.would_use) == (Reason.ERROR, DEFAULT)
    assert 40 <= decision.latency_ms < AT_ONCE * 1000
    bench.gate.set()
    assert await to_thread.run_sync(bench.store.filled.wait, 5)
    assert router.route(A).source is Source.CACHE


@pytest.mark.anyio
async def test_what_nobody_waits_for_any_more_is_not_classified(bench: Bench) -> None:
    """A call whose deadline passed in the queue is not classified later, when it would only be in the way."""
    callers = Callers(bench.new_router(deadline_ms=150, queue=2))

    async with anyio.create_task_group() as tasks:
        for name, call in {"a": A, "b": B}.items():
            tasks.start_soon(callers.ask, name, call)
            await to_thread.run_sync(bench.begun.wait, 5)
    bench.gate.set()
    await callers.ask("c", C)

    assert callers.reasons == {"a": Reason.ERROR, "b": Reason.ERROR, "c": Reason.MATCHED}
    assert bench.classified == ["a", "c"]


@pytest.mark.anyio
async def test_who_joins_late_has_a_deadline_of_their_own(bench: Bench) -> None:
    """A caller that joins a queued classification gets its answer, though the one who queued it has given up."""
    callers = Callers(bench.new_router(deadline_ms=400, queue=2))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(callers.ask, "busy", A)
        await to_thread.run_sync(bench.begun.wait, 5)
        async with anyio.create_task_group() as early:
            early.start_soon(callers.ask, "early", B)
            await anyio.sleep(0.2)
            tasks.start_soon(callers.ask, "late", B)
        bench.gate.set()

    assert callers.reasons == {"busy": Reason.ERROR, "early": Reason.ERROR, "late": Reason.MATCHED}


@pytest.mark.anyio
async def test_a_full_queue_is_a_failure_at_once(bench: Bench) -> None:
    """A call that finds the queue full gets the default without waiting; those in the queue are still answered."""
    callers = Callers(bench.router)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(callers.ask, "runs", A)
        await to_thread.run_sync(bench.begun.wait, 5)
        tasks.start_soon(callers.ask, "waits", B)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(AT_ONCE):
            await callers.ask("too many", C)
            tasks.start_soon(callers.ask, "joins", B)
            await anyio.wait_all_tasks_blocked()
        bench.gate.set()

    assert callers.reasons == {
        "too many": Reason.ERROR,
        "runs": Reason.MATCHED,
        "waits": Reason.MATCHED,
        "joins": Reason.MATCHED,
    }
    assert bench.classified == ["a", "b"]
    assert (await bench.router.aroute(C)).reason is Reason.MATCHED


@pytest.mark.anyio
async def test_reject_refuses_a_call_past_its_deadline(bench: Bench) -> None:
    """Under `reject` a call that is not classified in time is a 503."""
    router = bench.new_router(deadline_ms=20, on_error="reject")

    with pytest.raises(RoutingUnavailableError):
        await router.aroute(A)


@pytest.mark.anyio
async def test_a_stalled_event_loop_stalls_nobody_else(bench: Bench) -> None:
    """While a host blocks its event loop, answers for that loop do not hold the classifier that others need."""
    callers = Callers(bench.new_router(deadline_ms=3_000))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(callers.ask, "on the loop", A)
        await anyio.wait_all_tasks_blocked()
        bench.gate.set()
        blocking = bench.router.route(B)  # blocks this loop

    assert blocking.reason is Reason.MATCHED
    assert callers.reasons == {"on the loop": Reason.MATCHED}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_answer_may_come_after_its_event_loop_has_ended(
    bench: Bench, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer for an event loop that is no more is kept, and nothing complains."""
    router = bench.new_router(deadline_ms=20)

    anyio.run(router.aroute, A, backend=backend)
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        bench.gate.set()
        assert bench.store.filled.wait(5)
        decision = anyio.run(router.aroute, B, backend=backend)

    assert decision.route == "code"
    assert router.route(A).source is Source.CACHE
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.anyio
async def test_close_drops_what_waits_and_lets_end_what_runs(bench: Bench) -> None:
    """Closing ends the wait of queued calls at once; the running one is answered, later ones go to the default."""
    callers = Callers(bench.router)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(callers.ask, "runs", A)
        await to_thread.run_sync(bench.begun.wait, 5)
        tasks.start_soon(callers.ask, "waits", B)
        await anyio.wait_all_tasks_blocked()
        bench.router.close()
        await anyio.wait_all_tasks_blocked()
        dropped = dict(callers.reasons)
        await callers.ask("later", C)
        bench.gate.set()

    assert dropped == {"waits": Reason.ERROR}
    assert callers.reasons == {"waits": Reason.ERROR, "later": Reason.ERROR, "runs": Reason.MATCHED}
    assert (await bench.router.aroute(A)).source is Source.CACHE


def test_a_router_may_be_closed_while_calls_arrive(bench: Bench) -> None:
    """Calls that meet a closing router are decided all the same, and closing never waits for them."""
    bench.gate.set()

    async def call_all(router: Router, texts: range) -> list[Reason]:
        """Return the reasons of as many calls at once."""
        calls = (router.aroute(LLMCall.from_text(str(text))) for text in texts)
        return [decision.reason for decision in await asyncio.gather(*calls)]

    with ThreadPoolExecutor(3) as pool:
        for start in range(0, 10_000, 500):
            router = bench.new_router(queue=1_000, deadline_ms=5_000)
            asked = [
                pool.submit(asyncio.run, call_all(router, range(first, first + 100))) for first in (start, start + 200)
            ]
            time.sleep(0.005)
            pool.submit(router.close).result(5)
            reasons = {reason for future in asked for reason in future.result(10)}
            assert reasons <= {Reason.MATCHED, Reason.ERROR}


@dataclass(slots=True)
class WhereCallsAreRead(Sessions):
    """Sessions, and somebody who watches; notes on which threads calls are read."""

    threads: list[int] = field(default_factory=list)

    def place_of(self, call: LLMCall, turn: Turn) -> Place | None:
        """Note the thread."""
        self.threads.append(get_ident())
        return place_of(call, turn, secret=self.secret)

    def decided(self, call: LLMCall, decision: RoutingDecision, *, waiting: int) -> None:
        """Note the thread."""
        del call, decision, waiting
        self.threads.append(get_ident())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "bypass", "beside"),
    [("a" * 100_000, False, 2), ("a" * 100_000, True, 1), ("a", False, 0)],
    ids=["long", "long-bypassed", "short"],
)
async def test_one_long_message_is_read_beside_the_event_loop(text: str, beside: int, *, bypass: bool) -> None:
    """Who makes digests of a long message, or watches it, does not stop the event loop; a short one needs no thread."""
    watching = WhereCallsAreRead(store=MemorySessions(size=9, ttl_s=60), secret=b"s")
    router = Router(
        classifier=FixedClassifier({}),
        policy=POLICY,
        catalog=ModelCatalog(providers=()),
        rules=Rules(threshold=0.5, default_model=DEFAULT),
        cache=MemoryStore(size=9),
        deadline_ms=10_000,
        sessions=watching,
    )
    router.observer = watching

    await router.aroute(LLMCall.from_text(text), bypass=bypass)

    assert sum(thread != get_ident() for thread in watching.threads) == beside
    assert watching.threads
    router.close()
