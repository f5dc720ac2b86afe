"""Answers as responses of the caller's own HTTP library, their bodies passed on as they come."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from plano_asgi.intake.rewriting import rewritten_headers
from plano_asgi.outbound.background_loop import BackgroundLoop
from plano_asgi.outbound.family import family_of, joined
from plano_asgi.outbound.served_answers import LeftAlone, ServedAnswer, ServedBody

_OURS: Final = b"x-plano-"

Request = Any
Response = Any


def awaited_response(request: Request, served: ServedAnswer) -> Response:
    """Return the response for an async client."""
    stream = joined(_AwaitedStream, family_of(request).AsyncByteStream)
    return _response(request, served, stream(request, served.body))


def blocking_response(request: Request, served: ServedAnswer, loop: BackgroundLoop, owner: object) -> Response:
    """Return the response for a blocking client; the owner of the loop lives as long as the response."""
    stream = joined(_BlockingStream, family_of(request).SyncByteStream)
    return _response(request, served, stream(request, served.body, loop, owner))


def left_alone(request: Request, call: LeftAlone) -> Request:
    """Return the request as it goes where it was going: without headers that are ours, nor a policy that was cut."""
    headers = [(name, value) for name, value in request.headers.raw if not name.lower().startswith(_OURS)]
    if call.body is None and len(headers) == len(request.headers.raw):
        return request
    body = request.content if call.body is None else call.body
    if call.body is not None:
        headers = rewritten_headers(headers, length=len(body))
    make = family_of(request).Request
    return make(request.method, request.url, headers=headers, content=body, extensions=request.extensions)


def read_timeout(request: Request) -> Exception:
    """Return what the caller's library raises where it has waited long enough."""
    message = "no answer within the time that the client allows"
    error: Exception = family_of(request).ReadTimeout(message, request=request)
    return error


def _response(request: Request, served: ServedAnswer, stream: object) -> Response:
    extensions = {"http_version": b"HTTP/1.1"}
    return family_of(request).Response(served.status, headers=served.headers, stream=stream, extensions=extensions)


class _AwaitedStream:
    def __init__(self, request: Request, body: ServedBody) -> None:
        self._request: Final = request
        self._body: Final = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while piece := await self._body.next():
                yield piece
        except TimeoutError:
            raise read_timeout(self._request) from None

    async def aclose(self) -> None:
        await self._body.aclose()


class _BlockingStream:
    def __init__(self, request: Request, body: ServedBody, loop: BackgroundLoop, owner: object) -> None:
        self._request: Final = request
        self._body: Final = body
        self._loop: Final = loop
        self._owner: Final = owner  # which ends the loop when nobody has it any more

    def __iter__(self) -> Iterator[bytes]:
        try:
            while piece := self._loop.run(self._body.next):
                yield piece
        except TimeoutError:
            raise read_timeout(self._request) from None

    def close(self) -> None:
        self._loop.run_if_alive(self._body.aclose)
