"""A pooled HTTP client for event loops, whose answers are read piece by piece."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from itertools import count
from ssl import SSLContext
from typing import Final, Self

import anyio
import httpx
from anyio.lowlevel import RunVar

from plano_asgi.errors import NetworkError, NetworkTimeoutError, NoConnectionError
from plano_asgi.net.decoding import Decoder, decoder_of

IDLE_CONNECTION_S: Final = 30.0
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
        self._limits: Final = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=IDLE_CONNECTION_S
        )
        self._timeout: Final = {"connect": connect_s, "pool": connect_s}
        self._http2: Final = http2
        self._trust: Final = _trust()
        self._of_this_loop: RunVar[httpx.AsyncClient | None] = RunVar(f"plano_asgi_client_{next(_numbers)}")

    async def open(self, request: HttpRequest) -> "StreamedAnswer":
        """Return an answer of which the head is read; whoever asks closes it, and bounds the time that it may take.

        Raises:
            NetworkTimeoutError: All connections are in use, and none became free in time; nothing was sent.
            NoConnectionError: There is no connection, and nothing was sent.
            NetworkError: The exchange broke off, or the answer is encoded in a way that cannot be read.
        """
        try:
            sent = httpx.Request(
                "POST",
                request.url,
                headers=[
                    (name.encode("latin-1"), value.encode("latin-1"))
                    for name, value in (*request.headers, ("accept-encoding", "identity"))
                ],
                content=request.body,
                extensions={"timeout": self._timeout},
            )
            response = await self._client().send(sent, stream=True)
        except httpx.PoolTimeout:
            raise NetworkTimeoutError("all connections to the server are in use") from None
        except (*_NO_CONNECTION, UnicodeError) as error:  # the last: a host's name that DNS cannot carry
            raise NoConnectionError(f"there is no connection ({_kind(error)})") from None
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:  # the last: it was closed meanwhile
            raise NetworkError(f"the exchange broke off ({_kind(error)})") from None
        return await StreamedAnswer.of(response)

    async def aclose(self) -> None:
        """Close the connections of this event loop; the next request opens new ones."""
        if client := self._of_this_loop.get(None):
            self._of_this_loop.set(None)
            await client.aclose()

    def _client(self) -> httpx.AsyncClient:
        client = self._of_this_loop.get(None)
        if client is None:
            client = self._new_client()
            self._of_this_loop.set(client)
        return client

    def _new_client(self) -> httpx.AsyncClient:
        client = httpx.AsyncClient(verify=self._trust, trust_env=False, limits=self._limits, http2=self._http2)
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return client


class StreamedAnswer:
    """An answer under way, decoded; to be read by one task at a time and closed in the end.

    Attributes:
        status: HTTP status.
        headers: Headers by lower-case name.
    """

    def __init__(self, response: httpx.Response, decoder: Decoder) -> None:
        """Take over a response of which the head is read."""
        self.status: Final = response.status_code
        self.headers: Final[Mapping[str, str]] = dict(response.headers)
        self._response: Final = response
        self._raw: Final = response.aiter_raw()
        self._decoder: Final = decoder
        self._pending: Iterator[bytes] = iter(())

    @classmethod
    async def of(cls, response: httpx.Response) -> Self:
        """Return the answer, or close it and raise a `NetworkError` where it cannot be decoded."""
        try:
            return cls(response, decoder_of(response.headers.get("content-encoding", "")))
        except NetworkError:
            await _close(response)
            raise

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
        await _close(self._response)


@cache
def _trust() -> SSLContext:
    """Return what every client trusts; reading it takes too long for an event loop."""
    return httpx.create_ssl_context()


async def _close(response: httpx.Response) -> None:
    with anyio.move_on_after(CLOSING_S, shield=True):
        await response.aclose()


def _kind(error: Exception) -> str:
    """Return the name of the error behind an error; its words may hold addresses and are not ours."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]  # one of both is there
    return type(cause).__name__
