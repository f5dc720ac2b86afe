"""A pooled HTTP client for event loops, whose answers are read piece by piece."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from itertools import count
from ssl import SSLContext
from typing import Final

import anyio
import httpx
from anyio.lowlevel import RunVar

from plano_asgi.errors import NetworkError, NetworkTimeoutError, NoConnectionError
from plano_asgi.net.connections import Connections
from plano_asgi.net.streamed_answer import StreamedAnswer, innermost

MOST_URLS: Final = 1_024
CLOSING_S: Final = 1.0
_numbers = count()
_NO_CONNECTION: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request; neither its headers, which may hold a key, nor its body are in its `repr`."""

    url: str
    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"


class StreamingClient:
    """Keeps at most `connections` connections and uses them again, in each event loop its own.

    Certificates are verified, by the file or folder that `SSL_CERT_FILE` or `SSL_CERT_DIR` names where one does. No
    redirect is followed, no cookie kept, and no proxy used. What is not read stays with the server.
    """

    def __init__(self, *, connections: int, connect_s: float, http2: bool = False) -> None:
        """Set the bounds; connections are opened when they are needed.

        Args:
            connections: Most connections at a time.
            connect_s: Seconds to wait for a free one, and for one to be made.
            http2: Whether HTTP/2 is spoken with servers that offer it; needs the package `h2`.
        """
        self._timeout: Final = {"connect": connect_s, "pool": connect_s}
        self._new_connections: Final = partial(
            Connections, connections=connections, patience_s=connect_s, trust=_trust(), http2=http2
        )
        self._of_this_loop: RunVar[Connections | None] = RunVar(f"plano_asgi_client_{next(_numbers)}")

    async def open(self, request: HttpRequest) -> StreamedAnswer:
        """Return an answer of which the head is read; whoever asks closes it, and bounds the time that it may take.

        Raises:
            NetworkTimeoutError: All connections are in use, and none became free in time; nothing was sent.
            NoConnectionError: There is no connection, and nothing was sent.
            NetworkError: The exchange broke off, or the answer is encoded in a way that cannot be read.
        """
        connections = self._connections()
        try:
            transport = await connections.take()
        except TimeoutError:
            raise NetworkTimeoutError("all connections to the server are in use") from None
        leased = _Leased(connections, transport)
        try:
            response = await transport.handle_async_request(self._as_sent(request))
            leased.begin(response)
            return StreamedAnswer(response.status_code, response.headers, leased)
        except BaseException as error:
            await leased.aclose()
            if isinstance(error, httpx.PoolTimeout):
                raise NetworkTimeoutError("all connections to the server are in use") from None
            if isinstance(error, (*_NO_CONNECTION, UnicodeError)):  # the last: a host's name that DNS cannot carry
                raise NoConnectionError(f"there is no connection ({innermost(error)})") from None
            if isinstance(
                error, (httpx.HTTPError, httpx.InvalidURL, RuntimeError)
            ):  # the last: it was closed meanwhile
                raise NetworkError(f"the exchange broke off ({innermost(error)})") from None
            raise

    async def aclose(self) -> None:
        """Close the connections of this event loop; the next request opens new ones."""
        if connections := self._of_this_loop.get(None):
            self._of_this_loop.set(None)
            await connections.aclose()

    def _connections(self) -> Connections:
        connections = self._of_this_loop.get(None)
        if connections is None:
            connections = self._new_connections()
            self._of_this_loop.set(connections)
        return connections

    def _as_sent(self, request: HttpRequest) -> httpx.Request:
        headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in (*request.headers, ("accept-encoding", "identity"))
        ]
        extensions = {"timeout": self._timeout}
        return httpx.Request(
            request.method, _parsed(request.url), headers=headers, content=request.body, extensions=extensions
        )


@dataclass(slots=True)
class _Leased:
    """A transport in use, and the answer that comes over it."""

    connections: Connections
    transport: httpx.AsyncHTTPTransport
    response: httpx.Response | None = None
    raw: AsyncIterator[bytes] | None = None
    is_over: bool = False

    def begin(self, response: httpx.Response) -> None:
        """Take over a response of which the head is read."""
        self.response = response
        self.raw = response.aiter_raw()

    async def read(self) -> bytes:
        """Return the next piece as the server has sent it, empty at the end."""
        try:
            return await anext(self.raw, b"") if self.raw else b""
        except (httpx.HTTPError, httpx.StreamError, RuntimeError) as error:
            raise NetworkError(f"the answer broke off ({innermost(error)})") from None

    async def aclose(self) -> None:
        """Give the connection back where the answer is read, and close it where it is not; whatever is cancelled."""
        if self.is_over:
            return
        self.is_over = True
        is_closed = False
        with anyio.move_on_after(CLOSING_S, shield=True):
            try:
                if self.response:
                    await self.response.aclose()
                is_closed = True
            finally:
                await self.connections.give_back(self.transport, is_usable=is_closed)


@cache
def _trust() -> SSLContext:
    """Return what every client trusts; reading it takes too long for an event loop."""
    return httpx.create_ssl_context()


@lru_cache(MOST_URLS)
def _parsed(url: str) -> httpx.URL:
    """Return a URL as httpx reads it; those of the declared models come again and again."""
    return httpx.URL(url)
