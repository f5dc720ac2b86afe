"""Asking model providers through the transport that a caller has brought along."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from plano_asgi.errors import NetworkError, NetworkTimeoutError, NoConnectionError
from plano_asgi.net import HttpRequest, RawBytes, StreamedAnswer, innermost
from plano_asgi.outbound.family import MOST_CONNECTIONS, Family

CLOSING_S: Final = 1.0
_threads: RunVar[anyio.CapacityLimiter | None] = RunVar("plano_asgi_outbound_threads")


class AwaitedInner:
    """Asks through an asynchronous transport; closing that is its owner's business."""

    def __init__(self, inner: Any, family: Family, timeout: Mapping[str, float]) -> None:  # noqa: ANN401 - see Family
        """Say what asks, and how many seconds it may take, as the extension `timeout` has them."""
        self._inner: Final = inner
        self._family: Final = family
        self._timeout: Final = timeout

    async def open(self, request: HttpRequest) -> StreamedAnswer:
        """Return an answer of which the head is read; as `UpstreamClient` says."""
        with _explained(self._family):
            sent = _request_of(self._family, request, self._timeout)
            response = await self._inner.handle_async_request(sent)
        return await _begun(response, _AwaitedBytes(response, self._family))

    async def aclose(self) -> None:
        """Do nothing."""


class BlockingInner:
    """Asks through a blocking transport, each wait on a thread; closing that is its owner's business.

    A wait that is given up goes on until the transport's own timeout, and what comes of it is closed then. At most
    1,000 threads wait at a time.
    """

    def __init__(self, inner: Any, family: Family, timeout: Mapping[str, float]) -> None:  # noqa: ANN401 - see Family
        """Say what asks, and how many seconds it may take, as the extension `timeout` has them."""
        self._inner: Final = inner
        self._family: Final = family
        self._timeout: Final = timeout

    async def open(self, request: HttpRequest) -> StreamedAnswer:
        """Return an answer of which the head is read; as `UpstreamClient` says."""
        handed_over = _HandedOver()
        try:
            with _explained(self._family):
                sent = _request_of(self._family, request, self._timeout)
                ask = partial(self._inner.handle_request, sent)
                response = await _on_a_thread(lambda: handed_over.keep(ask()))
        except BaseException:
            handed_over.give_up()
            raise
        return await _begun(response, _BlockingBytes(response, self._family))

    async def aclose(self) -> None:
        """Do nothing."""


class _HandedOver:
    """A response that is closed where nobody waits for it any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_given_up = False
        self._response: Any = None

    def keep(self, response: Any) -> Any:  # noqa: ANN401 - see Family
        with self._lock:
            self._response = response
            if self._is_given_up:
                response.close()
        return response

    def give_up(self) -> None:
        with self._lock:
            self._is_given_up = True
            if self._response is not None:
                self._response.close()


class _AwaitedBytes:
    def __init__(self, response: Any, family: Family) -> None:  # noqa: ANN401 - see Family
        self._response: Final = response
        self._family: Final = family
        self._raw: Final = response.aiter_raw()

    async def read(self) -> bytes:
        with _explained(self._family):
            piece: bytes = await anext(self._raw, b"")
            return piece

    async def aclose(self) -> None:
        with anyio.move_on_after(CLOSING_S, shield=True):
            await self._response.aclose()


class _BlockingBytes:
    """A body that is read on threads; one that is closed while it is waited for is closed when the wait is over."""

    def __init__(self, response: Any, family: Family) -> None:  # noqa: ANN401 - see Family
        self._response: Final = response
        self._family: Final = family
        self._raw: Final = response.iter_raw()
        self._in_use: Final = threading.Lock()

    async def read(self) -> bytes:
        with _explained(self._family):
            piece: bytes = await _on_a_thread(self._next)
            return piece

    async def aclose(self) -> None:
        with anyio.move_on_after(CLOSING_S, shield=True):
            await _on_a_thread(self._close)

    def _next(self) -> bytes:
        with self._in_use:
            return next(self._raw, b"")

    def _close(self) -> None:
        with self._in_use, suppress(Exception):  # whatever it is, nobody waits for its bytes any more
            self._response.close()


async def _begun(response: Any, raw: RawBytes) -> StreamedAnswer:  # noqa: ANN401 - see Family
    """Return the answer, or close it where it is encoded in a way that cannot be read."""
    try:
        return StreamedAnswer(response.status_code, response.headers, raw)
    except NetworkError:
        await raw.aclose()
        raise


async def _on_a_thread(work: Any) -> Any:  # noqa: ANN401 - see Family
    threads = _threads.get(None)
    if threads is None:
        threads = anyio.CapacityLimiter(MOST_CONNECTIONS)
        _threads.set(threads)
    return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=threads)


def _request_of(family: Family, request: HttpRequest, timeout: Mapping[str, float]) -> Any:  # noqa: ANN401 - see Family
    headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in (*request.headers, ("accept-encoding", "identity"))
    ]
    extensions = {"timeout": dict(timeout)}
    return family.Request("POST", request.url, headers=headers, content=request.body, extensions=extensions)


@contextmanager
def _explained(family: Family) -> Iterator[None]:
    """Raise what the library raises as what it means to a call."""
    try:
        yield
    except family.PoolTimeout:
        raise NetworkTimeoutError("all connections to the server are in use") from None
    except (family.ConnectError, family.ConnectTimeout, family.UnsupportedProtocol, UnicodeError) as error:
        raise NoConnectionError(f"there is no connection ({innermost(error)})") from None
    except (family.TimeoutException, TimeoutError):
        raise TimeoutError from None
    except (family.HTTPError, family.StreamError, family.InvalidURL, OSError, RuntimeError) as error:
        raise NetworkError(f"the exchange broke off ({innermost(error)})") from None
