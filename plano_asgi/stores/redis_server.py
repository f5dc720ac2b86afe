"""A Redis server, asked by commands and scripts, from threads and from event loops. Home of redis."""

import asyncio
from collections.abc import Sequence
from functools import cached_property, partial
from hashlib import sha1
from itertools import count
from queue import Empty
from typing import TYPE_CHECKING, Any, Final

from anyio.lowlevel import RunVar

from plano_asgi.errors import MissingExtraError, StoreBusyError, StoreError
from plano_asgi.secret import Secret
from plano_asgi.stores.own_threads import OwnThreads

try:
    import redis
    import redis.asyncio
    from redis.backoff import NoBackoff
    from redis.exceptions import NoScriptError, RedisError
    from redis.exceptions import TimeoutError as ServerTooLate
    from redis.retry import Retry
except ModuleNotFoundError as error:
    raise MissingExtraError("redis", needed_for="the setting redis.url") from error

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis

Argument = str | bytes | int | float
_numbers = count()


class RedisScript:
    """A Lua script; the server runs it as one step that nothing comes between."""

    def __init__(self, text: str) -> None:
        """Keep the text and what the server knows it by."""
        self.text: Final = text
        self.digest: Final = sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisServer:
    """A Redis server; connected when it is first asked, again after every fault, and after a fork anew.

    Bounded by `connections` for threads and as many for each event loop, and by `timeout_s` for a free one and for each
    answer. Nothing is tried again. Where no connection becomes free in time, its errors are a `StoreBusyError`.
    """

    def __init__(self, url: Secret, *, timeout_s: float = 0.25, connections: int = 64) -> None:
        """Set the bounds; nothing is connected yet.

        Args:
            url: `redis://`, `rediss://` or `unix://`, with the password if there is one.
            timeout_s: Seconds for a free connection, for a new one, and for each answer.
            connections: Most connections at a time.

        Raises:
            ValueError: It is no such URL.
        """
        self._url: Final = url
        self._bounds: Final[dict[str, Any]] = {
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "max_connections": connections,
            "timeout": timeout_s,
            "retry": Retry(NoBackoff(), 0),
        }
        self._threads: Final = OwnThreads(connections, patience_s=timeout_s)
        self._of_this_loop: RunVar[AsyncRedis | None] = RunVar(f"plano_asgi_redis_{next(_numbers)}")
        redis.BlockingConnectionPool.from_url(url.reveal(), **self._bounds).close()  # tells a URL that is none

    def ask(self, *command: Argument) -> Any:  # noqa: ANN401 - what a command answers is its own
        """Return the answer to a command; blocks.

        Raises:
            StoreError: The server cannot be asked, or refuses.
        """
        try:
            return self._client.execute_command(*command)
        except (RedisError, OSError) as error:
            raise _failed(error) from None

    async def aask(self, *command: Argument) -> Any:  # noqa: ANN401 - same
        """Return the answer to a command without blocking the event loop; the same as `ask` in everything else."""
        if not _is_asyncio():
            return await self._threads.run(partial(self.ask, *command))
        try:
            return await self._async_client().execute_command(*command)
        except (RedisError, OSError) as error:
            raise _failed(error) from None

    def run(self, script: RedisScript, keys: Sequence[str], *arguments: Argument) -> Any:  # noqa: ANN401 - same
        """Return what a script returns; blocks.

        Raises:
            StoreError: The server cannot be asked, or refuses.
        """
        try:
            try:
                return self._client.evalsha(script.digest, len(keys), *keys, *arguments)
            except NoScriptError:
                return self._client.eval(script.text, len(keys), *keys, *arguments)
        except (RedisError, OSError) as error:
            raise _failed(error) from None

    async def arun(self, script: RedisScript, keys: Sequence[str], *arguments: Argument) -> Any:  # noqa: ANN401 - same
        """Return what a script returns without blocking the event loop; the same as `run` in everything else."""
        if not _is_asyncio():
            return await self._threads.run(partial(self.run, script, keys, *arguments))
        client = self._async_client()
        try:
            try:
                return await client.evalsha(script.digest, len(keys), *keys, *arguments)
            except NoScriptError:
                return await client.eval(script.text, len(keys), *keys, *arguments)
        except (RedisError, OSError) as error:
            raise _failed(error) from None

    def close(self) -> None:
        """Close the connections of threads; the next question opens new ones."""
        if client := self.__dict__.pop("_client", None):
            client.close()

    async def aclose(self) -> None:
        """Close all connections that this event loop and threads have; the next question opens new ones."""
        if client := self._of_this_loop.get(None):
            self._of_this_loop.set(None)
            await client.aclose()
        self.close()

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - redis types every answer as one for both kinds of client
        return redis.Redis.from_pool(redis.BlockingConnectionPool.from_url(self._url.reveal(), **self._bounds))

    def _async_client(self) -> Any:  # noqa: ANN401 - same
        client = self._of_this_loop.get(None)
        if client is None:
            pool = redis.asyncio.BlockingConnectionPool.from_url(self._url.reveal(), **self._bounds)
            client = redis.asyncio.Redis.from_pool(pool)
            self._of_this_loop.set(client)
        return client


def _is_asyncio() -> bool:
    """Return whether the running event loop is asyncio's, the only one that redis works in."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _failed(error: Exception) -> StoreError:
    is_of_pool = isinstance(error.__context__, Empty | asyncio.TimeoutError)  # what pools meet that wait for a free one
    if is_of_pool and not isinstance(error, ServerTooLate):
        return StoreBusyError("all connections to Redis are in use; raise redis.timeout_ms where bursts are usual")
    return StoreError(f"Redis cannot be asked ({type(error).__name__}); see whether it runs at redis.url")
