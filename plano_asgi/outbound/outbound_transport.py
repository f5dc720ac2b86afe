"""`transport`: what an HTTP client of an SDK sends its calls through, so that they are routed on their way out."""

import os
import weakref
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, Final, Self

import anyio.to_thread

from plano_asgi.assembly import Service, build_service
from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import PlanoError
from plano_asgi.events import CLASSIFIER_FAILED, get_logger
from plano_asgi.outbound.background_loop import BackgroundLoop
from plano_asgi.outbound.calls import CallerRequest, OutboundCalls
from plano_asgi.outbound.family import family_of, new_transport
from plano_asgi.outbound.inner_clients import AwaitedInner, BlockingInner
from plano_asgi.outbound.responses import awaited_response, blocking_response, left_alone, read_timeout
from plano_asgi.outbound.served_answers import LeftAlone
from plano_asgi.router import Router
from plano_asgi.settings import Settings, load_settings


def transport(
    inner: object = None,
    *,
    config: str | Path | None = None,
    settings: Settings | None = None,
    router: Router | None = None,
) -> Any:  # noqa: ANN401 - a transport of httpx or of httpx2, whichever client it is given to
    """Return a transport that routes the LLM calls which a client of httpx or httpx2 sends; sync and async.

    The model is loaded before this returns, so make it once, at start-up. Give it to one client:
    `openai.OpenAI(http_client=openai.DefaultHttpxClient(transport=plano_asgi.transport()))`.

    Args:
        inner: The transport through which everything is sent, which is closed with this one. Without it model providers
            are asked by the gateway's own client, and what is no LLM call goes through a transport of the client's
            library.
        config: A configuration file; without it `PLANO_CONFIG_FILE`, `plano.yaml` or the environment alone.
        settings: Settings made elsewhere, instead.
        router: A started router that others use too; who has started it closes it.

    Raises:
        ConfigurationError: The configuration cannot be used, or a provider could not be called.
        ArtifactError: A model file is missing or not the published one.
        MissingExtraError: The settings ask for an extra that is not installed.
    """
    return OutboundTransport(inner, settings=settings or _loaded(config), router=router)


