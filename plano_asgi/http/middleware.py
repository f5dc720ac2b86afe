"""`PlanoMiddleware`: an existing app's LLM calls, rewritten in place."""

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Final

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plano_asgi.assembly import build_service
from plano_asgi.conversation import ApiFormat
from plano_asgi.decisions import RoutingDecision
from plano_asgi.errors import (
    AmbiguousBodyError,
    CallError,
    InlinePolicyError,
    LoopError,
    PlanoError,
    PolicyRefusedError,
    RoutingUnavailableError,
)
from plano_asgi.events import CALL_PASSED_ON, CALL_REFUSED, CLASSIFIER_FAILED, get_logger
from plano_asgi.hops import carrying, check_hops, hops_of
from plano_asgi.http.endpoints import LARGE_BODY_BYTES, decision_endpoints, send_answer
from plano_asgi.http.models import models_endpoint
from plano_asgi.http.paths import path_in_app
from plano_asgi.http.replay import NOTHING_TAKEN, BodyEnd, TakenBody, take_body
from plano_asgi.http.state import STATE_KEY, OwnMapping, PlanoState
from plano_asgi.intake import Headers, error_answer
from plano_asgi.intake.encodings import too_large
from plano_asgi.intake.rewriting import decision_headers, rewritten_body, rewritten_headers
from plano_asgi.intake.routing_requests import RoutingRequest, read_routing_request
from plano_asgi.router import Router
from plano_asgi.settings import Settings, load_settings
from plano_asgi.wire import recognise

REFUSED_ALWAYS: Final = (
    AmbiguousBodyError,
    InlinePolicyError,
    LoopError,
    PolicyRefusedError,
    RoutingUnavailableError,
)

Connection = tuple[Scope, Receive, Send]


