"""One outbound call: recognised, read, decided, and served by the gateway; or left to go where it was going."""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import anyio

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import (
    AmbiguousBodyError,
    CallError,
    ForwardingError,
    GuardrailError,
    InlinePolicyError,
    LoopError,
    PolicyRefusedError,
    RoutingUnavailableError,
    UnknownResponseError,
)
from plano_asgi.events import CALL_PASSED_ON, CALL_REFUSED, get_logger, identified
from plano_asgi.gateway import Account, BegunCall, Gateway, GatewayCall
from plano_asgi.hops import HOP_HEADER, current_hops, hops_of
from plano_asgi.intake import Headers, RequestReader, RoutingRequest, error_answer
from plano_asgi.intake.encodings import too_large
from plano_asgi.intake.rewriting import RawHeaders, keeps_model
from plano_asgi.intake.telling import as_raw, headers_told, told_instead
from plano_asgi.outbound.decided_calls import DecidedCalls, FirstTry, is_retry
from plano_asgi.outbound.served_answers import LeftAlone, ServedAnswer, ServedBody
from plano_asgi.settings import Settings
from plano_asgi.upstream import UpstreamClient
from plano_asgi.upstream.answers import OnePiece, Pieces
from plano_asgi.wire import JsonDocument, recognise, rewrite

_ANSWERED_ALWAYS: Final = (
    AmbiguousBodyError,
    ForwardingError,  # whether a call goes on from an answer of ours cannot be looked up
    GuardrailError,
    InlinePolicyError,
    LoopError,
    PolicyRefusedError,
    RoutingUnavailableError,
)
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
        headers, is_told = Headers.from_raw(request.headers), False
        with identified(headers.identity()) as identity:
            asked = _Asked(request=request, headers=headers, request_id=identity.request_id)
            try:
                told = await self._told(asked, client)
                is_told = True
            finally:
                if not is_told:
                    self.gateway.conclude(request.api_format, asked.account)
        return told

    async def _told(self, asked: "_Asked", client: UpstreamClient | None) -> ServedAnswer | LeftAlone:
        account, request, is_observed = asked.account, asked.request, True
        try:
            read = await self._read(asked)
            call = _gateway_call(request, read, asked.request_id)
            if self.settings.mode == "observe":
                await self.gateway.decide(call, account)
                return LeftAlone()
            first_try = self._decided.recall(asked.headers, asked.body)
            account.decision = first_try.decision if first_try else None
            is_observed = self._is_observed(asked.headers, first_try)
            begun, left = await self._begun(call, read.document, account, is_observed=is_observed)
        except CallError as error:
            if self._answers(error):
                if not is_observed:
                    self._decided.remember(asked.headers, asked.body, account.decision)
                return self._refused(error, asked)
            get_logger().info(CALL_PASSED_ON, api_format=request.api_format.value, code=error.code)
            left = LeftAlone()
        if left:
            self.gateway.leave(account)
            return left
        is_good = False
        try:
            served = await self._served(begun, asked, client)
            is_good = served.status in _SUCCESSES
        finally:
            if not is_good:
                self._decided.remember(asked.headers, asked.body, begun.decision)
        return served

    async def _begun(
        self, call: GatewayCall, as_it_came: JsonDocument, account: Account, *, is_observed: bool
    ) -> tuple[BegunCall, LeftAlone | None]:
        """Return a call with what was decided, and how it is left alone; None where it is not.

        Raises:
            CallError: It cannot be begun.
        """
        unknown: CallError | None = None
        try:
            begun = await self.gateway.begin(call, account)
        except UnknownResponseError as error:  # it may be known where the call was going
            self.gateway.leave(account)
            begun = await replace(self.gateway, conversations=None).begin(call, account)
            unknown = error
        if begun.goes_on:
            return begun, None
        document = begun.served.document
        if is_observed or (unknown and not self._answers(unknown)):
            return begun, LeftAlone(None if document.data == as_it_came.data else document.data)
        if keeps_model(begun.decision, document, self.gateway.router.catalog):
            return begun, LeftAlone(_without_policy(document, as_it_came))
        if unknown:
            raise unknown
        return begun, None

    async def _served(self, begun: BegunCall, asked: "_Asked", client: UpstreamClient | None) -> ServedAnswer:
        gateway, account = self.gateway, asked.account
        if client:
            gateway = replace(gateway, forwarder=gateway.forwarder.through(client))
        try:
            with anyio.fail_after(asked.request.read_s):
                answer = await gateway.answer(begun, account)
        except CallError as error:
            return self._refused(error, asked)
        account.status = answer.status
        return self._answered(answer.status, answer.headers, answer.pieces, asked)

    def _refused(self, error: CallError, asked: "_Asked") -> ServedAnswer:
        api_format = asked.request.api_format
        get_logger().info(CALL_REFUSED, api_format=api_format.value, status=error.status, code=error.code)
        answer = error_answer(error, api_format=api_format, request_id=asked.request_id)
        asked.account.status = answer.status
        return self._answered(answer.status, answer.headers, OnePiece(answer.body), asked)

    def _answered(
        self, status: int, theirs: Iterable[tuple[str, str]], pieces: Pieces, asked: "_Asked"
    ) -> ServedAnswer:
        api_format, account = asked.request.api_format, asked.account
        conclude = partial(self.gateway.conclude, api_format, account)
        body = ServedBody(pieces, account, read_s=asked.request.read_s, conclude=conclude)
        ours = headers_told(account, api_format, self.settings)
        return ServedAnswer(status=status, headers=told_instead(as_raw(theirs), ours), body=body)

    async def _read(self, asked: "_Asked") -> RoutingRequest:
        if asked.request.body is None:
            raise too_large(self.settings.limits.body_bytes)
        return await RequestReader.of(self.settings).aread(asked.request.api_format, asked.headers, asked.body)

    def _is_observed(self, headers: Headers, first_try: FirstTry | None) -> bool:
        """Return whether a call is only decided; one that is tried again has the fate that it had before."""
        if self.settings.mode != "rewrite":
            return False
        if is_retry(headers):
            return first_try is None and self.settings.routing.sample < 1
        return random.random() >= self.settings.routing.sample  # noqa: S311 - a share of traffic, no secret

    def _answers(self, error: CallError) -> bool:
        if self.settings.mode == "observe":  # changes nothing, not even for the worse
            return False
        is_served_all = self.settings.strict or self.settings.mode == "forward"
        is_read = isinstance(error, UnknownResponseError)  # what is not read is not judged, and does not pass for that
        is_unjudged = self.gateway.guard is not None and not is_read
        return is_served_all or is_unjudged or isinstance(error, _ANSWERED_ALWAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One call, as it is asked for, and what is known of it so far."""

    request: CallerRequest
    headers: Headers
    request_id: str
    account: Account = field(default_factory=Account)

    @property
    def body(self) -> bytes:
        return self.request.body or b""


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