class OutboundTransport:
    """Routes LLM calls on their way out; a transport to httpx and to httpx2, for blocking and for async clients.

    It has the methods of their transports, and is of neither library. Thread-safe. Blocking calls are served in an
    event loop of its own, in one daemon thread for each process, which starts with the first of them.
    """

    def __init__(self, inner: object, *, settings: Settings, router: Router | None) -> None:
        """Put the parts together, and start the router unless it is given."""
        self._inner: Final[Any] = inner
        self._is_inner_given: Final = inner is not None
        self._settings: Final = settings
        self._of_the_library: Final[dict[tuple[int, str, bool], Any]] = {}
        self._loops: Final[dict[int, BackgroundLoop]] = {}  # by process: a child has no threads of its parent's
        self._own_router: Router | None = None
        self._service: Service | None = None
        self._calls: OutboundCalls | None = None
        if not settings.enabled:  # nothing is built: it may have been switched off since something cannot be
            return
        self._service = service = build_service(replace(settings, mode="forward"), router=router)
        if service.gateway:
            is_observing = settings.mode == "observe"  # which changes nothing, so that no guardrail acts
            gateway = replace(service.gateway, guard=None) if is_observing else service.gateway
            self._calls = OutboundCalls(settings, gateway)
        if router is None:
            self._own_router = self._service.router
            _start(self._own_router, waits=settings.startup == "wait")
        weakref.finalize(self, _end_all, self._loops).atexit = False  # who forgets to close it leaves no thread behind

    def handle_request(self, request: Any) -> Any:  # noqa: ANN401 - of httpx or httpx2
        """Return the response to a request of a blocking client."""
        inner, calls = self._inner_for(request, is_async=False), self._calls
        api_format = calls.format_of(request.method, _path_of(request), request.headers.raw) if calls else None
        if calls is None or api_format is None:
            return inner.handle_request(request)
        call = _call_of(request, api_format, body=request.read() if self._fits(request) else None)
        client = BlockingInner(inner, family_of(request), self._patience(request)) if self._is_inner_given else None
        loop = self._loop()
        try:
            served = loop.run(partial(calls.answer, call, client))
        except TimeoutError:
            raise read_timeout(request) from None
        if isinstance(served, LeftAlone):
            return inner.handle_request(left_alone(request, served))
        return blocking_response(request, served, loop, owner=self)

    async def handle_async_request(self, request: Any) -> Any:  # noqa: ANN401 - of httpx or httpx2
        """Return the response to a request of an async client."""
        inner, calls = self._inner_for(request, is_async=True), self._calls
        api_format = calls.format_of(request.method, _path_of(request), request.headers.raw) if calls else None
        if calls is None or api_format is None:
            return await inner.handle_async_request(request)
        call = _call_of(request, api_format, body=await request.aread() if self._fits(request) else None)
        client = AwaitedInner(inner, family_of(request), self._patience(request)) if self._is_inner_given else None
        try:
            served = await calls.answer(call, client)
        except TimeoutError:
            raise read_timeout(request) from None
        if isinstance(served, LeftAlone):
            return await inner.handle_async_request(left_alone(request, served))
        return awaited_response(request, served)

    def close(self) -> None:
        """Let go of everything: the calls under way, the connections, the model; and of `inner`."""
        if loop := self._loops.pop(os.getpid(), None):
            loop.stop()
        if self._own_router:
            self._own_router.close()
        if close := getattr(self._inner, "close", None):
            close()
        for own in self._of_the_library_here(is_async=False):
            own.close()

    async def aclose(self) -> None:
        """Do as `close` does, for an async client: the connections are those of this event loop."""
        if loop := self._loops.pop(os.getpid(), None):
            await anyio.to_thread.run_sync(loop.stop)
        if self._own_router:
            self._own_router.close()
        if self._service:
            await self._service.disconnect()
        if aclose := getattr(self._inner, "aclose", None):
            await aclose()
        for own in self._of_the_library_here(is_async=True):
            await own.aclose()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.aclose()

    def _inner_for(self, request: Any, *, is_async: bool) -> Any:  # noqa: ANN401 - of httpx or httpx2
        """Return what sends a request that is left alone: the transport that was given, or one of the library's own."""
        if not self._is_inner_given:
            family = family_of(request)
            key = (os.getpid(), family.__name__, is_async)
            return self._of_the_library.get(key) or self._of_the_library.setdefault(
                key, new_transport(family, is_async=is_async)
            )
        if not hasattr(self._inner, "handle_async_request" if is_async else "handle_request"):
            kind, other = ("an async", "a blocking") if is_async else ("a blocking", "an async")
            raise TypeError(f"{kind} client sends through {other} transport; give transport() one of the client's kind")
        return self._inner

    def _of_the_library_here(self, *, is_async: bool) -> list[Any]:
        process = os.getpid()
        return [own for key, own in self._of_the_library.items() if key[0] == process and key[2] == is_async]

    def _loop(self) -> BackgroundLoop:
        process = os.getpid()
        if (loop := self._loops.get(process)) is None:
            new = BackgroundLoop(self._service.disconnect if self._service else _do_nothing)
            loop = self._loops.setdefault(process, new)
            if loop is not new:  # of two threads that come first, one gives up its own
                new.end()
        return loop

    def _fits(self, request: Any) -> bool:  # noqa: ANN401 - of httpx or httpx2
        return int(request.headers["content-length"]) <= self._settings.limits.body_bytes

    def _patience(self, request: Any) -> Mapping[str, float]:  # noqa: ANN401 - of httpx or httpx2
        """Return the timeouts that a caller's own transport is given: the client's, bounded where it sets none."""
        forward = self._settings.forward
        most = {"connect": forward.connect_s, "pool": forward.connect_s}
        most |= {"read": forward.answer_s, "write": forward.answer_s}
        wanted = request.extensions.get("timeout") or {}
        return {kind: wanted.get(kind) or seconds for kind, seconds in most.items()}


def _loaded(config: str | Path | None) -> Settings:
    """Return the settings of a file; where calls will be served, its providers have to be such that they can be."""
    return load_settings(Path(config) if config is not None else None, serves_rewritten=True)


def _start(router: Router, *, waits: bool) -> None:
    if waits:
        router.start()
    else:
        Thread(target=_start_quietly, args=[router], name="plano-start", daemon=True).start()


def _start_quietly(router: Router) -> None:
    try:
        router.start()
    except PlanoError as error:  # calls are served by `routing.on_error`
        get_logger().error(CLASSIFIER_FAILED, error=type(error).__name__, detail=str(error))


def _call_of(request: Any, api_format: ApiFormat, *, body: bytes | None) -> CallerRequest:  # noqa: ANN401 - of httpx or httpx2
    read_s = (request.extensions.get("timeout") or {}).get("read")
    return CallerRequest(api_format=api_format, headers=request.headers.raw, body=body, read_s=read_s)


def _path_of(request: Any) -> str:  # noqa: ANN401 - of httpx or httpx2
    """Return the path; empty where an encoded slash makes it say two things."""
    path: str = "" if b"%2f" in request.url.raw_path.lower() else request.url.path
    return path


def _end_all(loops: dict[int, BackgroundLoop]) -> None:
    for loop in loops.values():
        loop.end()


async def _do_nothing() -> None:
    """Be what is done where there is nothing to do."""
