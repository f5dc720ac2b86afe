"""`Gateway`: a call is decided, given to those who can serve it, and accounted for."""

from dataclasses import dataclass, field, replace

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.decisions import Reason, RoutingDecision, attempts_told
from plano_asgi.errors import CallError, ForwardingError, WireFormatError
from plano_asgi.events import CALL_FORWARDED, CallIdentity, current_identity, get_logger, identified
from plano_asgi.gateway.account import Account
from plano_asgi.gateway.conversations import ContinuedCall, Conversations
from plano_asgi.gateway.governing import answer_within_limits
from plano_asgi.gateway.recording import recorded
from plano_asgi.govern import ALL, Caller, Governor, allowed_of, fit_allow_list
from plano_asgi.hops import check_hops, hops_of
from plano_asgi.observe import CallObserver, ObservedCall
from plano_asgi.policy import Needs, capabilities_of, fit_capabilities, needs_of, pool_of
from plano_asgi.prices import PriceList
from plano_asgi.providers import ModelProvider
from plano_asgi.router import Router
from plano_asgi.upstream import Admit, Candidate, ForwardedAnswer, Forwarder, OutboundCall
from plano_asgi.wire import JsonDocument

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCall:
    """A call to serve; neither its body nor its headers are in its `repr`.

    Attributes:
        call: What the caller asks for.
        document: The body it was read from.
        client_headers: What the caller sent with it.
        request_id: What the call is known by.
        bypass: Whether the caller asked not to be routed.
        client_address: Where the call came from; empty where nobody knows.
    """

    call: LLMCall
    document: JsonDocument = field(repr=False)
    client_headers: RawHeaders = field(repr=False)
    request_id: str
    bypass: bool = False
    client_address: str = field(default="", repr=False)

    @property
    def caller(self) -> Caller:
        """The one who makes the call."""
        return Caller(self.client_headers, self.client_address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Serves calls from the chosen providers; knows nothing of how they came in.

    Attributes:
        router: What decides.
        forwarder: What asks providers.
        to_default: Whether the default model is the last resort of every route.
        is_strict: Whether a model is passed over that cannot be told all of a call.
        governor: What callers may use, and how much of it; None where that is all.
        prices: What models cost; None where that is nobody's business.
        conversations: What Responses calls go on from; None where nothing is kept.
        observer: Who watches.
    """

    router: Router
    forwarder: Forwarder
    to_default: bool = False
    is_strict: bool = False
    governor: Governor | None = None
    prices: PriceList | None = None
    conversations: Conversations | None = None
    observer: CallObserver = field(default_factory=CallObserver)

    async def decide(self, served: GatewayCall, account: Account) -> RoutingDecision:
        """Return where a call goes, and note it in its account; what is decided there already stands.

        Raises:
            CallError: The call cannot be decided.
        """
        if account.decision is None:
            account.decision = await self.router.aroute(served.call, bypass=served.bypass)
        return account.decision

    async def serve(self, served: GatewayCall, account: Account) -> ForwardedAnswer:
        """Return the answer of the first model that has one, begun; its pieces are the caller's to close.

        Args:
            served: The call.
            account: Is kept up to date, also where nothing is returned.

        Raises:
            CallError: There is no answer, or the call cannot be decided.
        """
        check_hops(hops_of(served.client_headers))
        account.observed = observed = self.observer.begin(served.call, _identity_of(served))
        continued = await self._continued(served)
        owner = continued.owner if continued else None
        if continued:
            served = replace(served, call=continued.call, document=continued.document)
        if owner:
            served, account.decision = replace(served, bypass=True), None
        call, document = served.call, served.document
        account.trail = observed.trail(self.forwarder.breaker_of)
        pool = await self._pool(served, account, observed, owner)
        outbound = OutboundCall(
            api_format=call.api_format,
            body=document.data,
            is_stream=call.is_stream,
            client_headers=observed.carried(served.client_headers),
            request_id=served.request_id,
            is_strict=self.is_strict,
            keeping=continued.keeping if continued else {},
        )
        keep = await self.conversations.keeper(continued, pool) if self.conversations and continued else None
        candidates = [Candidate(provider=provider, window=capabilities_of(provider).window) for provider in pool]
        del served, document, continued  # nobody holds the body of a call while its answer is waited for

        async def ask(admit: Admit | None) -> ForwardedAnswer:
            answer = await self.forwarder.forward(outbound, candidates, trail=account.trail, admit=admit)
            return await recorded(answer, keep, is_stream=call.is_stream) if keep else answer

        account.answer = await answer_within_limits(ask, account, is_stream=call.is_stream)
        account.first_word_s = account.duration_s if call.is_stream else None
        account.cost_usd = None if call.is_stream else self._cost_usd(account)
        return account.answer

    async def _pool(
        self, served: GatewayCall, account: Account, observed: ObservedCall, owner: str | None
    ) -> tuple[ModelProvider, ...]:
        """Return who may serve a call, in order; those alone who have what it goes on from, where that is with them."""
        needs, catalog = needs_of(served.call, served.document.value), self.router.catalog
        allowed = self.governor.allowed(served.caller) if self.governor else ALL
        with observed.deciding():
            decision = await self.decide(served, account)
        account.decision = None  # a model that the caller may not use is not named to it
        decision = fit_allow_list(decision, allowed, catalog=catalog)
        account.decision = decision = fit_capabilities(decision, needs, catalog=catalog)
        pool = allowed_of(pool_of(decision, needs, catalog=catalog, to_default=self.to_default), allowed)
        pool = tuple(provider for provider in pool if owner is None or provider.model == owner)
        if not pool:
            raise _nobody_for(decision, needs)
        if self.governor:
            account.admission = await self.governor.admission(served.caller, served.document, route=decision.route)
            pool = await account.admission.preferred(pool)
        return pool

    async def _continued(self, served: GatewayCall) -> ContinuedCall | None:
        """Return a Responses call with what was said before it; None for others, and where nothing is kept."""
        if self.conversations is None or served.call.api_format is not ApiFormat.RESPONSES:
            return None
        return await self.conversations.resume(served.call, served.document, served.client_headers)

    def conclude(self, api_format: ApiFormat, account: Account) -> None:
        """Account for a call that is over, however it has ended; one that was not decided is not logged."""
        if account.observed is None:
            return
        account.observed.ended(account.outcome)
        with identified(account.observed.identity):
            self._log(api_format, account)

    def _log(self, api_format: ApiFormat, account: Account) -> None:
        decision = account.served
        if decision is None:
            return
        account.cost_usd = self._cost_usd(account)
        get_logger().info(
            CALL_FORWARDED,
            api_format=api_format.value,
            route=decision.route,
            model=decision.served_by,
            attempts=attempts_told(decision.attempts),
            status=account.status,
            end=account.end,
            input_tokens=account.usage.input_tokens,
            output_tokens=account.usage.output_tokens,
            cost_usd=account.cost_usd,
            losses=list(account.losses),
            duration_ms=round(account.duration_s * 1000, 1),
        )

    def _cost_usd(self, account: Account) -> float | None:
        """Return what the call has cost as far as its tokens are counted; None where nobody can tell."""
        price = self.prices.price_of(account.answer.model) if self.prices and account.answer else None
        usage = account.usage
        if price is None or usage.input_tokens is None:
            return None
        cost = price.cost(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens or 0,
            cached_tokens=usage.cached_tokens or 0,
            cache_write_tokens=usage.cache_write_tokens or 0,
        )
        return round(cost, 9)

    async def aclose(self) -> None:
        """Close this event loop's connections; the next call opens new ones."""
        await self.forwarder.aclose()


def _identity_of(served: GatewayCall) -> CallIdentity:
    """Return what a call is known by: as the edge where it came in has said, else by its own headers."""
    known = current_identity()
    if known is not None:
        return known
    headers = {name.lower(): value for name, value in served.client_headers}
    return CallIdentity(request_id=served.request_id, traceparent=headers.get(b"traceparent", b"").decode("latin-1"))


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
