"""`PlanoMiddleware`: an existing app's LLM calls, rewritten in place."""

import random
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Final

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plano_asgi.assembly import build_router
from plano_asgi.conversation import ApiFormat
from plano_asgi.decisions import RoutingDecision
from plano_asgi.errors import (
    AmbiguousBodyError,
    CallError,
    ConfigurationError,
    Fault,
    InlinePolicyError,
    PlanoError,
    PolicyRefusedError,
    RoutingUnavailableError,
)
from plano_asgi.events import CALL_PASSED_ON, CALL_REFUSED, CLASSIFIER_FAILED, get_logger
from plano_asgi.http.endpoints import LARGE_BODY_BYTES, decision_endpoints, send_answer
from plano_asgi.http.replay import NOTHING_TAKEN, BodyEnd, TakenBody, take_body
from plano_asgi.http.state import STATE_KEY, OwnMapping, PlanoState
from plano_asgi.intake import Headers, error_answer
from plano_asgi.intake.encodings import too_large
from plano_asgi.intake.rewriting import decision_headers, rewritten_body, rewritten_headers
from plano_asgi.intake.routing_requests import RoutingRequest, read_routing_request
from plano_asgi.policy import fit_format
from plano_asgi.router import Router
from plano_asgi.settings import Settings, load_settings
from plano_asgi.wire import recognise

REFUSED_ALWAYS: Final = (AmbiguousBodyError, InlinePolicyError, PolicyRefusedError, RoutingUnavailableError)


