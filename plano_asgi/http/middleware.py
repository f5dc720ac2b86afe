"""`PlanoMiddleware`: an existing app's LLM calls, rewritten in place."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plano_asgi.assembly import build_service
from plano_asgi.assembly.starting import start_beside
from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import PlanoError
from plano_asgi.govern import Caller
from plano_asgi.hops import carrying
from plano_asgi.http.endpoints import decision_endpoints, send_answer
from plano_asgi.http.governing import client_address
from plano_asgi.http.models import ModelsEndpoint, models_endpoint
from plano_asgi.http.paths import path_in_app
from plano_asgi.http.replay import NOTHING_TAKEN, BodyEnd, TakenBody, take_body
from plano_asgi.http.showing import operator_endpoints
from plano_asgi.http.state import OwnMapping, PlanoState
from plano_asgi.intake import Answer, Headers, InboundCalls, RoutedCall
from plano_asgi.intake.inbound_calls import STATE_KEY
from plano_asgi.intake.rewriting import RawHeaders, rewritten_headers
from plano_asgi.router import Router
from plano_asgi.settings import Settings, load_settings

if TYPE_CHECKING:
    from plano_asgi.http.stored_responses import StoredResponsesEndpoint

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
        self._calls = InboundCalls(
            settings=self._settings,
            router=self._router,
            body_bytes=self._settings.limits.body_bytes,
            governor=self._service.rewrite_governor,
            guard=self._service.guard,
        )
        self._endpoints: Mapping[str, ASGIApp] = {
            **decision_endpoints(self._settings, self._router, self._service.guard),
            **operator_endpoints(self._service),
        }
        self._resources: list[ModelsEndpoint | StoredResponsesEndpoint] = []
        if models := models_endpoint(self._settings):
            self._resources.append(models)
        self._forwarding: Mapping[ApiFormat, ASGIApp] = {}
        if self._service.gateway:
            from plano_asgi.http.forwarding import forwarding_endpoints  # noqa: PLC0415 - brings an HTTP client along
            from plano_asgi.http.stored_responses import stored_responses_endpoint  # noqa: PLC0415 - same

            self._forwarding = forwarding_endpoints(self._settings, self._service.gateway)
            if stored := stored_responses_endpoint(self._settings, self._service.gateway):
                self._resources.append(stored)

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
        elif resource := next((one for one in self._resources if one.serves(scope)), None):
            await resource(scope, receive, send)
        elif scope["method"] == "POST" and (api_format := self._calls.format_of(path)) and not _is_rewritten(scope):
            if self._forwarding:
                await self._forwarding[api_format](scope, receive, send)
            elif passed_on := await self._take_in(api_format, scope, receive, send):
                with carrying(Headers.from_raw(scope["headers"]).hops):
                    await self._app(*passed_on)
        else:
            await self._app(scope, receive, send)

    async def _take_in(self, api_format: ApiFormat, scope: Scope, receive: Receive, send: Send) -> Connection | None:
        """Return what the app is to be given, None where the call is answered already.

        The app is not called from here: what was read of the call would live for as long as its answer is streamed.
        """
        headers, limit = Headers.from_raw(scope["headers"]), self._calls.body_bytes
        taken = NOTHING_TAKEN
        if (headers.content_length or 0) <= limit:
            taken = await take_body(receive, limit=limit)
        as_it_came = (scope, taken.replayed(receive), send)
        if taken.end is BodyEnd.BROKEN_OFF:
            return as_it_came
        body = None if taken.end is BodyEnd.TOO_LARGE else taken.data
        caller = Caller(scope["headers"], client_address(scope))
        outcome = await self._calls.atake_in(api_format, headers, body, caller=caller)
        if outcome is None:
            return as_it_came
        if isinstance(outcome, Answer):
            await send_answer(outcome, send)
            return None
        state = _own_state(scope, outcome.routed)
        if outcome.body is None:
            return (OwnMapping(scope, {"state": state}), taken.replayed(receive), send)
        own = {"state": state, "headers": rewritten_headers(scope["headers"], length=len(outcome.body))}
        told = _with_headers(send, outcome.told) if outcome.told else send
        return (OwnMapping(scope, own), TakenBody(outcome.body, BodyEnd.COMPLETE).replayed(receive), told)

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
            start_beside(self._router)
            return None
        try:
            await anyio.to_thread.run_sync(self._router.start)
        except PlanoError as error:
            return error
        return None


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


def _own_state(scope: Scope, routed: RoutedCall) -> OwnMapping:
    """Return a state of this request's own, with what was decided in it."""
    if scope.get("state") is None:
        scope["state"] = {}
    ours = PlanoState(decision=routed.decision, provider=routed.provider, is_observed=routed.is_observed)
    return OwnMapping(scope["state"], {STATE_KEY: ours})


def _with_headers(send: Send, told: RawHeaders) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *told]}
        await send(message)

    return send_with_headers
