"""The app behind `plano-asgi serve`: decision endpoints, health and, in `mode: forward`, the calls themselves."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from plano_asgi.assembly import Service, build_service
from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError
from plano_asgi.events import CLASSIFIER_FAILED, get_logger
from plano_asgi.http.endpoints import decision_endpoints
from plano_asgi.http.models import is_spelt_out, models_endpoint
from plano_asgi.http.showing import operator_endpoints
from plano_asgi.intake import Headers, error_answer
from plano_asgi.intake.model_list import MODELS_PATH
from plano_asgi.intake.routing_requests import ENDPOINTS
from plano_asgi.router import Router
from plano_asgi.settings import Settings
from plano_asgi.wire import FORMATS

if TYPE_CHECKING:
    from plano_asgi.http.stored_responses import StoredResponsesEndpoint

HEALTH_PATH: Final = "/healthz"
READINESS_PATH: Final = "/readyz"
STARTUP_PATH: Final = "/startupz"


def create_app(settings: Settings, router: Router, *, before: Service | None = None) -> Starlette:
    """Return the app; its lifespan starts the router before the first call, or beside it (`startup: background`).

    Args:
        settings: What it serves.
        router: What decides.
        before: What has been served until now; what it has counted in memory goes on.
    """
    service = build_service(settings, router=router, in_host=False, before=before)
    endpoints: dict[str, Callable[..., Any]] = dict(decision_endpoints(settings, router, service.guard))
    stored: StoredResponsesEndpoint | None = None
    operators = operator_endpoints(service, in_host=False)
    endpoints |= operators
    if service.gateway:
        from plano_asgi.http.forwarding import forwarding_endpoints  # noqa: PLC0415 - brings an HTTP client along
        from plano_asgi.http.stored_responses import stored_responses_endpoint  # noqa: PLC0415 - same

        stored = stored_responses_endpoint(settings, service.gateway)
        served = forwarding_endpoints(settings, service.gateway)
        endpoints |= {FORMATS[api_format].path: endpoint for api_format, endpoint in served.items()}
    call_routes: list[Route] = [_ExactRoute(path, endpoint) for path, endpoint in endpoints.items()]
    if stored:
        one = f"{FORMATS[ApiFormat.RESPONSES].path}/{{id}}"
        call_routes.append(_ExactRoute(one, stored, methods=["GET", "DELETE"]))
        call_routes.append(_ExactRoute(f"{one}/input_items", stored, methods=["GET"]))
    if listing := models_endpoint(settings):
        paths = (MODELS_PATH, f"{MODELS_PATH}/{{id:path}}")
        call_routes += [_ModelRoute(path, listing, methods=["GET"]) for path in paths]
    probes = {HEALTH_PATH: _health, READINESS_PATH: _readiness, STARTUP_PATH: _startup}
    app = Starlette(
        routes=[*call_routes, *(Route(path, probe) for path, probe in probes.items())],
        lifespan=_lifespan,
        exception_handlers={HTTPException: _http_error},
    )
    app.router.redirect_slashes = False
    app.state.router = router
    app.state.service = service
    app.state.paths = tuple(path for path in endpoints if path not in operators)
    app.state.starts_in_background = settings.startup == "background"
    app.state.problem = None
    return app


class _ExactRoute(Route):
    """A route that an encoded slash does not lead to: `%2F` is no path separator (RFC 3986, section 2.2)."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if b"%2f" in (scope.get("raw_path") or b"").lower():
            return Match.NONE, {}
        return super().matches(scope)


class _ModelRoute(Route):
    """A route to the list of models, in whose ids a slash may be encoded, and only there."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope) if is_spelt_out(scope) else (Match.NONE, {})


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    router: Router = app.state.router
    try:
        if router.is_ready:
            yield
            return
        if not app.state.starts_in_background:
            await anyio.to_thread.run_sync(router.start)
            yield
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_start_in_background, app)
            yield
            tasks.cancel_scope.cancel()
    finally:
        await app.state.service.aclose()


async def _start_in_background(app: Starlette) -> None:
    try:
        await anyio.to_thread.run_sync(app.state.router.start, abandon_on_cancel=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, calls are still served by `on_error`
        name = type(error).__name__
        app.state.problem = f"the model could not be loaded ({name}); the log says more"  # anybody may ask: no paths
        get_logger().error(CLASSIFIER_FAILED, error=name, detail=str(error))


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _startup(request: Request) -> Response:
    """Answer whether the start is over: a classifier elsewhere that cannot be asked now is no reason to start again."""
    state = request.app.state
    if state.router.is_ready or (state.router.problem and not state.problem):
        return JSONResponse({"status": "started"})
    reason = state.problem or "the model is loading"
    return JSONResponse({"status": "not started", "reasons": [reason]}, status_code=503)


async def _readiness(request: Request) -> Response:
    state = request.app.state
    if state.router.is_ready:
        return JSONResponse({"status": "ready"})
    unasked = "the classifier cannot be asked now; the log says more" if state.router.problem else None
    reason = state.problem or unasked or "the model is loading"
    return JSONResponse({"status": "not ready", "reasons": [reason]}, status_code=503)


async def _http_error(request: Request, error: Exception) -> Response:
    """Return the answer where no endpoint gives one: 404 beside them, 405 for health paths."""
    allowed = (error.headers or {}).get("Allow") if isinstance(error, HTTPException) else None
    if allowed:
        fault = CallError(f"this path takes {allowed} only", status=405, code="method_not_allowed")
    else:
        message = f"nothing is served here; POST a call to one of {', '.join(request.app.state.paths or ENDPOINTS)}"
        fault = CallError(message, status=404, code="not_found")
    request_id = Headers.from_raw(request.headers.raw).request_id()
    answer = error_answer(fault, api_format=_nearest_format(request.url.path), request_id=request_id)
    return Response(answer.body, answer.status, {**dict(answer.headers), **({"allow": allowed} if allowed else {})})


def _nearest_format(path: str) -> ApiFormat:
    """Return the API of the endpoint that a path is below, so that its client reads the error; else the commonest."""
    of_calls = {wire.path: api_format for api_format, wire in FORMATS.items()}
    known = (ENDPOINTS | of_calls).items()
    return next((f for endpoint, f in known if path.startswith(endpoint)), ApiFormat.CHAT_COMPLETIONS)