class PlanoMiddleware:
    """Routes the LLM calls that pass through it and leaves everything else as it is; pure ASGI.

    Immutable after construction: what belongs to one call lives in locals. In `rewrite` mode the app reads the decided
    model in the body; in `observe` mode it reads what the client sent. Calls that cannot be read go on unchanged.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        config: str | Path | None = None,
        settings: Settings | None = None,
        router: Router | None = None,
    ) -> None:
        """Wrap an app; the model is loaded in its lifespan, or with the first call where there is none.

        Args:
            app: What is wrapped.
            config: A configuration file; without it `PLANO_CONFIG_FILE`, `plano.yaml` or the environment alone.
            settings: Settings made elsewhere, instead.
            router: A router made elsewhere, for tests.

        Raises:
            ConfigurationError: The configuration cannot be used.
        """
        self._app = app
        self._settings = settings or load_settings(Path(config) if config is not None else None)
        if self._settings.mode == "forward":
            what = "forward is not part of this version; use rewrite or observe"
            raise ConfigurationError([Fault(where="mode", what=what)])
        self._router = router or build_router(self._settings)
        self._endpoints = decision_endpoints(self._settings, self._router)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._with_life_cycle(send))
            return
        if scope["type"] != "http" or not self._settings.enabled:
            await self._app(scope, receive, send)
            return
        path = _path_in_app(scope)
        if endpoint := self._endpoints.get(path):
            await endpoint(scope, receive, send)
        elif scope["method"] == "POST" and (api_format := self._format_of(path)):
            await self._serve_call(api_format, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _format_of(self, path: str) -> ApiFormat | None:
        is_call = any(path.endswith(end) for end in self._settings.paths) and "//" not in path
        return recognise(path) if is_call else None

    async def _serve_call(self, api_format: ApiFormat, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers.from_raw(scope["headers"])
        taken = NOTHING_TAKEN
        if (headers.content_length or 0) <= self._settings.limits.body_bytes:
            taken = await take_body(receive, limit=self._settings.limits.body_bytes)
        if taken.end in {BodyEnd.DISCONNECTED, BodyEnd.FAILED}:
            await self._app(scope, taken.replayed(receive), send)
            return
        try:
            if taken.end is not BodyEnd.COMPLETE:
                raise too_large(self._settings.limits.body_bytes)
            request = await self._read(api_format, headers, taken.data)
            decision = await self._decide(request)
        except CallError as error:
            if self._answers(error):
                get_logger().info(CALL_REFUSED, api_format=api_format.value, status=error.status, code=error.code)
                await send_answer(error_answer(error, api_format=api_format, request_id=headers.request_id()), send)
                return
            get_logger().info(CALL_PASSED_ON, api_format=api_format.value, code=error.code)
            await self._app(scope, taken.replayed(receive), send)
            return
        scope = self._with_state(scope, decision)
        if self._is_observed():
            await self._app(scope, taken.replayed(receive), send)
            return
        qualified = self._settings.routing.model_form == "qualified"
        body = rewritten_body(request.document, decision, self._router.catalog, qualified=qualified)
        scope = OwnMapping(scope, {"headers": rewritten_headers(scope["headers"], length=len(body))})
        if self._settings.response_headers:
            send = _with_headers(send, decision)
        await self._app(scope, TakenBody(body, BodyEnd.COMPLETE).replayed(receive), send)

    async def _read(self, api_format: ApiFormat, headers: Headers, body: bytes) -> RoutingRequest:
        read = partial(
            read_routing_request,
            api_format,
            headers,
            body,
            body_bytes=self._settings.limits.body_bytes,
            bypass_allowed=self._settings.routing.bypass_header,
        )
        is_small = len(body) < LARGE_BODY_BYTES and not headers.get("content-encoding")
        return read() if is_small else await anyio.to_thread.run_sync(read)

    async def _decide(self, request: RoutingRequest) -> RoutingDecision:
        decision = await self._router.aroute(request.call, bypass=request.bypass)
        if self._settings.routing.cross_format:
            return decision
        return fit_format(decision, request.call, rules=self._router.rules, catalog=self._router.catalog)

    def _with_state(self, scope: Scope, decision: RoutingDecision) -> Scope:
        """Return a scope of this request's own, with the decision in its state."""
        provider = self._router.catalog.provider_of(decision.would_use or "")
        if scope.get("state") is None:
            scope["state"] = {}
        own = {STATE_KEY: PlanoState(decision=decision, provider=provider)}
        return OwnMapping(scope, {"state": OwnMapping(scope["state"], own)})

    def _answers(self, error: CallError) -> bool:
        if self._settings.mode == "observe":  # changes nothing, not even for the worse
            return False
        return self._settings.strict or isinstance(error, REFUSED_ALWAYS)

    def _is_observed(self) -> bool:
        return self._settings.mode == "observe" or random.random() >= self._settings.routing.sample  # noqa: S311 - a share of traffic, no secret

    def _with_life_cycle(self, send: Send) -> Send:
        """Return a `send` that starts the router before the app reports itself started, and closes it at the end."""

        async def send_after(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete" and self._settings.enabled:
                message = await self._started(message)
            elif message["type"] in {"lifespan.shutdown.complete", "lifespan.shutdown.failed"}:
                self._router.close()
            await send(message)

        return send_after

    async def _started(self, message: Message) -> Message:
        if self._settings.startup == "background":
            Thread(target=self._start_quietly, name="plano-start", daemon=True).start()
            return message
        try:
            await anyio.to_thread.run_sync(self._router.start)
        except PlanoError as error:
            return {"type": "lifespan.startup.failed", "message": str(error)}
        return message

    def _start_quietly(self) -> None:
        try:
            self._router.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, calls are still served by `on_error`
            get_logger().error(CLASSIFIER_FAILED, error=type(error).__name__, detail=str(error))


def _path_in_app(scope: Scope) -> str:
    """Return the path less `root_path`; empty where an encoded slash makes it say two things."""
    if b"%2f" in (scope.get("raw_path") or b"").lower():
        return ""
    path: str = scope["path"]
    root = scope.get("root_path", "")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def _with_headers(send: Send, decision: RoutingDecision) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *decision_headers(decision)]}
        await send(message)

    return send_with_headers
