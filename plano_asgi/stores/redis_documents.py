"""Documents in a Redis server, where all worker processes see them."""

from plano_asgi.stores.redis_server import RedisServer


class RedisDocuments:
    """Keeps each document for `ttl_s` seconds; how many, is bounded by the server's `maxmemory`."""

    def __init__(self, server: RedisServer, *, prefix: str, ttl_s: float) -> None:
        """Ask nothing yet; every key begins with `prefix`."""
        self._server = server
        self._prefix = prefix
        self._ttl_ms = max(1, round(ttl_s * 1000))

    async def read(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None.

        Raises:
            StoreError: The server cannot be asked.
        """
        document: bytes | None = await self._server.aask("GET", self._prefix + key)
        return document

    async def keep(self, key: str, document: bytes) -> None:
        """Keep a document.

        Raises:
            StoreError: The server cannot be asked, or is full.
        """
        await self._server.aask("SET", self._prefix + key, document, "PX", self._ttl_ms)

    async def remove(self, key: str) -> None:
        """Keep nothing under a key any more.

        Raises:
            StoreError: The server cannot be asked.
        """
        await self._server.aask("UNLINK", self._prefix + key)
