"""Stores that fail are left alone for a moment; bursts of our own calls are no failure of theirs."""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from plano_asgi import events
from plano_asgi.errors import StoreBusyError, StoreError
from plano_asgi.secret import Secret
from plano_asgi.stores.postgres_server import PostgresServer
from plano_asgi.stores.redis_documents import RedisDocuments
from plano_asgi.stores.redis_server import RedisServer
from plano_asgi.stores.rest import Rest
from plano_asgi.stores.resting_documents import RestingDocuments
from plano_asgi.testing import FixedClassifier


class FailingDocuments:
    """Counts how often it is asked, and fails."""

    def __init__(self, error: StoreError) -> None:
        """Fail with the error."""
        self.error = error
        self.asked: list[str] = []

    async def read(self, key: str) -> bytes | None:
        """Fail."""
        self.asked.append(f"read {key}")
        raise self.error

    async def keep(self, key: str, document: bytes) -> None:
        """Fail."""
        self.asked.append(f"keep {key}")
        raise self.error

    async def remove(self, key: str) -> None:
        """Fail."""
        self.asked.append(f"remove {key}")
        raise self.error


@pytest.fixture
def hanging_port() -> Iterator[int]:
    """Return a port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("error", "is_resting"), [(StoreError("away"), True), (StoreBusyError("busy"), False)], ids=["failed", "busy"]
)
def test_only_a_failure_of_the_store_begins_a_rest(error: StoreError, *, is_resting: bool) -> None:
    """A store rests a second after its own failure, and not at all because too many of our calls came at once."""
    now = 100.0
    rest = Rest(clock=lambda: now)
    assert not rest.is_on

    rest.begin_after(error)

    assert rest.is_on is is_resting
    now = 101.0
    assert not rest.is_on


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (StoreError("away"), ["keep a", "read a", "remove a"]),
        (StoreBusyError("busy"), ["keep a", "read a", "remove a"] * 2),
    ],
    ids=["failed", "busy"],
)
def test_documents_rest_for_each_of_what_is_done_with_them(error: StoreError, asked: Sequence[str]) -> None:
    """A server that refuses a document is still read; what failed itself is not asked again at once."""
    failing = FailingDocuments(error)
    documents = RestingDocuments(failing)

    async def main() -> None:
        """Keep, read and remove, twice."""
        for _ in range(2):
            with pytest.raises(StoreError):
                await documents.keep("a", b"x")
            with pytest.raises(StoreError):
                await documents.read("a")
            with pytest.raises(StoreError):
                await documents.remove("a")

    anyio.run(main)

    assert failing.asked == asked


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_burst_waits_for_connections_to_redis(redis_url: str, backend: str) -> None:
    """Sixty questions at once over two connections are all answered."""
    server = RedisServer(Secret(redis_url), timeout_s=10, connections=2)
    answers: list[bytes] = []

    async def ask() -> None:
        """Ask once."""
        answers.append(await server.aask("ECHO", "there"))

    async def main() -> None:
        """Ask all at once."""
        async with anyio.create_task_group() as tasks:
            for _ in range(60):
                tasks.start_soon(ask)
        await server.aclose()

    anyio.run(main, backend=backend)

    assert answers == [b"there"] * 60


@pytest.mark.parametrize("ask", ["thread", "asyncio", "trio"])
def test_redis_with_too_many_questions_is_busy_and_not_away(redis_url: str, ask: str) -> None:
    """Who waits in vain for a connection is told so by an error of its own, from threads and event loops."""
    server = RedisServer(Secret(redis_url), timeout_s=0.3, connections=1)
    errors: list[StoreError] = []

    async def wait() -> None:
        """Hold the connection for a while."""
        try:
            if ask == "thread":
                await anyio.to_thread.run_sync(server.ask, "BLPOP", "nothing", 0.15)
            else:
                await server.aask("BLPOP", "nothing", 0.15)
        except StoreError as error:
            errors.append(error)

    async def main() -> None:
        """Wait eight times at once."""
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(wait)
        await server.aclose()

    anyio.run(main, backend="trio" if ask == "trio" else "asyncio")

    assert StoreBusyError in map(type, errors)


def test_redis_that_hangs_is_away_and_not_busy(hanging_port: int) -> None:
    """It is asked once in vain; after that its documents rest, and the next call waits for nothing."""
    server = RedisServer(Secret(f"redis://127.0.0.1:{hanging_port}/0"), timeout_s=0.2)
    documents = RestingDocuments(RedisDocuments(server, prefix="p", ttl_s=9))
    errors: list[type[StoreError]] = []

    async def main() -> None:
        """Read twice."""
        for _ in range(2):
            with pytest.raises(StoreError) as told:
                await documents.read("k")
            errors.append(told.type)
        with pytest.raises(StoreError) as told:
            await anyio.to_thread.run_sync(server.ask, "GET", "k")
        errors.append(told.type)
        await server.aclose()

    anyio.run(main)

    assert errors == [StoreError] * 3


@pytest.mark.parametrize(
    ("url", "backend"),
    [("postgresql://u:p@127.0.0.1:{port}/d", "asyncio"), ("redis://127.0.0.1:{port}/0", "trio")],
    ids=["PostgreSQL", "Redis under trio"],
)
def test_a_server_that_hangs_takes_no_threads_of_others(url: str, backend: str, hanging_port: int) -> None:
    """A hundred questions to a server that says nothing, and other work still finds a thread at once."""
    kind: Callable[..., PostgresServer | RedisServer] = PostgresServer if url.startswith("postgres") else RedisServer
    server = kind(Secret(url.format(port=hanging_port)), timeout_s=0.3, connections=4)
    is_done: list[bool] = []

    async def ask() -> None:
        """Ask in vain."""
        with pytest.raises(StoreError):
            await server.aask("SELECT 1")
        is_done.append(False)

    async def main() -> None:
        """Ask, and do something else meanwhile."""
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(ask)
            await anyio.sleep(0.05)
            await anyio.to_thread.run_sync(time.monotonic)
            is_done.append(True)

    anyio.run(main, backend=backend)

    assert is_done.index(True) == 0


def test_a_burst_of_calls_is_not_taken_for_a_failure_of_redis(redis_url: str, behind: Callable[..., Any]) -> None:
    """Of 150 calls at once exactly those within the limit pass, and no store is said to have failed."""

    async def answer(_: Request) -> PlainTextResponse:
        """Answer."""
        return PlainTextResponse("done")

    settings = f"""
model_providers: [{{model: openai/gpt-4o-mini, default: true}}]
redis: {{url: "{redis_url}", prefix: "burst:", timeout_ms: 10000}}
sessions: {{store: redis}}
governance: {{store: redis}}
ratelimits: [{{limit: {{requests: 100, unit: hour}}}}]
"""
    app = behind(
        Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])]), settings, FixedClassifier({})
    )
    statuses: list[int] = []

    async def main() -> None:
        """Call all at once."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://plano.test") as client:

            async def call() -> None:
                """Call once."""
                body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
                statuses.append((await client.post("/v1/chat/completions", json=body)).status_code)

            async with anyio.create_task_group() as tasks:
                for _ in range(150):
                    tasks.start_soon(call)

    with capture_logs() as logs:
        anyio.run(main)

    assert Counter(statuses) == {200: 100, 429: 50}
    assert {line["event"] for line in logs} & {events.SESSIONS_FAILED, events.QUOTAS_UNSHARED} == set()
