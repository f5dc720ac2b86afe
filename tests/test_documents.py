"""Documents that are kept for a while: in memory, in Redis and in PostgreSQL, all by the same rules."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import anyio
import pytest

from plano_asgi.assembly import build_service
from plano_asgi.errors import ConfigurationError, StoreError
from plano_asgi.secret import Secret
from plano_asgi.settings import Settings
from plano_asgi.stores.documents import DocumentStore
from plano_asgi.stores.memory_documents import MemoryDocuments
from plano_asgi.stores.postgres_documents import PostgresDocuments
from plano_asgi.stores.postgres_server import PostgresServer
from plano_asgi.stores.redis_documents import RedisDocuments
from plano_asgi.stores.redis_server import RedisServer

NOWHERE = "postgresql://somebody:hunter2@127.0.0.1:9/nowhere"
Make = Callable[..., DocumentStore]


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Callable[..., PostgresServer]]:
    """Return what makes clients of the server, or of another database of it; all are closed at the end."""
    with ExitStack() as clients:

        def make(database: str = "postgres", *, timeout_s: float = 5, connections: int = 4) -> PostgresServer:
            """Connect nothing yet."""
            url = Secret(postgres_url.removesuffix("postgres") + database)
            server = PostgresServer(url, timeout_s=timeout_s, connections=connections)
            clients.callback(server.close)
            return server

        yield make


@pytest.fixture(params=["memory", "redis", "postgres"])
def store_of(request: pytest.FixtureRequest) -> Make:
    """Return what makes a store of each kind."""
    if request.param == "memory":
        return lambda *, ttl_s=60.0: MemoryDocuments(size=10, total_bytes=1_000_000, ttl_s=ttl_s)
    prefix = f"{request.node.name}:"
    if request.param == "redis":
        url = Secret(request.getfixturevalue("redis_url"))
        return lambda *, ttl_s=60.0: RedisDocuments(RedisServer(url, timeout_s=5), prefix=prefix, ttl_s=ttl_s)
    server = request.getfixturevalue("postgres")()
    return lambda *, ttl_s=60.0: PostgresDocuments(server, prefix=prefix, ttl_s=ttl_s)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_was_kept_last_is_read(store_of: Make, backend: str) -> None:
    """Bytes come back as they are, the later document instead of the earlier, and nothing under another key."""
    store, document = store_of(), bytes(range(256)) * 1_000

    async def main() -> list[bytes | None]:
        """Keep and read."""
        await store.keep("a", b"before")
        await store.keep("a", document)
        return [await store.read("a"), await store.read("b")]

    assert anyio.run(main, backend=backend) == [document, None]


def test_what_was_removed_is_gone(store_of: Make) -> None:
    """Nothing is read under its key any more, the other documents stay, and removing it again is no error."""
    store = store_of()

    async def main() -> list[bytes | None]:
        """Keep two and remove one."""
        await store.keep("a", b"1")
        await store.keep("b", b"2")
        await store.remove("a")
        await store.remove("a")
        return [await store.read("a"), await store.read("b")]

    assert anyio.run(main) == [None, b"2"]


def test_a_document_is_forgotten_after_its_time(store_of: Make) -> None:
    """Nothing is read that was kept longer ago than `ttl_s`."""
    store = store_of(ttl_s=0.05)

    async def main() -> bytes | None:
        """Keep, wait and read."""
        await store.keep("a", b"old")
        time.sleep(0.1)  # noqa: ASYNC251 - the clock of another process
        return await store.read("a")

    assert anyio.run(main) is None


def test_memory_is_bounded_by_number_and_by_bytes() -> None:
    """What was used longest ago goes first; what is larger than all of the store is refused."""
    by_number = MemoryDocuments(size=2, total_bytes=1_000, ttl_s=60)
    by_bytes = MemoryDocuments(size=100, total_bytes=250, ttl_s=60)

    async def main() -> list[list[bool]]:
        """Fill both."""
        left = []
        for store in (by_number, by_bytes):
            for key in "abc":
                await store.keep(key, bytes(100))
                await store.read("a")
            left.append([await store.read(key) is not None for key in "abc"])
        with pytest.raises(StoreError):
            await by_bytes.keep("d", bytes(251))
        return left

    assert anyio.run(main) == [[True, False, True], [True, False, True]]
    assert (len(by_number), len(by_bytes)) == (2, 2)


def test_postgres_removes_what_has_expired(postgres: Callable[..., PostgresServer]) -> None:
    """The table does not grow by documents that nobody can read any more."""
    server = postgres()

    async def main() -> int:
        """Keep many for a moment, and one more."""
        for number in range(10):
            await PostgresDocuments(server, prefix="gone:", ttl_s=0.001).keep(str(number), b"x")
        await PostgresDocuments(server, prefix="gone:", ttl_s=60).keep("one", b"x")
        rows = await server.aask("SELECT count(*) FROM plano_documents WHERE key LIKE 'gone:%%'")
        return int(str(rows[0][0]))

    assert anyio.run(main) <= 2


def test_tables_are_made_once_by_workers_that_start_together(postgres: Callable[..., PostgresServer]) -> None:
    """Eight of them at once in an empty database: each keeps its document."""
    postgres().ask("CREATE DATABASE together")
    stores = [PostgresDocuments(postgres("together"), prefix="", ttl_s=60) for _ in range(8)]

    async def main() -> list[bytes | None]:
        """Start them."""
        async with anyio.create_task_group() as tasks:
            for number, store in enumerate(stores):
                tasks.start_soon(store.keep, str(number), b"mine")
        return [await stores[0].read(str(number)) for number in range(8)]

    assert anyio.run(main) == [b"mine"] * 8


def test_postgres_is_connected_again_after_a_fault(postgres: Callable[..., PostgresServer]) -> None:
    """One question fails where the server has dropped the connections; the next one is answered."""
    server = postgres()
    (pid,) = server.ask("SELECT pg_backend_pid()")
    postgres().ask("SELECT pg_terminate_backend(%s)", pid)

    with pytest.raises(StoreError):
        server.ask("SELECT 1")

    assert server.ask("SELECT 2") == [(2,)]


def test_postgres_answers_in_time_or_not_at_all(postgres: Callable[..., PostgresServer]) -> None:
    """A statement that takes too long is given up, and so is waiting for a connection that others use."""
    server = postgres(timeout_s=0.1, connections=1)
    failures: list[str] = []

    async def ask() -> None:
        """Ask for too much."""
        try:
            await server.aask("SELECT pg_sleep(5)")
        except StoreError as error:
            failures.append(str(error).partition("(")[2].partition(")")[0])

    async def main() -> None:
        """Ask twice at once."""
        with anyio.fail_after(4):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                tasks.start_soon(ask)

    anyio.run(main)

    assert len(failures) == 2
    assert "QueryCanceled" in failures


def test_postgres_that_is_away_is_a_store_error_without_the_password() -> None:
    """Nobody at the address: one kind of error, which does not tell the password."""
    with pytest.raises(StoreError, match="PostgreSQL cannot be asked") as told:
        PostgresServer(Secret(NOWHERE)).ask("SELECT 1")

    assert "hunter2" not in str(told.value)
    assert told.value.__cause__ is None


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ("postgres: {url: 'redis://:hunter2@host/x'}", "postgres.url"),
        ("mode: forward\nresponses_state: {store: postgres}", "responses_state.store"),
        ("mode: forward\nresponses_state: {store: redis}", "responses_state.store"),
    ],
    ids=["no URL", "no postgres", "no redis"],
)
def test_settings_that_lead_to_no_server_are_told_at_start_up(
    more: str, place: str, settings_of: Callable[[str], Settings]
) -> None:
    """A fault names the setting, and no password."""
    provider = "model_providers: [{model: openai/gpt-4o-mini, default: true, access_key: sk-x}]\n"

    with pytest.raises(ConfigurationError) as told:
        build_service(settings_of(f"{provider}{more}\n"))

    assert [fault.where for fault in told.value.faults] == [place]
    assert "hunter2" not in str(told.value)
