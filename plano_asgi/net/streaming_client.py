"""A pooled HTTP client for event loops, whose answers are read piece by piece."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import count
from os import environ
from ssl import SSLContext, SSLError
from typing import Final

import anyio
import httpcore
import httpx
from anyio.lowlevel import RunVar

from plano_asgi.errors import NetworkError, NetworkTimeoutError, NoConnectionError
from plano_asgi.net.connections import Connection, Connections
from plano_asgi.net.streamed_answer import StreamedAnswer, innermost

MOST_URLS: Final = 1_024
LONGEST_KEPT_URL: Final = 512
CLOSING_S: Final = 1.0
_numbers = count()
_NO_CONNECTION: Final = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.UnsupportedProtocol)
_BROKEN: Final = (
    httpcore.ConnectionNotAvailable,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    RuntimeError,  # it was closed meanwhile
    SSLError,  # after the handshake httpcore lets it through
)


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
        address, connections = _address_of(request.url), self._connections()
        try:
            connection = await connections.take(address.url.origin)
        except TimeoutError:
            raise NetworkTimeoutError("all connections to the server are in use") from None
        leased = _Leased(connections, connection)
        try:
            response = await connection.handle_async_request(self._as_sent(request, address))
            leased.begin(response)
            return StreamedAnswer(response.status, _by_name(response.headers), leased)
        except BaseException as error:
            await leased.aclose()
            if isinstance(error, httpcore.PoolTimeout):
                raise NetworkTimeoutError("all connections to the server are in use") from None
            if isinstance(error, (*_NO_CONNECTION, UnicodeError)):  # the last: a host's name that DNS cannot carry
                raise NoConnectionError(f"there is no connection ({innermost(error)})") from None
            if isinstance(error, _BROKEN):
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

    def _as_sent(self, request: HttpRequest, address: "_Address") -> httpcore.Request:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
        if not any(name == b"host" for name, _ in headers):
            headers.insert(0, (b"host", address.host))
        if request.body or request.method == "POST":
            headers.append((b"content-length", str(len(request.body)).encode()))
        headers.append((b"accept-encoding", b"identity"))
        extensions = {"timeout": self._timeout}
        return httpcore.Request(
            request.method, address.url, headers=headers, content=request.body, extensions=extensions
        )


@dataclass(frozen=True, slots=True)
class _Address:
    """A URL as it is asked for, and its host as the header says it."""

    url: httpcore.URL
    host: bytes


@dataclass(slots=True)
class _Leased:
    """A connection in use, and the answer that comes over it."""

    connections: Connections
    connection: Connection
    response: httpcore.Response | None = None
    raw: AsyncIterator[bytes] | None = None
    is_over: bool = False

    def begin(self, response: httpcore.Response) -> None:
        """Take over a response of which the head is read."""
        self.response = response
        self.raw = response.aiter_stream()

    async def read(self) -> bytes:
        """Return the next piece as the server has sent it, empty at the end."""
        try:
            return await anext(self.raw, b"") if self.raw else b""
        except _BROKEN as error:
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
                await self.connections.give_back(self.connection, is_usable=is_closed)


def _trust() -> SSLContext:
    """Return what clients trust that begin now."""
    return _trusted_by(environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=8)
def _trusted_by(_file: str | None, _folder: str | None) -> SSLContext:
    """Return what is trusted where the environment names these; reading it takes too long for an event loop."""
    return httpx.create_ssl_context()


def _address_of(url: str) -> _Address:
    """Return where a URL leads; those of the declared models come again and again, and longer ones are a caller's.

    Raises:
        NetworkError: It is no URL of HTTP.
    """
    return _kept_address(url) if len(url) <= LONGEST_KEPT_URL else _read_address(url)


def _read_address(url: str) -> _Address:
    try:
        read = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise NetworkError(f"the exchange broke off ({innermost(error)})") from None
    if read.scheme not in {"http", "https"}:
        raise NoConnectionError("there is no connection (UnsupportedProtocol)")
    asked = httpcore.URL(scheme=read.raw_scheme, host=read.raw_host, port=read.port, target=read.raw_path)
    return _Address(asked, read.netloc)


_kept_address = lru_cache(MOST_URLS)(_read_address)


def _by_name(raw: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Return headers by lower-case name, repeated ones joined."""
    headers: dict[str, str] = {}
    for name_bytes, value_bytes in raw:
        name, value = name_bytes.decode("latin-1").lower(), value_bytes.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
