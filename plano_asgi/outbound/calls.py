"""One outbound call: recognised, read, decided, and served by the gateway; or left to go where it was going."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import anyio

from plano_asgi.conversation import ApiFormat
from plano_asgi.decisions import Reason, RoutingDecision
from plano_asgi.errors import (
    AmbiguousBodyError,
    CallError,
    GuardrailError,
    InlinePolicyError,
    PolicyRefusedError,
    RoutingUnavailableError,
)
from plano_asgi.events import CALL_PASSED_ON, CALL_REFUSED, get_logger
from plano_asgi.gateway import Account, Gateway, GatewayCall
from plano_asgi.hops import HOP_HEADER, current_hops, hops_of
from plano_asgi.intake import Headers, RequestReader, RoutingRequest, error_answer
from plano_asgi.intake.encodings import too_large
from plano_asgi.intake.rewriting import RawHeaders, decision_headers, losses_headers
from plano_asgi.outbound.decided_calls import DecidedCalls, is_retry
from plano_asgi.settings import Settings
from plano_asgi.upstream import UpstreamClient
from plano_asgi.upstream.answers import OnePiece, Pieces
from plano_asgi.wire import JsonDocument, recognise, rewrite

_ANSWERED_ALWAYS: Final = (
    AmbiguousBodyError,
    GuardrailError,
    InlinePolicyError,
    PolicyRefusedError,
    RoutingUnavailableError,
)
_KEEPS_MODEL: Final = frozenset({Reason.BYPASSED, Reason.NOT_APPLICABLE})
_AZURE: Final = (
    (re.compile(r"/openai/deployments/[^/]+/chat/completions$"), ApiFormat.CHAT_COMPLETIONS),
    (re.compile(r"/openai/responses$"), ApiFormat.RESPONSES),
)
_SUCCESSES: Final = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerRequest:
    """What an SDK is about to send; neither its headers nor its body are in its `repr`.

    Attributes:
        api_format: The API that its path names.
        headers: Its headers.
        body: Its body; None where that is larger than the limit, and was not read.
        read_s: Most seconds that the caller waits for a byte; None for as long as it takes.
    """

    api_format: ApiFormat
    headers: RawHeaders = field(repr=False)
    body: bytes | None = field(repr=False)
    read_s: float | None = None


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A call that goes where it was going; its body is another where it held an inline policy that is cut."""

    body: bytes | None = field(default=None, repr=False)


