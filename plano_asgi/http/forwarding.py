"""`mode: forward` as an ASGI app: a call is decided, served by the chosen provider, and its answer passed on."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Final

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint
from starlette.types import Receive, Scope, Send

from plano_asgi.conversation import ApiFormat
from plano_asgi.decisions import Attempt, Reason, RoutingDecision
from plano_asgi.errors import CallError, ForwardingError, WireFormatError
from plano_asgi.events import CALL_FORWARDED, CALL_REFUSED, get_logger
from plano_asgi.http.bodies import ClientDisconnectedError, read_body
from plano_asgi.http.endpoints import LARGE_BODY_BYTES
from plano_asgi.http.state import STATE_KEY, PlanoState
from plano_asgi.intake import Headers, RoutingRequest, check_head, error_answer, read_routing_request
from plano_asgi.intake.rewriting import RawHeaders, attempts_told, decision_headers
from plano_asgi.policy import Needs, capabilities_of, fit_capabilities, needs_of, pool_of
from plano_asgi.router import Router
from plano_asgi.settings import Settings
from plano_asgi.upstream import Candidate, ForwardedAnswer, Forwarder, OutboundCall
from plano_asgi.wire.usage import Usage

LOSSES_HEADER: Final = b"x-plano-losses"
GRACE_S: Final = 5.0  # beyond the deadline of a whole call, for a caller that reads slowly


@dataclass(slots=True, kw_only=True)
class _Account:
    """What is known of one call so far; told to the log once, however it ends."""

    decision: RoutingDecision | None = None
    trail: list[Attempt] = field(default_factory=list)
    answer: ForwardedAnswer | None = None
    status: int | None = None
    is_complete: bool = False
    started: float = field(default_factory=perf_counter)

    @property
    def served(self) -> RoutingDecision | None:
        """The decision, with who has answered and every attempt."""
        if self.decision is None:
            return None
        served_by = self.answer.model if self.answer else None
        return replace(self.decision, served_by=served_by, attempts=tuple(self.trail))

    @property
    def end(self) -> str:
        """How the call has ended, in a word."""
        if self.answer and self.answer.pieces.failure:
            return self.answer.pieces.failure.value
        return "complete" if self.is_complete else "abandoned"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardingEndpoint:
    """Serves the calls of one API format.

    Attributes:
        router: What decides.
        forwarder: What asks providers.
        api_format: The format of bodies, answers and errors.
        settings: How bodies are read, who may serve a call, and what callers are told.
    """

    router: Router
    forwarder: Forwarder
    api_format: ApiFormat
    settings: Settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; a caller who goes away takes the provider's work with it."""
        headers = Headers.from_raw(scope["headers"])
        request_id, account = headers.request_id(), _Account()
        try:
            requests = [await self._read(scope["method"], headers, receive)]
        except CallError as error:
            await self._refuse(error, request_id, account, send)
            return
        except ClientDisconnectedError:
            return
        try:
            await _unless_gone(receive, partial(self._serve, requests, scope["headers"], request_id, account, send))
        finally:
            self._conclude(scope, account)

    async def _read(self, method: str, headers: Headers, receive: Receive) -> RoutingRequest:
        limits = self.settings.limits
        check_head(method, headers, body_bytes=limits.body_bytes)
        body = await read_body(receive, limit=limits.body_bytes, timeout_s=limits.body_timeout_s)
        read = partial(
            read_routing_request,
            self.api_format,
            headers,
            body,
            body_bytes=limits.body_bytes,
            bypass_allowed=self.settings.routing.bypass_header,
        )
        is_small = len(body) < LARGE_BODY_BYTES and not headers.get("content-encoding")
        return read() if is_small else await anyio.to_thread.run_sync(read)

    async def _serve(
        self, requests: list[RoutingRequest], client_headers: RawHeaders, request_id: str, account: _Account, send: Send
    ) -> None:
        """Answer a request; it is taken out of its list, so that nobody holds it while the answer passes."""
        try:
            answer = account.answer = await self._answered(requests.pop(), client_headers, request_id, account)
        except CallError as error:
            await self._refuse(error, request_id, account, send)
            return
        account.status = answer.status
        try:
            with anyio.move_on_after(self.settings.forward.total_s + GRACE_S):
                await self._pass_on(answer, account, send)
        finally:
            await answer.pieces.aclose()

    async def _answered(
        self, request: RoutingRequest, client_headers: RawHeaders, request_id: str, account: _Account
    ) -> ForwardedAnswer:
        """Return the answer of the first model that has one.

        Raises:
            CallError: There is none, or the call cannot be decided.
        """
        needs = needs_of(request.call, request.document.value)
        decision = await self.router.aroute(request.call, bypass=request.bypass)
        account.decision = decision = fit_capabilities(decision, needs, catalog=self.router.catalog)
        pool = pool_of(
            decision,
            needs,
            catalog=self.router.catalog,
            to_default=self.settings.failover.to_default,
        )
        if not pool:
            raise _nobody_for(decision, needs)
        call = OutboundCall(
            api_format=self.api_format,
            body=request.document.data,
            is_stream=request.call.is_stream,
            client_headers=client_headers,
            request_id=request_id,
            is_strict=self.settings.translation.strict,
        )
        candidates = [Candidate(provider=provider, window=capabilities_of(provider).window) for provider in pool]
        return await self.forwarder.forward(call, candidates, trail=account.trail)

    async def _pass_on(self, answer: ForwardedAnswer, account: _Account, send: Send) -> None:
        told = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in answer.headers]
        headers = [*told, *self._told_of(account)]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        while piece := await answer.pieces.next():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        account.is_complete = True

    async def _refuse(self, error: CallError, request_id: str, account: _Account, send: Send) -> None:
        get_logger().info(CALL_REFUSED, api_format=self.api_format.value, status=error.status, code=error.code)
        answer = error_answer(error, api_format=self.api_format, request_id=request_id)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        account.status = answer.status
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": [*headers, *self._told_of(account)]}
        )
        await send({"type": "http.response.body", "body": answer.body})
        account.is_complete = True

    def _told_of(self, account: _Account) -> RawHeaders:
        decision = account.served
        told = decision_headers(decision) if decision and self.settings.response_headers else []
        lost = [loss.partition(":")[0] for loss in account.answer.losses] if account.answer else []
        return [*told, (LOSSES_HEADER, ", ".join(lost).encode("latin-1", "replace"))] if lost else told

    def _conclude(self, scope: Scope, account: _Account) -> None:
        """Tell the log how a decided call has ended, and the apps in front who has served it."""
        decision = account.served
        if decision is None:
            return
        provider = self.router.catalog.provider_of(decision.served_by or "")
        if scope.get("state") is None:
            scope["state"] = {}
        scope["state"][STATE_KEY] = PlanoState(decision=decision, provider=provider)
        usage = account.answer.pieces.usage if account.answer else Usage()
        get_logger().info(
            CALL_FORWARDED,
            api_format=self.api_format.value,
            route=decision.route,
            model=decision.served_by,
            attempts=attempts_told(decision.attempts),
            status=account.status,
            end=account.end,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            losses=list(account.answer.losses) if account.answer else [],
            duration_ms=round((perf_counter() - account.started) * 1000, 1),
        )


