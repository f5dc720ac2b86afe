"""The connections that one event loop has to one server."""

from collections import deque
from ssl import SSLContext
from time import monotonic
from typing import Final

import anyio
import httpcore

IDLE_CONNECTION_S: Final = 30.0
Connection = httpcore.AsyncHTTPConnection | httpcore.AsyncConnectionPool


class Connections:
    """At most `connections` connections; of those that are free the one used last is used first.

    Taking one costs the same however many there are: a pool of httpx looks at all of its connections for every call,
    which from some dozens on takes longer than the call. Where HTTP/2 is spoken calls share connections, so there is
    one such pool.
    """

    def __init__(self, *, connections: int, patience_s: float, trust: SSLContext, http2: bool) -> None:
        """Set the bounds.

        Args:
            connections: Most connections at a time.
            patience_s: Seconds to wait for a free one.
            trust: By what certificates are verified.
            http2: Whether HTTP/2 is spoken with servers that offer it.
        """
        self._patience_s: Final = patience_s
        self._trust: Final = trust
        self._turns: Final = anyio.Semaphore(connections, fast_acquire=True)
        self._free: Final[deque[tuple[httpcore.AsyncHTTPConnection, float]]] = deque()
        self._shared: Final = _pool(connections, trust) if http2 else None
        self._is_closed = False

    async def take(self, origin: httpcore.Origin) -> Connection:
        """Return a connection to a server that is the caller's until it is given back; a new one is not made yet.

        Raises:
            TimeoutError: All are in use, and none became free in time.
        """
        try:
            self._turns.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.fail_after(self._patience_s):
                await self._turns.acquire()
        try:
            return self._shared or await self._kept(origin) or self._new(origin)
        except BaseException:
            self._turns.release()
            raise

    async def give_back(self, connection: Connection, *, is_usable: bool) -> None:
        """Take a connection back, to be used again or closed, and close those that nobody has used for long."""
        self._turns.release()
        if isinstance(connection, httpcore.AsyncConnectionPool):
            return
        if self._is_closed or not is_usable or not connection.is_available():
            await connection.aclose()
            return
        now = monotonic()
        self._free.append((connection, now))
        while self._free and self._free[0][1] < now - IDLE_CONNECTION_S:  # others take some while one is closed
            await self._free.popleft()[0].aclose()

    async def aclose(self) -> None:
        """Close all that are free; those in use are closed when they are given back."""
        self._is_closed = True
        if self._shared:
            await self._shared.aclose()
        while self._free:
            await self._free.pop()[0].aclose()

    async def _kept(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection | None:
        """Return a free connection that its server has not closed; None where there is none."""
        while self._free:
            connection, _ = self._free.pop()
            if connection.can_handle_request(origin) and not connection.has_expired():
                return connection
            await connection.aclose()
        return None

    def _new(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        return httpcore.AsyncHTTPConnection(origin, ssl_context=self._trust, keepalive_expiry=IDLE_CONNECTION_S)


def _pool(connections: int, trust: SSLContext) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(
        ssl_context=trust,
        max_connections=connections,
        max_keepalive_connections=connections,
        keepalive_expiry=IDLE_CONNECTION_S,
        http2=True,
    )