class PlanoMiddleware:
    """Routes the LLM calls that pass through it and leaves everything else as it is; pure ASGI.

    Immutable after construction: what belongs to one call lives in locals. In `rewrite` mode the app reads the decided
    model in the body; in `observe` mode it reads what the client sent. Calls that cannot be read go on unchanged. In
    `forward` mode the app sees no call: they are served by the model provider that was chosen.
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
        if not self._settings.enabled:  # nothing is built: it may have been switched off since something cannot be
            return
        self._service = build_service(self._settings, router=router)
        self._router = self._service.router
        self._endpoints = decision_endpoints(self._settings, self._router)
        self._models = models_endpoint(self._settings)
        self._forwarding: Mapping[ApiFormat, ASGIApp] = {}
        if self._service.gateway:
            from plano_asgi.http.forwarding import forwarding_endpoints  # noqa: PLC0415 - brings an HTTP client along

            self._forwarding = forwarding_endpoints(self._settings, self._service.gateway)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        if scope["type"] == "lifespan" and self._settings.enabled:
            await self._live(scope, receive, send)
            return
        if scope["type"] != "http" or not self._settings.enabled:
            await self._app(scope, receive, send)
            return
        path = _path_in_app(scope)
        if endpoint := self._endpoints.get(path):
            await endpoint(scope, receive, send)
        elif self._models and self._models.serves(scope):
            await self._models(scope, receive, send)
        elif scope["method"] == "POST" and (api_format := self._format_of(path)) and not _is_rewritten(scope):
            if self._forwarding:
                await self._forwarding[api_format](scope, receive, send)
            elif passed_on := await self._take_in(api_format, scope, receive, send):
                with carrying(hops_of(scope["headers"])):
                    await self._app(*passed_on)
        else:
            await self._app(scope, receive, send)

    def _format_of(self, path: str) -> ApiFormat | None:
        is_call = path.endswith(self._settings.paths) and "//" not in path
        return recognise(path) if is_call else None

    async def _take_in(self, api_format: ApiFormat, scope: Scope, receive: Receive, send: Send) -> Connection | None:
        """Return what the app is to be given, None where the call is answered already.

        The app is not called from here: what was read of the call would live for as long as its answer is streamed.
        """
        headers, limit = Headers.from_raw(scope["headers"]), self._settings.limits.body_bytes
        taken = NOTHING_TAKEN
        if (headers.content_length or 0) <= limit:
            taken = await take_body(receive, limit=limit)
        as_it_came = (scope, taken.replayed(receive), send)
        if taken.end is BodyEnd.BROKEN_OFF:
            return as_it_came
        try:
            check_hops(hops_of(scope["headers"]))
            if taken.end is BodyEnd.TOO_LARGE:
                raise too_large(limit)
            request = await self._read(api_format, headers, taken.data)
            decision = await self._decide(request)
        except CallError as error:
            if self._answers(error):
                get_logger().info(CALL_REFUSED, api_format=api_format.value, status=error.status, code=error.code)
                await send_answer(error_answer(error, api_format=api_format, request_id=headers.request_id()), send)
                return None
            get_logger().info(CALL_PASSED_ON, api_format=api_format.value, code=error.code)
            return as_it_came
        is_observed = self._is_observed()
        state = self._own_state(scope, decision, request, is_observed=is_observed)
        if is_observed:
            return (OwnMapping(scope, {"state": state}), taken.replayed(receive), send)
        qualified = self._settings.routing.model_form == "qualified"
        body = rewritten_body(request.document, decision, self._router.catalog, qualified=qualified)
        own = {"state": state, "headers": rewritten_headers(scope["headers"], length=len(body))}
        scope = OwnMapping(scope, own)
        if self._settings.response_headers:
            send = _with_headers(send, decision)
        return (scope, TakenBody(body, BodyEnd.COMPLETE).replayed(receive), send)

    async def _read(self, api_format: ApiFormat, headers: Headers, body: bytes) -> RoutingRequest:
        read = partial(
            read_routing_request,
            api_format,
            headers,
            body,
            body_bytes=self._settings.limits.body_bytes,
            bypass_allowed=self._settings.routing.bypass_header,
            tenant_header=self._settings.sessions.tenant_header,
        )
        is_small = len(body) < LARGE_BODY_BYTES and not headers.get("content-encoding")
        return read() if is_small else await anyio.to_thread.run_sync(read)

    async def _decide(self, request: RoutingRequest) -> RoutingDecision:
        is_translated = self._settings.routing.cross_format
        return await self._router.aroute(request.call, bypass=request.bypass, is_translated=is_translated)

    def _own_state(
        self, scope: Scope, decision: RoutingDecision, request: RoutingRequest, *, is_observed: bool
    ) -> OwnMapping:
        """Return a state of this request's own, with the decision in it, and where the app's model is served."""
        catalog = self._router.catalog
        model = request.call.model if is_observed else decision.would_use
        provider = catalog.provider_of(catalog.qualified(model or ""))
        if scope.get("state") is None:
            scope["state"] = {}
        ours = PlanoState(decision=decision, provider=provider, is_observed=is_observed)
        return OwnMapping(scope["state"], {STATE_KEY: ours})

    def _answers(self, error: CallError) -> bool:
        if self._settings.mode == "observe":  # changes nothing, not even for the worse
            return False
        return self._settings.strict or isinstance(error, REFUSED_ALWAYS)

    def _is_observed(self) -> bool:
        return self._settings.mode == "observe" or random.random() >= self._settings.routing.sample  # noqa: S311 - a share of traffic, no secret

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a lifespan: the router starts before the app reports itself started, and is closed at the end.

        An app whose router does not start is shut down before the server hears of it, which would not do that; what
        stopped the router is raised too, since some hosts wait for that and not for the message.
        """
        failure: PlanoError | None = None

        async def receive_until_failure() -> Message:
            return {"type": "lifespan.shutdown"} if failure else await receive()

        async def send_after(message: Message) -> None:
            nonlocal failure
            if message["type"] == "lifespan.startup.complete":
                failure = await self._start()
            elif message["type"] in {"lifespan.shutdown.complete", "lifespan.shutdown.failed"}:
                await self._service.aclose()
            if not failure:
                await send(message)

        try:
            await self._app(scope, receive_until_failure, send_after)
        finally:
            if failure:
                await send({"type": "lifespan.startup.failed", "message": str(failure)})
                raise failure

    async def _start(self) -> PlanoError | None:
        """Start the router, and return why it cannot be started where it cannot."""
        if self._settings.startup == "background":
            Thread(target=self._start_quietly, name="plano-start", daemon=True).start()
            return None
        try:
            await anyio.to_thread.run_sync(self._router.start)
        except PlanoError as error:
            return error
        return None

    def _start_quietly(self) -> None:
        try:
            self._router.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, calls are still served by `on_error`
            get_logger().error(CLASSIFIER_FAILED, error=type(error).__name__, detail=str(error))


def _is_rewritten(scope: Scope) -> bool:
    """Return whether the middleware in front of this one has decided the call; deciding again could undo it.

    One that was forwarded and comes again is being tried again.
    """
    state = PlanoState.in_scope(scope)
    return state is not None and not state.is_observed and not state.decision.attempts


def _path_in_app(scope: Scope) -> str:
    """Return the path less `root_path`; empty where an encoded slash makes it say two things."""
    if b"%2f" in (scope.get("raw_path") or b"").lower():
        return ""
    return path_in_app(scope)


def _with_headers(send: Send, decision: RoutingDecision) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *decision_headers(decision)]}
        await send(message)

    return send_with_headers