def forwarding_endpoints(
    settings: Settings, router: Router, forwarder: Forwarder
) -> Mapping[ApiFormat, ForwardingEndpoint]:
    """Return what serves the calls of each API."""
    return {
        api_format: ForwardingEndpoint(router=router, forwarder=forwarder, api_format=api_format, settings=settings)
        for api_format in ApiFormat
    }


def _nobody_for(decision: RoutingDecision, needs: Needs) -> CallError:
    if decision.would_use is None and decision.reason is Reason.CAPABILITY:
        wanted = ", ".join(
            word
            for word, is_needed in (("images", needs.vision), ("tools", needs.tools), ("audio", needs.audio))
            if is_needed
        )
        what = f"no model of this service takes a call with {wanted or 'so long a conversation'}"
        return ForwardingError(
            f"{what}; leave that out, or shorten the conversation", status=422, code="no_capable_model"
        )
    if decision.would_use is None:
        return WireFormatError("model: Field required", code="missing_required_parameter", param="model")
    return WireFormatError(
        "this service has no such model; name one that it declares",
        code="model_not_found",
        param="model",
        status=404,
    )


async def _unless_gone(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work, and give it up as soon as the caller has gone away."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - raised again below, where no group of tasks wraps it
            failure = error
        tasks.cancel_scope.cancel()
    if failure:
        raise failure


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        await checkpoint()
    scope.cancel()