class ServedBody:
    """The body of an answer, for one reader at a time; the call is accounted for when it is over."""

    def __init__(self, pieces: Pieces, account: Account, *, read_s: float | None, conclude: Callable[[], None]) -> None:
        """Take over the pieces, which are closed with this."""
        self._pieces: Final = pieces
        self._account: Final = account
        self._read_s: Final = read_s
        self._conclude: Final = conclude
        self._is_closed = False

    async def next(self) -> bytes:
        """Return the next piece, empty at the end.

        Raises:
            TimeoutError: It did not come while the caller was ready to wait.
        """
        with anyio.fail_after(self._read_s):
            piece = await self._pieces.next()
        if not piece:
            self._account.is_complete = True
            await self.aclose()
        return piece

    async def aclose(self) -> None:
        """Let go of the provider, which stops its work where it still answers."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._pieces.aclose()
        finally:
            self._conclude()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedAnswer:
    """An answer that has begun; whoever asked for it closes its body."""

    status: int
    headers: RawHeaders
    body: ServedBody


@dataclass(slots=True)
class OutboundCalls:
    """Decides the calls that leave through one transport.

    Memory is bounded by what `DecidedCalls` keeps.
    """

    settings: Settings
    gateway: Gateway
    _decided: DecidedCalls = field(default_factory=DecidedCalls)

    def format_of(self, method: str, path: str, raw_headers: RawHeaders) -> ApiFormat | None:
        """Return the API of a request that is an LLM call: a POST of JSON, with a length, to the path of one."""
        headers = Headers.from_raw(raw_headers)
        is_call = method == "POST" and "//" not in path and headers.has_json_content
        if not is_call or headers.content_length is None:
            return None
        if path.endswith(self.settings.paths) and (api_format := recognise(path)):
            return api_format
        return next((api_format for ending, api_format in _AZURE if ending.search(path)), None)

    async def answer(self, request: CallerRequest, client: UpstreamClient | None) -> ServedAnswer | LeftAlone:
        """Return the answer to a call, which may be an error; or that it is left alone.

        Args:
            request: The call.
            client: What asks model providers; None for the gateway's own clients.

        Raises:
            TimeoutError: The caller is not ready to wait longer.
        """
        headers = Headers.from_raw(request.headers)
        account, request_id = Account(), headers.request_id()
        try:
            if request.body is None:
                raise too_large(self.settings.limits.body_bytes)
            reader = RequestReader.of(self.settings)
            read = await reader.aread(request.api_format, headers, request.body)
            account.decision = self._decided.recall(headers, request.body)
            is_observed = self._is_observed(headers, account.decision)
            call = _gateway_call(request, read, request_id)
            decision = await self.gateway.decide(call, account)
        except CallError as error:
            if self._answers(error):
                return self._refused(error, request, request_id, account)
            get_logger().info(CALL_PASSED_ON, api_format=request.api_format.value, code=error.code)
            return LeftAlone()
        document = account.guarded.document if account.guarded else read.document
        if is_observed:
            return LeftAlone(None if document is read.document else document.data)
        if self._keeps_model(decision):
            return LeftAlone(_without_policy(document, read.document))
        is_good = False
        try:
            served = await self._serve(call, request, client, account)
            is_good = served.status in _SUCCESSES
        finally:
            if not is_good:
                self._decided.remember(headers, request.body, decision)
        return served

    async def _serve(
        self, call: GatewayCall, request: CallerRequest, client: UpstreamClient | None, account: Account
    ) -> ServedAnswer:
        gateway, is_answered = self.gateway, False
        if client:
            gateway = replace(gateway, forwarder=gateway.forwarder.through(client))
        try:
            with anyio.fail_after(request.read_s):
                answer = await gateway.serve(call, account)
            is_answered = True
        except CallError as error:
            is_answered = True
            return self._refused(error, request, call.request_id, account)
        finally:
            if not is_answered:
                gateway.conclude(request.api_format, account)
        account.status = answer.status
        told = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in answer.headers]
        return self._answered(answer.status, told, answer.pieces, request, account)

    def _refused(self, error: CallError, request: CallerRequest, request_id: str, account: Account) -> ServedAnswer:
        get_logger().info(CALL_REFUSED, api_format=request.api_format.value, status=error.status, code=error.code)
        answer = error_answer(error, api_format=request.api_format, request_id=request_id)
        account.status = answer.status
        told = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        return self._answered(answer.status, told, OnePiece(answer.body), request, account)

    def _answered(
        self, status: int, told: RawHeaders, pieces: Pieces, request: CallerRequest, account: Account
    ) -> ServedAnswer:
        decision = account.served
        if decision and self.settings.response_headers:
            told = [*told, *decision_headers(decision)]
        conclude = partial(self.gateway.conclude, request.api_format, account)
        body = ServedBody(pieces, account, read_s=request.read_s, conclude=conclude)
        return ServedAnswer(status=status, headers=[*told, *losses_headers(account.losses)], body=body)

    def _is_observed(self, headers: Headers, recalled: RoutingDecision | None) -> bool:
        """Return whether a call is only decided; one that is tried again has the fate that it had before."""
        if self.settings.mode != "rewrite":
            return self.settings.mode == "observe"
        if is_retry(headers):
            return recalled is None and self.settings.routing.sample < 1
        return random.random() >= self.settings.routing.sample  # noqa: S311 - a share of traffic, no secret

    def _keeps_model(self, decision: RoutingDecision) -> bool:
        """Return whether a decision leaves the model to the client, or names one that nobody declares."""
        is_declared = self.gateway.router.catalog.provider_of(decision.would_use or "") is not None
        return decision.reason in _KEEPS_MODEL or not is_declared

    def _answers(self, error: CallError) -> bool:
        if self.settings.mode == "observe":  # changes nothing, not even for the worse
            return False
        is_served_all = self.settings.strict or self.settings.mode == "forward"
        return is_served_all or isinstance(error, _ANSWERED_ALWAYS)


def _gateway_call(request: CallerRequest, read: RoutingRequest, request_id: str) -> GatewayCall:
    hops = max(hops_of(request.headers), current_hops())
    hop = [(HOP_HEADER.encode(), str(hops).encode())] if hops else []
    return GatewayCall(
        call=read.call,
        document=read.document,
        client_headers=[*request.headers, *hop],
        request_id=request_id,
        bypass=read.bypass,
    )


def _without_policy(document: JsonDocument, as_it_came: JsonDocument) -> bytes | None:
    """Return the body without its inline policy, None where that is what came."""
    body = rewrite(document, model=None)
    return None if body == as_it_came.data else body
