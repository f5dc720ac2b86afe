"""Short lists in Redis that are read and kept in one step each."""

from collections.abc import Sequence
from typing import Final

from plano_asgi.stores.redis_server import RedisScript, RedisServer

_READ: Final = RedisScript("""
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('LRANGE', KEYS[1], 0, -1)
""")
_PUSH: Final = RedisScript("""
redis.call('LPUSH', KEYS[1], ARGV[2])
redis.call('LTRIM', KEYS[1], 0, ARGV[3] - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
""")
_OFFER: Final = RedisScript("""
local known, is_free = redis.call('LRANGE', KEYS[1], 0, -1), true
for _, value in ipairs(known) do
  if string.find(value, ARGV[4], 1, true) or not string.find(value, ARGV[5], 1, true) then is_free = false end
end
if is_free then
  redis.call('LPUSH', KEYS[1], ARGV[2])
  redis.call('LTRIM', KEYS[1], 0, ARGV[3] - 1)
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return known
""")


class RedisLists:
    """Lists of bytes, the latest first: of each the `most` latest, until it was not used for `ttl_s` seconds."""

    def __init__(self, server: RedisServer, *, prefix: str, most: int, ttl_s: float) -> None:
        """Set the bounds; every key begins with the prefix."""
        self._server: Final = server
        self._prefix: Final = prefix
        self._most: Final = most
        self._ttl_ms: Final = round(ttl_s * 1000)

    def read(self, key: str) -> Sequence[bytes]:
        """Return a list, the latest first, and let its time begin again; blocks.

        Raises:
            StoreError: The server cannot be asked.
        """
        found: Sequence[bytes] = self._server.run(_READ, [self._prefix + key], self._ttl_ms)
        return found

    def push(self, key: str, value: bytes) -> None:
        """Put a value first; blocks.

        Raises:
            StoreError: The server cannot be asked.
        """
        self._server.run(_PUSH, [self._prefix + key], self._ttl_ms, value, self._most)

    def offer(self, key: str, value: bytes, *, unless_any: bytes, if_all: bytes) -> Sequence[bytes]:
        """Return a list, the latest first, and let its time begin again; put a value first where it is free; blocks.

        Args:
            key: The list's.
            value: The value.
            unless_any: What no value of the list may have in it.
            if_all: What each value of the list has to have in it.

        Raises:
            StoreError: The server cannot be asked.
        """
        found: Sequence[bytes] = self._server.run(
            _OFFER, [self._prefix + key], self._ttl_ms, value, self._most, unless_any, if_all
        )
        return found

    async def aread(self, key: str) -> Sequence[bytes]:
        """Return the same as `read`, without blocking the event loop."""
        found: Sequence[bytes] = await self._server.arun(_READ, [self._prefix + key], self._ttl_ms)
        return found

    async def apush(self, key: str, value: bytes) -> None:
        """Do the same as `push`, without blocking the event loop."""
        await self._server.arun(_PUSH, [self._prefix + key], self._ttl_ms, value, self._most)

    async def aoffer(self, key: str, value: bytes, *, unless_any: bytes, if_all: bytes) -> Sequence[bytes]:
        """Do the same as `offer`, without blocking the event loop."""
        found: Sequence[bytes] = await self._server.arun(
            _OFFER, [self._prefix + key], self._ttl_ms, value, self._most, unless_any, if_all
        )
        return found
