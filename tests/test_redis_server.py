"""Redis: asked from threads and both event loops; what happens when it is away; bounded and secret."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from plano_asgi.assembly import build_service
from plano_asgi.errors import ConfigurationError, StoreError
from plano_asgi.secret import Secret
from plano_asgi.settings import Settings
from plano_asgi.stores.redis_server import RedisScript, RedisServer

NOWHERE = "redis://:hunter2@127.0.0.1:9/0"
ADDS = RedisScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")
CONFIG = "model_providers: [{model: openai/gpt-4o-mini, default: true}]\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_event_loops_and_threads_see_the_same(redis_url: str, backend: str) -> None:
    """What is written from an event loop of either kind is read from a thread."""
    server = RedisServer(Secret(redis_url))

    async def write() -> None:
        """Write, and add to it by a script that the server does not know yet."""
        await server.aask("SET", f"seen:{backend}", 40)
        await server.arun(ADDS, [f"seen:{backend}"], 1)
        await server.aclose()

    anyio.run(write, backend=backend)
    assert server.run(ADDS, [f"seen:{backend}"], 1) == 42
    assert server.ask("GET", f"seen:{backend}") == b"42"
    server.close()


def test_each_event_loop_has_its_own_connections(redis_url: str) -> None:
    """A server that one event loop has asked can be asked by the next."""
    server = RedisServer(Secret(redis_url))

    async def ping() -> bytes:
        """Ask, and leave the connections open until the loop's end."""
        answer: bytes = await server.aask("ECHO", "there")
        await server.aclose()
        return answer

    assert [anyio.run(ping), anyio.run(ping)] == [b"there", b"there"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_server_that_is_away_is_a_store_error_without_the_password(backend: str) -> None:
    """Nobody at the address: one kind of error, blocking and not, which does not tell the password."""
    server = RedisServer(Secret(NOWHERE))

    async def ask() -> None:
        """Ask in vain."""
        with pytest.raises(StoreError, match="Redis cannot be asked") as told:
            await server.aask("PING")
        assert "hunter2" not in repr(told.value)
        with pytest.raises(StoreError):
            await server.arun(ADDS, ["x"], 1)
        await server.aclose()

    anyio.run(ask, backend=backend)
    with pytest.raises(StoreError):
        server.ask("PING")
    with pytest.raises(StoreError):
        server.run(ADDS, ["x"], 1)


def test_a_server_that_comes_back_is_asked_again(redis_server: Any) -> None:
    """After a restart the same object answers, and knows its scripts although the server has forgotten them."""
    server = RedisServer(Secret(redis_server.url))
    assert server.run(ADDS, ["count"], 2) == 2
    redis_server.stop()
    with pytest.raises(StoreError):
        server.ask("PING")
    redis_server.start()
    assert server.run(ADDS, ["count"], 3) == 3
    server.close()


def test_a_refused_command_is_a_store_error(redis_url: str) -> None:
    """What Redis itself refuses is the same kind of error."""
    server = RedisServer(Secret(redis_url))
    with pytest.raises(StoreError, match="ResponseError"):
        server.ask("NOSUCHCOMMAND")
    server.close()


def test_a_url_that_is_none_is_a_fault_of_the_configuration(settings_of: Callable[[str], Settings]) -> None:
    """`redis.url: localhost` is told at start-up, with what to write, and without the value."""
    settings = settings_of(CONFIG + "redis: {url: 'hunter2@localhost'}")
    with pytest.raises(ConfigurationError, match=r"redis\.url: is no URL of a Redis server; write redis://") as told:
        build_service(settings)
    assert "hunter2" not in str(told.value)
