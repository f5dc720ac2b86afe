"""`ReloadableApp`: the app of the configuration in force, which another replaces while calls go on."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from threading import current_thread, main_thread
from typing import Final

import anyio
import anyio.abc
import anyio.to_thread
import orjson
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from plano_asgi.assembly import Service, build_router
from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError, ConfigurationError, MissingExtraError, PlanoError
from plano_asgi.events import CONFIGURATION_REFUSED, CONFIGURATION_RELOADED, get_logger
from plano_asgi.http.admin import check_admin, check_method
from plano_asgi.http.endpoints import send_answer
from plano_asgi.http.server import create_app
from plano_asgi.intake import Headers, error_answer
from plano_asgi.settings import Settings

RELOAD_PATH: Final = "/routing/v1/reload"
SETTLE_MS: Final = 300  # a file that is still being written is left alone for that long
STEP_MS: Final = 50
LOOK_MS: Final = 500  # at a time; a server that stops waits for the end of a look

_BROWSERS_HEADERS: Final = ("origin", "sec-fetch-site")
_HANGUP: Final[signal.Signals | None] = getattr(signal, "SIGHUP", None)


class _Term:
    """The time for which one app is in force, and the calls that began in it; it is over when the last of them ends."""

    def __init__(self, app: Starlette) -> None:
        self.app = app
        self._calls = 0
        self._is_followed = False
        self.over = anyio.Event()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._calls += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._calls -= 1
            self._end_with_last_call()

    def be_followed(self) -> None:
        self._is_followed = True
        self._end_with_last_call()

    def _end_with_last_call(self) -> None:
        if self._is_followed and not self._calls:
            self.over.set()


class ReloadableApp:
    """Serves by the app in force; another takes its place once its configuration is good and its router warm.

    It is replaced on SIGHUP, on `POST /routing/v1/reload` by who holds the admin token (without one: from this machine,
    and by no browser), and when the file changes, where `reload.watch` says so. A configuration with faults changes
    nothing. For a moment two models are in memory; calls that have begun end under the configuration they began with,
    which is closed after the last of them. One reload runs at a time.
    """

    def __init__(self, app: Starlette, load: Callable[[], Settings]) -> None:
        """Take the app to begin with, and what reads the configuration again.

        Raises:
            MissingExtraError: The file is to be watched, and watchfiles is not installed.
        """
        self._first, self._load = app, load
        settings = self._service(app).settings
        self._watched = settings.config_file.absolute() if settings.reload.watch and settings.config_file else None
        if self._watched:
            _check_watchfiles()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        if scope["type"] == "lifespan":
            await Starlette(lifespan=self._lifespan)(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == RELOAD_PATH:
            await self._answer(scope, receive, send)
        else:
            await self._term.serve(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._lock = anyio.Lock()
        async with anyio.create_task_group() as terms:
            self._terms = terms
            self._term = await terms.start(self._hold, self._first)
            async with anyio.create_task_group() as watchers:
                if _HANGUP is not None and current_thread() is main_thread():
                    await watchers.start(self._heed_hangups, _HANGUP)
                if self._watched:
                    watchers.start_soon(self._heed_changes, self._watched)
                yield
                watchers.cancel_scope.cancel()
            self._term.be_followed()

    async def _hold(self, app: Starlette, *, task_status: anyio.abc.TaskStatus[_Term]) -> None:
        """Keep an app alive until its term is over."""
        async with app.router.lifespan_context(app):
            term = _Term(app)
            task_status.started(term)
            await term.over.wait()

    async def _reload(self) -> Service:
        """Put the configuration into force as it now is.

        Raises:
            PlanoError: It cannot be used; the one in force stays.
        """
        async with self._lock:
            before = self._term
            try:
                app = await anyio.to_thread.run_sync(self._built, self._service(before.app))
            except Exception as error:
                get_logger().error(CONFIGURATION_REFUSED, faults=_faults(error), advice="the one in force stays")
                raise
            self._term = await self._terms.start(self._hold, app)
            before.be_followed()
            service = self._service(app)
            get_logger().info(CONFIGURATION_RELOADED, routes=len(service.router.policy.preferences))
            return service

    def _built(self, before: Service) -> Starlette:
        """Return the app of the configuration as it now is, ready to decide; blocks."""
        settings = self._load()
        router = build_router(settings)
        try:
            router.start()
            return create_app(settings, router, before=before)
        except BaseException:
            router.close()
            raise

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the admin call: 200 once the new configuration is in force, 422 with its faults where it is not."""
        headers = Headers.from_raw(scope["headers"])
        try:
            check_method(scope, {"POST"})
            check_admin(scope, self._service(self._term.app).settings.admin.token)
            _check_no_browser(headers)
        except CallError as error:
            answer = error_answer(error, api_format=ApiFormat.CHAT_COMPLETIONS, request_id=headers.request_id())
            await send_answer(answer, send)
            return
        try:
            service = await self._reload()
        except PlanoError as error:
            refused = {
                "message": "the new configuration cannot be used; the one in force stays",
                "type": "invalid_request_error",
                "param": None,
                "code": "configuration_refused",
                "faults": _faults(error),
            }
            await _json({"error": refused}, 422)(scope, receive, send)
            return
        routes = [preference.name for preference in service.router.policy.preferences]
        told = {"status": "reloaded", "routes": routes, "warnings": list(service.settings.warnings)}
        await _json(told, 200)(scope, receive, send)

    async def _heed_hangups(self, hangup: signal.Signals, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(hangup) as hangups:
            task_status.started()
            async for _ in hangups:
                await self._reload_quietly()

    async def _heed_changes(self, file: Path) -> None:
        """Reload when the file says something else; its folder is watched, since editors put another in its place."""
        from watchfiles import awatch  # noqa: PLC0415 - an extra

        known = await anyio.to_thread.run_sync(_content, file)
        look = partial(awatch, debounce=SETTLE_MS, step=STEP_MS, rust_timeout=LOOK_MS)
        try:
            async for _ in look(file.parent, recursive=False, watch_filter=None):
                content = await anyio.to_thread.run_sync(_content, file)
                if content != known:
                    known = content
                    await self._reload_quietly()
        except (OSError, RuntimeError) as error:  # its folder is gone, or the system has no watches left
            advice = "the file is watched no more; send SIGHUP instead, or start again"
            get_logger().error(CONFIGURATION_REFUSED, faults=[type(error).__name__], advice=advice)

    async def _reload_quietly(self) -> None:
        with suppress(Exception):  # the log has been told
            await self._reload()

    @staticmethod
    def _service(app: Starlette) -> Service:
        service: Service = app.state.service
        return service


def _check_no_browser(headers: Headers) -> None:
    if any(headers.get(name) for name in _BROWSERS_HEADERS):
        raise CallError("no browser reloads the configuration", status=403, code="admin_only")


def _faults(error: Exception) -> list[str]:
    """Return what is wrong; of an error that is not ours its name alone, since it may quote what it has read."""
    if isinstance(error, ConfigurationError):
        return [str(fault) for fault in error.faults]
    return [str(error) if isinstance(error, PlanoError) else type(error).__name__]


def _json(told: object, status: int) -> Response:
    return Response(orjson.dumps(told), status, {"cache-control": "no-store"}, media_type="application/json")


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _check_watchfiles() -> None:
    try:
        import watchfiles  # noqa: F401, PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError("watch", needed_for="the setting reload.watch") from error
