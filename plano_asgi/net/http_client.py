"""A pooled HTTP client for worker threads."""

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import httpx

from plano_asgi.errors import NetworkError, NetworkTimeoutError
from plano_asgi.net.streamed_answer import innermost

IDLE_CONNECTION_S: Final = 4.0  # less than the 5 s after which common servers close theirs, so that none closes in use


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What a server answered; its words are not in its `repr`.

    Attributes:
        status: HTTP status; redirects are not followed.
        body: The whole body.
        date: When the server answered, by its own clock, as HTTP writes it; empty where it does not tell.
    """

    status: int
    body: bytes = field(repr=False)
    date: str = ""


class HttpClient:
    """Keeps at most `connections` connections and uses them again; thread-safe and fork-safe.

    Certificates are verified, by the file or folder that `SSL_CERT_FILE` or `SSL_CERT_DIR` names where one does. No
    redirect is followed, no cookie kept, and no proxy used.
    """

    def __init__(self, *, connections: int) -> None:
        """Set the bound; connections are opened when they are needed."""
        self._connections: Final = connections
        self._clients: dict[int, httpx.Client] = {}  # by process: after a fork the parent's connections are its own

    def post(
        self, url: str, body: bytes, *, headers: Mapping[str, str], timeout_s: float, most_bytes: int
    ) -> HttpAnswer:
        """Return the answer to a POST, which is sent a second time where a connection breaks before its answer begins.

        Args:
            url: Where to.
            body: What is sent.
            headers: Headers beside those that the client itself sends.
            timeout_s: Seconds until the last byte is read; a server that trickles its head can take longer, as each
                packet of that is waited for as long.
            most_bytes: Most bytes of an answer's body.

        Raises:
            NetworkTimeoutError: The answer was not complete in time.
            NetworkError: There is no connection, it broke, or the answer is too large, encoded or no HTTP.
        """
        return self._exchange("POST", url, body, headers, timeout_s=timeout_s, most_bytes=most_bytes)

    def get(self, url: str, *, headers: Mapping[str, str], timeout_s: float, most_bytes: int) -> HttpAnswer:
        """Return the answer to a GET; the same as `post` in everything else."""
        return self._exchange("GET", url, None, headers, timeout_s=timeout_s, most_bytes=most_bytes)

    def _exchange(  # noqa: PLR0913 - what is asked, and the bounds of the answer
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        most_bytes: int,
    ) -> HttpAnswer:
        until = monotonic() + timeout_s
        try:
            request = httpx.Request(
                method,
                url,
                content=body,
                headers={**headers, "accept-encoding": "identity"},  # no answer may grow by being read
            )
            with closing(self._begun(request, until=until)) as response:
                read = _body(response, until=until, most_bytes=most_bytes)
                date = response.headers.get("date", "")
                return HttpAnswer(status=response.status_code, body=read, date=date)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise NetworkTimeoutError(f"no complete answer within {timeout_s * 1000:.0f} ms") from error
        except (httpx.ConnectError, UnicodeError) as error:  # the latter: a host's name that DNS cannot carry
            raise NetworkError(f"there is no connection ({innermost(error)})") from error
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:  # the last: it was closed meanwhile
            raise NetworkError(f"the exchange broke off ({innermost(error)})") from error

    def _begun(self, request: httpx.Request, *, until: float) -> httpx.Response:
        """Return an answer of which the head is read; a server may close a kept connection just as it is used again."""
        client = self._client()
        try:
            return _sent(client, request, until=until)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            return _sent(client, request, until=until)

    def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        if client := self._clients.pop(os.getpid(), None):
            client.close()

    def _client(self) -> httpx.Client:
        process = os.getpid()
        client = self._clients.get(process)
        if client is None:
            limits = httpx.Limits(
                max_connections=self._connections,
                max_keepalive_connections=self._connections,
                keepalive_expiry=IDLE_CONNECTION_S,
            )
            new = httpx.Client(verify=httpx.create_ssl_context(), trust_env=False, limits=limits)
            client = self._clients.setdefault(process, new)  # of two threads that come first, one gives up its own
        return client


def _sent(client: httpx.Client, request: httpx.Request, *, until: float) -> httpx.Response:
    remaining = until - monotonic()
    if remaining <= 0:
        raise TimeoutError
    request.extensions["timeout"] = httpx.Timeout(remaining).as_dict()
    return client.send(request, stream=True)


def _body(response: httpx.Response, *, until: float, most_bytes: int) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise NetworkError("the answer is compressed, which it was asked not to be")
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > most_bytes:
            raise NetworkError(f"the answer is longer than {most_bytes} bytes")
        if monotonic() > until:
            raise TimeoutError
    return bytes(body)
