"""`mode: forward` as an ASGI app: a call is served by the gateway, and its answer passed on."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio
from anyio.lowlevel import checkpoint
from starlette.types import Receive, Scope, Send

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError
from plano_asgi.events import CALL_REFUSED, get_logger, identified
from plano_asgi.gateway import Account, Gateway, GatewayCall
from plano_asgi.http.bodies import ClientDisconnectedError, read_body
from plano_asgi.http.governing import client_address
from plano_asgi.http.state import PlanoState
from plano_asgi.intake import Headers, RequestReader, RoutingRequest, check_head, error_answer
from plano_asgi.intake.inbound_calls import STATE_KEY
from plano_asgi.intake.telling import as_raw, headers_told, told_instead
from plano_asgi.settings import Settings
from plano_asgi.upstream import ForwardedAnswer

GRACE_S: Final = 5.0  # beyond the deadline of a whole call, for a caller that reads slowly


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardingEndpoint:
    """Serves the calls of one API format.

    Attributes:
        gateway: What serves them.
        api_format: The format of bodies, answers and errors.
        settings: How bodies are read, and what callers are told.
    """

    gateway: Gateway
    api_format: ApiFormat
    settings: Settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; a caller who goes away takes the provider's work with it."""
        headers = Headers.from_raw(scope["headers"])
        with identified(headers.identity()) as identity:
            await self._handle(scope, headers, identity.request_id, receive, send)

    async def _handle(self, scope: Scope, headers: Headers, request_id: str, receive: Receive, send: Send) -> None:
        account = Account()
        try:
            request = await self._read(scope["method"], headers, receive)
        except CallError as error:
            await self._refuse(error, request_id, account, send)
            return
        except ClientDisconnectedError:
            return
        calls = [
            GatewayCall(
                call=request.call,
                document=request.document,
                client_headers=scope["headers"],
                request_id=request_id,
                bypass=request.bypass,
                client_address=client_address(scope),
            )
        ]
        del request
        try:
            await unless_gone(receive, partial(self._serve, calls, request_id, account, send))
        finally:
            self._conclude(scope, account)

    async def _read(self, method: str, headers: Headers, receive: Receive) -> RoutingRequest:
        limits = self.settings.limits
        check_head(method, headers, body_bytes=limits.body_bytes)
        body = await read_body(receive, limit=limits.body_bytes, timeout_s=limits.body_timeout_s)
        return await RequestReader.of(self.settings).aread(self.api_format, headers, body)

    async def _serve(self, calls: list[GatewayCall], request_id: str, account: Account, send: Send) -> None:
        """Answer a call; it is taken out of its list, so that nobody holds it while the answer passes."""
        try:
            answer = await self.gateway.answer(await self.gateway.begin(calls.pop(), account), account)
        except CallError as error:
            await self._refuse(error, request_id, account, send)
            return
        account.status = answer.status
        try:
            with anyio.move_on_after(self.settings.forward.total_s + GRACE_S):
                await self._pass_on(answer, account, send)
        finally:
            await answer.pieces.aclose()

    async def _pass_on(self, answer: ForwardedAnswer, account: Account, send: Send) -> None:
        headers = told_instead(as_raw(answer.headers), headers_told(account, self.api_format, self.settings))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        while piece := await answer.pieces.next():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        account.is_complete = True

    async def _refuse(self, error: CallError, request_id: str, account: Account, send: Send) -> None:
        get_logger().info(CALL_REFUSED, api_format=self.api_format.value, status=error.status, code=error.code)
        answer = error_answer(error, api_format=self.api_format, request_id=request_id)
        headers = told_instead(as_raw(answer.headers), headers_told(account, self.api_format, self.settings))
        account.status = answer.status
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})
        account.is_complete = True

    def _conclude(self, scope: Scope, account: Account) -> None:
        """Tell the log how a decided call has ended, and the apps in front who has served it."""
        self.gateway.conclude(self.api_format, account)
        decision = account.served
        if decision is None:
            return
        provider = self.gateway.router.catalog.provider_of(decision.served_by or "")
        if scope.get("state") is None:
            scope["state"] = {}
        scope["state"][STATE_KEY] = PlanoState(decision=decision, provider=provider)


def forwarding_endpoints(settings: Settings, gateway: Gateway) -> Mapping[ApiFormat, ForwardingEndpoint]:
    """Return what serves the calls of each API."""
    return {
        api_format: ForwardingEndpoint(gateway=gateway, api_format=api_format, settings=settings)
        for api_format in ApiFormat
    }


async def unless_gone(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
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
