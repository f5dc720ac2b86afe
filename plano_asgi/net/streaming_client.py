"""A pooled HTTP client for event loops, whose answers are read piece by piece."""

from collections.abc import Iterator, Mapping, Sequence
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
from plano_asgi.net.decoding import decoder_of

MOST_URLS: Final = 1_024
CLOSING_S: Final = 1.0
_numbers = count()
_NO_CONNECTION: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A POST; neither its headers, which may hold a key, nor its body are in its `repr`."""

    url: str
    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)


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

    async def open(self, request: HttpRequest) -> "StreamedAnswer":
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
            leased.response = response
            return StreamedAnswer(leased, response)
        except BaseException as error:
            await leased.aclose()
            if isinstance(error, httpx.PoolTimeout):
                raise NetworkTimeoutError("all connections to the server are in use") from None
            if isinstance(error, (*_NO_CONNECTION, UnicodeError)):  # the last: a host's name that DNS cannot carry
                raise NoConnectionError(f"there is no connection ({_kind(error)})") from None
            if isinstance(
                error, (httpx.HTTPError, httpx.InvalidURL, RuntimeError)
            ):  # the last: it was closed meanwhile
                raise NetworkError(f"the exchange broke off ({_kind(error)})") from None
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
        return httpx.Request("POST", _parsed(request.url), headers=headers, content=request.body, extensions=extensions)


@dataclass(slots=True)
class _Leased:
    """A transport in use, and the answer that comes over it."""

    connections: Connections
    transport: httpx.AsyncHTTPTransport
    response: httpx.Response | None = None
    is_over: bool = False

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


class StreamedAnswer:
    """An answer under way, decoded; to be read by one task at a time and closed in the end.

    Attributes:
        status: HTTP status.
        headers: Headers by lower-case name.
    """

    def __init__(self, leased: _Leased, response: httpx.Response) -> None:
        """Take over a response of which the head is read.

        Raises:
            NetworkError: It is encoded in a way that cannot be read; then nothing is taken over.
        """
        self._decoder: Final = decoder_of(response.headers.get("content-encoding", ""))
        self.status: Final = response.status_code
        self.headers: Final[Mapping[str, str]] = dict(response.headers)
        self._leased: Final = leased
        self._raw: Final = response.aiter_raw()
        self._pending: Iterator[bytes] = iter(())

    async def read(self) -> bytes:
        """Return the next piece, empty at the end.

        Raises:
            NetworkError: The answer broke off, or is not what its encoding says.
        """
        while True:
            if piece := next(self._pending, b""):
                return piece
            try:
                raw = await anext(self._raw, b"")
            except (httpx.HTTPError, httpx.StreamError, RuntimeError) as error:
                raise NetworkError(f"the answer broke off ({_kind(error)})") from None
            if not raw:
                if not self._decoder.is_at_end():
                    raise NetworkError("the answer broke off within its content encoding")
                return b""
            self._pending = self._decoder.feed(raw)

    async def aclose(self) -> None:
        """Give the connection back where the answer is read, and close it where it is not; whatever is cancelled."""
        await self._leased.aclose()


@cache
def _trust() -> SSLContext:
    """Return what every client trusts; reading it takes too long for an event loop."""
    return httpx.create_ssl_context()


@lru_cache(MOST_URLS)
def _parsed(url: str) -> httpx.URL:
    """Return a URL as httpx reads it; those of the declared models come again and again."""
    return httpx.URL(url)


def _kind(error: BaseException) -> str:
    """Return the name of the error behind an error; its words may hold addresses and are not ours."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]  # one of both is there
    return type(cause).__name__
