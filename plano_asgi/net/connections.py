"""The connections that one event loop has to one server."""

from collections import deque
from ssl import SSLContext
from time import monotonic
from typing import Final

import anyio
import httpcore  # noqa: F401 - httpx imports it with the first transport, and that stops the event loop
import httpx

IDLE_CONNECTION_S: Final = 30.0


class Connections:
    """At most `connections` connections; of those that are free the one used last is used first.

    Each is a transport of its own, so that taking one costs the same however many there are: a pool of httpx looks at
    all of its connections for every call, which from some dozens on takes longer than the call. Where HTTP/2 is spoken
    calls share connections, so there is one such pool.
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
        self._free: Final[deque[tuple[httpx.AsyncHTTPTransport, float]]] = deque()
        self._shared: Final = self._transport(connections, http2=True) if http2 else None
        self._is_closed = False

    async def take(self) -> httpx.AsyncHTTPTransport:
        """Return a transport that is the caller's until it is given back.

        Raises:
            TimeoutError: All are in use, and none became free in time.
        """
        try:
            self._turns.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.fail_after(self._patience_s):
                await self._turns.acquire()
        if self._shared:
            return self._shared
        return self._free.pop()[0] if self._free else self._transport(1, http2=False)

    async def give_back(self, transport: httpx.AsyncHTTPTransport, *, is_usable: bool) -> None:
        """Take a transport back, to be used again or closed, and close those that nobody has used for long."""
        self._turns.release()
        if self._shared:
            return
        if self._is_closed or not is_usable:
            await transport.aclose()
            return
        now = monotonic()
        self._free.append((transport, now))
        while self._free[0][1] < now - IDLE_CONNECTION_S:
            await self._free.popleft()[0].aclose()

    async def aclose(self) -> None:
        """Close all that are free; those in use are closed when they are given back."""
        self._is_closed = True
        if self._shared:
            await self._shared.aclose()
        while self._free:
            await self._free.pop()[0].aclose()

    def _transport(self, connections: int, *, http2: bool) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=IDLE_CONNECTION_S,
        )
        return httpx.AsyncHTTPTransport(verify=self._trust, trust_env=False, limits=limits, http2=http2)
