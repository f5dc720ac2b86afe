"""The calls among an app's requests: which they are, and what becomes of each, in whatever framework."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Self

from plano_asgi.classify.readings import Reading
from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.decisions import RoutingDecision
from plano_asgi.errors import (
    AmbiguousBodyError,
    CallError,
    InlinePolicyError,
    LoopError,
    NotAllowedError,
    PolicyRefusedError,
    QuotaError,
    RoutingUnavailableError,
)
from plano_asgi.events import CALL_PASSED_ON, CALL_REFUSED, CallIdentity, get_logger, identified
from plano_asgi.govern import Caller
from plano_asgi.guard import Guard
from plano_asgi.hops import check_hops
from plano_asgi.intake.answers import Answer, decision_answer, error_answer
from plano_asgi.intake.governing import RewriteGovernor
from plano_asgi.intake.guarding import aadmitted, aadmitted_to, admitted, admitted_to
from plano_asgi.intake.headers import Headers
from plano_asgi.intake.rewriting import RawHeaders, decision_headers, rewritten_body
from plano_asgi.intake.routing_requests import ENDPOINTS, RequestReader, RoutingRequest, check_head
from plano_asgi.providers import ModelProvider
from plano_asgi.router import Router, all_of_it
from plano_asgi.settings import Settings
from plano_asgi.wire import recognise

STATE_KEY: Final = "plano"
NOBODY: Final = Caller([])
REFUSED_ALWAYS: Final = (
    AmbiguousBodyError,
    InlinePolicyError,
    LoopError,
    NotAllowedError,
    PolicyRefusedError,
    QuotaError,
    RoutingUnavailableError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedCall:
    """What was decided about one call, and what a handler needs to serve it.

    Attributes:
        decision: Where the call goes.
        provider: Where the model that the handler reads is served, with its key as a secret; None for a model that is
            not declared.
        is_observed: Whether the handler reads what the client sent, its own model above all, whatever was decided.
    """

    decision: RoutingDecision
    provider: ModelProvider | None
    is_observed: bool = False

    @classmethod
    def in_scope(cls, scope: Any) -> Self | None:  # noqa: ANN401 - an ASGI scope, or what stands in its place
        """Return what was decided about a request by its ASGI scope, or None where it was not routed."""
        found = ((scope or {}).get("state") or {}).get(STATE_KEY)
        return found if isinstance(found, cls) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedCall:
    """A call that goes on to the app.

    Attributes:
        routed: What was decided.
        body: What the app reads in place of what the client sent; None where it reads that.
        told: Headers of the app's answer.
    """

    routed: RoutedCall
    body: bytes | None
    told: RawHeaders


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundCalls:
    """Tells calls from other requests, decides them, and says what the app is given; does no IO of its own.

    Attributes:
        settings: What is a call, what is answered, and what is told of decisions.
        router: What decides.
        body_bytes: Most bytes of a body, as sent and decoded.
        governor: What callers are held to; None where that is nothing.
        guard: What may pass; None where everything may.
    """

    settings: Settings
    router: Router
    body_bytes: int
    governor: RewriteGovernor | None = None
    guard: Guard | None = None
    _reader: RequestReader = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make what reads the calls."""
        object.__setattr__(self, "_reader", RequestReader.of(self.settings, body_bytes=self.body_bytes))

    def format_of(self, path: str) -> ApiFormat | None:
        """Return the API of a POST to that path of the app, or None where it is no call."""
        is_call = path.endswith(self.settings.paths) and "//" not in path
        return recognise(path) if is_call else None

    def is_decision_path(self, path: str) -> bool:
        """Return whether a path leads to a decision endpoint, under whatever prefix the app serves them."""
        return self.settings.endpoints and path.endswith(tuple(ENDPOINTS))

    def take_in(self, api_format: ApiFormat, headers: Headers, body: bytes | None) -> PassedCall | Answer | None:
        """Return what the app is given, an answer in its place, or None for a call that goes on as it came.

        Args:
            api_format: The API of the path.
            headers: The request's.
            body: The request's; None where it is larger than `body_bytes`.
        """
        with identified(headers.identity()) as identity:
            try:
                check_hops(headers.hops)
                read = self._reader.read(api_format, headers, body)
                request = admitted(read, self.guard, request_id=identity.request_id)
                decision = self.router.route(request.call, bypass=request.bypass, is_translated=self._is_translated)
                request = admitted_to(decision.route, request, self.guard, request_id=identity.request_id)
            except CallError as error:
                return self._refused(error, api_format, identity.request_id)
        is_changed = request.document is not read.document
        return self._passed(request, decision, is_observed=self._is_observed(), is_changed=is_changed)

    async def atake_in(
        self, api_format: ApiFormat, headers: Headers, body: bytes | None, *, caller: Caller = NOBODY
    ) -> PassedCall | Answer | None:
        """Return what `take_in` does, without blocking the event loop; what callers are held to is held to here only.

        Args:
            api_format: The API of the path.
            headers: The request's.
            body: The request's; None where it is larger than `body_bytes`.
            caller: Who makes the call.
        """
        is_observed, told = self._is_observed(), list[tuple[bytes, bytes]]()
        route = partial(self.router.aroute, is_translated=self._is_translated)
        with identified(headers.identity()) as identity:
            try:
                check_hops(headers.hops)
                read, governor = await self._reader.aread(api_format, headers, body), self.governor
                fit = governor.fit_for(caller, read.call, keeps_model=is_observed) if governor else all_of_it
                request = await aadmitted(read, self.guard, request_id=identity.request_id)
                decision = await route(request.call, bypass=request.bypass, fit=fit)
                request = await aadmitted_to(decision.route, request, self.guard, request_id=identity.request_id)
                if governor:
                    model = request.call.model if is_observed else decision.would_use
                    told = await governor.count(caller, request, model, decision.route)
            except CallError as error:
                return self._refused(error, api_format, identity.request_id)
        is_changed = request.document is not read.document
        return self._passed(request, decision, is_observed=is_observed, is_changed=is_changed, told=told)

    def decided(self, api_format: ApiFormat, method: str, headers: Headers, body: bytes | None) -> Answer:
        """Return what a decision endpoint answers: the decision on a call, or an error in the caller's API format.

        Takes the same as `take_in`.
        """
        with identified(headers.identity()) as identity:
            try:
                check_head(method, headers, body_bytes=self.body_bytes)
                request = self._reader.read(api_format, headers, body)
                request = admitted(request, self.guard, request_id=identity.request_id)
                decision = self.router.route(request.call, bypass=request.bypass)
                readings = self.router.readings(request.call) if headers.asks_for_readings else None
            except CallError as error:
                get_logger().info(CALL_REFUSED, api_format=api_format.value, status=error.status, code=error.code)
                return error_answer(error, api_format=api_format, request_id=identity.request_id)
        return _decision_answer(self.router, decision, api_format, identity, readings)

    def _refused(self, error: CallError, api_format: ApiFormat, request_id: str) -> Answer | None:
        """Return the answer to a call that cannot be routed, or None where that is the app's to answer; logs either."""
        if self._answers(error):
            get_logger().info(CALL_REFUSED, api_format=api_format.value, status=error.status, code=error.code)
            return error_answer(error, api_format=api_format, request_id=request_id)
        get_logger().info(CALL_PASSED_ON, api_format=api_format.value, code=error.code)
        return None

    @property
    def _is_translated(self) -> bool:
        return self.settings.routing.cross_format

    def _passed(
        self,
        request: RoutingRequest,
        decision: RoutingDecision,
        *,
        is_observed: bool,
        is_changed: bool,
        told: Iterable[tuple[bytes, bytes]] = (),
    ) -> PassedCall:
        catalog = self.router.catalog
        model = request.call.model if is_observed else decision.would_use
        provider = catalog.provider_of(catalog.qualified(model or ""))
        routed = RoutedCall(decision=decision, provider=provider, is_observed=is_observed)
        if is_observed:
            return PassedCall(routed=routed, body=request.document.data if is_changed else None, told=[])
        qualified = self.settings.routing.model_form == "qualified"
        body = rewritten_body(request.document, decision, catalog, qualified=qualified)
        headers = [*decision_headers(decision), *told] if self.settings.response_headers else []
        return PassedCall(routed=routed, body=body, told=headers)

    def _answers(self, error: CallError) -> bool:
        if self.settings.mode == "observe":  # changes nothing, not even for the worse
            return False
        is_unjudged = self.guard is not None  # what cannot be read cannot be judged, and does not pass for that
        return self.settings.strict or is_unjudged or isinstance(error, REFUSED_ALWAYS)

    def _is_observed(self) -> bool:
        return self.settings.mode == "observe" or random.random() >= self.settings.routing.sample  # noqa: S311 - a share of traffic, no secret


def decision_on_text(router: Router, text: str) -> bytes:
    """Return the decision on one message, as the decision endpoints give it: JSON."""
    with identified(Headers({}).identity()) as identity:
        decision = router.route(LLMCall.from_text(text))
    return _decision_answer(router, decision, ApiFormat.CHAT_COMPLETIONS, identity).body


def _decision_answer(
    router: Router,
    decision: RoutingDecision,
    api_format: ApiFormat,
    identity: CallIdentity,
    readings: Sequence[Reading] | None = None,
) -> Answer:
    return decision_answer(
        decision,
        api_format=api_format,
        classifier=router.classifier.kind,
        trace_id=identity.trace_id,
        request_id=identity.request_id,
        readings=readings,
    )
