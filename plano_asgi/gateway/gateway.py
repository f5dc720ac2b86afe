"""`Gateway`: a call is decided, given to those who can serve it, and accounted for."""

from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus

from plano_asgi.conversation import ApiFormat
from plano_asgi.decisions import RoutingDecision, Source, attempts_told
from plano_asgi.errors import CallError
from plano_asgi.events import CALL_FORWARDED, CallIdentity, current_identity, get_logger, identified
from plano_asgi.gateway.account import Account
from plano_asgi.gateway.begun_call import BegunCall
from plano_asgi.gateway.capturing import captured
from plano_asgi.gateway.conversations import ContinuedCall, Conversations, Keep
from plano_asgi.gateway.gateway_call import GatewayCall, nobody_for
from plano_asgi.gateway.governing import answer_within_limits
from plano_asgi.gateway.guarding import AnswerGuard, as_told
from plano_asgi.gateway.speed import note_speed
from plano_asgi.gateway.windows import with_counted_tokens
from plano_asgi.govern import ALL, AllowList, Governor, allowed_of
from plano_asgi.guard import Guard, GuardedCall
from plano_asgi.hops import check_hops, hops_of
from plano_asgi.observe import CallObserver
from plano_asgi.policy import capabilities_of, fit_capabilities, needs_of, pool_of
from plano_asgi.prices import PriceList
from plano_asgi.providers import ModelProvider
from plano_asgi.router import Router
from plano_asgi.tokens import TokenCounter
from plano_asgi.translate import Signers
from plano_asgi.upstream import Admit, Candidate, ForwardedAnswer, Forwarder, OutboundCall


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """A decided call, as those who may serve it are asked; `guarding` and `keep` are for its answer."""

    decided: RoutingDecision
    outbound: OutboundCall
    candidates: tuple[Candidate, ...]
    guarding: AnswerGuard | None
    keep: Keep | None


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
        tokens: What counts how much they have to read.
        cached_from_tokens: Fewest tokens of a call that gets marks for Anthropic's cache; None where none does.
        conversations: What Responses calls go on from; None where nothing is kept.
        observer: Who watches.
        guard: What may pass; None where everything may.
    """

    router: Router
    forwarder: Forwarder
    to_default: bool = False
    is_strict: bool = False
    governor: Governor | None = None
    prices: PriceList | None = None
    tokens: TokenCounter = field(default_factory=TokenCounter)
    cached_from_tokens: int | None = None
    conversations: Conversations | None = None
    observer: CallObserver = field(default_factory=CallObserver)
    guard: Guard | None = None

    async def decide(self, served: GatewayCall, account: Account) -> RoutingDecision:
        """Return where a call goes, and note it in its account; what is decided there already stands, and is logged.

        Raises:
            CallError: The call cannot be decided, or is not its caller's to make.
        """
        fit = partial(account.fitted, allowed=self._allowed(served), catalog=self.router.catalog)
        if account.decision is None:
            account.decision = await self.router.aroute(served.call, bypass=served.bypass, fit=fit)
        else:
            account.decision = self.router.made_elsewhere(served.call, fit(_recalled(account.decision)))
        return account.decision

    async def begin(self, served: GatewayCall, account: Account) -> BegunCall:
        """Return a call with all that it goes on from, as it may pass, and decided; nobody is asked yet.

        Args:
            served: The call.
            account: Is kept up to date, also where nothing is returned.

        Raises:
            CallError: It goes round in a loop, what it goes on from is not there, or it may not pass or be decided.
        """
        check_hops(hops_of(served.client_headers))
        identity = _identity_of(served)
        try:
            self._allowed(served)  # a stranger costs nothing
            continued = await self._continued(served)
            if continued:
                served = served.going_on(continued.call, continued.document)
            guarded = await self._guarded(served)
        except CallError:
            unread = replace(served.call, conversation=())  # nobody has judged what may be told of it
            account.observed = self.observer.begin(unread, identity)
            raise
        served = replace(served, call=guarded.call, document=guarded.document)
        account.observed = observed = self.observer.begin(served.call, identity, served.document.value)
        account.trail = observed.trail(self.forwarder.breaker_of)
        account.is_stream = served.call.is_stream
        if continued and continued.owner:
            served, account.decision = replace(served, bypass=True), None
        with observed.deciding():
            decision = await self.decide(served, account)
        return BegunCall(served=served, guarded=guarded, decision=decision, observed=observed, continued=continued)

    async def answer(self, begun: BegunCall, account: Account) -> ForwardedAnswer:
        """Return the answer of the first model that has one, begun; its pieces are the caller's to close.

        Args:
            begun: The call.
            account: Is kept up to date, also where nothing is returned.

        Raises:
            CallError: There is no answer.
        """
        question, is_stream = await self._question(begun, account), account.is_stream
        reader = begun.observed.answer_reader
        del begun  # while its answer is waited for, a call is held by its bytes alone
        answer = await answer_within_limits(partial(self._ask, question, account), account, is_stream=is_stream)
        account.answer = answer
        told = await as_told(answer, question.guarding, question.keep, is_stream=is_stream)
        is_as_given = question.guarding is None  # what guardrails put back or hold is told to the caller alone
        account.answer = captured(told, reader) if reader and is_as_given else told
        account.first_word_s = account.duration_s if is_stream else None
        account.cost_usd = None if is_stream else self._cost_usd(account)
        return account.answer

    def leave(self, account: Account) -> None:
        """Let go of a call that goes elsewhere: its decision, where there is one, is all that is told of it."""
        if account.observed:
            account.observed.left_alone()
        account.observed = None

    async def _guarded(self, served: GatewayCall) -> GuardedCall:
        if self.guard is None:
            return GuardedCall(call=served.call, document=served.document)
        return await self.guard.admit(served.call, served.document, request_id=served.request_id)

    async def _admitted_to_route(self, begun: BegunCall, account: Account) -> tuple[GatewayCall, AnswerGuard | None]:
        """Return a decided call as it may pass on its route, and what is done with its answer."""
        served = begun.served
        if self.guard is None:
            return served, None
        route = account.decision.route if account.decision else None
        guarded = await self.guard.admit_to(route, begun.guarded, request_id=served.request_id)
        guarding = AnswerGuard.of(self.guard, guarded, route=route, request_id=served.request_id)
        return replace(served, call=guarded.call, document=guarded.document), guarding

    async def _question(self, begun: BegunCall, account: Account) -> _Question:
        """Return what is asked, and whom."""
        decided, continued = begun.decision, begun.continued
        pool = await self._pool(begun.served, account, decided, continued.owner if continued else None)
        served, guarding = await self._admitted_to_route(begun, account)
        pool = await self._governed(served, account, pool)
        outbound = OutboundCall(
            api_format=served.call.api_format,
            body=served.document.data,
            is_stream=served.call.is_stream,
            client_headers=begun.observed.carried(served.client_headers),
            request_id=served.request_id,
            is_strict=self.is_strict,
            signers=_signers(decided),
            cached_from_tokens=self.cached_from_tokens,
            keeping=continued.keeping if continued else {},
        )
        keep = await self.conversations.keeper(continued, pool) if self.conversations and continued else None
        candidates = (Candidate(provider=provider, window=capabilities_of(provider).window) for provider in pool)
        return _Question(decided=decided, outbound=outbound, candidates=tuple(candidates), guarding=guarding, keep=keep)

    async def _pool(
        self, served: GatewayCall, account: Account, decided: RoutingDecision, owner: str | None
    ) -> tuple[ModelProvider, ...]:
        """Return who may serve a call, in order; those alone who have what it goes on from, where that is with them."""
        needs, catalog = needs_of(served.call, served.document.value), self.router.catalog
        models = [model for model in (*decided.models, decided.would_use, catalog.default_model) if model]
        needs = await with_counted_tokens(needs, served.call, models, catalog=catalog, tokens=self.tokens)
        allowed = self._allowed(served)
        decision = account.fitted(fit_capabilities(decided, needs, catalog=catalog), allowed=allowed, catalog=catalog)
        account.decision = decision
        pool = allowed_of(pool_of(decision, needs, catalog=catalog, to_default=self.to_default), allowed)
        pool = tuple(provider for provider in pool if owner is None or provider.model == owner)
        if not pool:
            raise nobody_for(decision, needs)
        return pool

    async def _governed(
        self, served: GatewayCall, account: Account, pool: tuple[ModelProvider, ...]
    ) -> tuple[ModelProvider, ...]:
        """Return who may serve a call, in the order that budgets ask for; from now on it is counted."""
        decision = account.decision
        if self.governor is None or decision is None:
            return pool
        models = [provider.model for provider in pool]
        admission = await self.governor.admission(served.caller, served.document, route=decision.route, models=models)
        account.admission = admission
        is_locked = decision.session is not None and decision.session.lock is not None
        return pool if is_locked else await admission.preferred(pool, among=decision.models)

    def _allowed(self, served: GatewayCall) -> AllowList:
        return self.governor.allowed(served.caller) if self.governor else ALL

    async def _ask(self, question: _Question, account: Account, admit: Admit | None) -> ForwardedAnswer:
        """Return the answer; its session goes on with who has given it."""
        answer = await self.forwarder.forward(question.outbound, question.candidates, trail=account.trail, admit=admit)
        if answer.status < HTTPStatus.BAD_REQUEST:
            try:
                await self.router.aserved(question.decided, by=answer.model)
            except BaseException:
                await answer.pieces.aclose()
                raise
        return answer

    async def _continued(self, served: GatewayCall) -> ContinuedCall | None:
        """Return a Responses call with what was said before it; None for others, and where nothing is kept."""
        if self.conversations is None or served.call.api_format is not ApiFormat.RESPONSES:
            return None
        return await self.conversations.resume(served.call, served.document, served.client_headers)

    def conclude(self, api_format: ApiFormat, account: Account) -> None:
        """Account for a call that is over, however it has ended; one that was not decided is not logged."""
        if account.observed is None:
            return
        account.cost_usd = self._cost_usd(account)
        account.observed.ended(account.outcome)
        with identified(account.observed.identity):
            self._log(api_format, account)
        if self.router.selecting and account.answer and account.is_complete and account.status == HTTPStatus.OK:
            note_speed(self.router.selecting.speeds, account)

    def _log(self, api_format: ApiFormat, account: Account) -> None:
        decision = account.outcome.decision
        if decision is None:
            return
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
        return account.usage.cost_usd(price)

    async def aclose(self) -> None:
        """Close this event loop's connections; the next call opens new ones."""
        await self.forwarder.aclose()


def _recalled(decision: RoutingDecision) -> RoutingDecision:
    """Return a decision that was made when the call was first tried, as one that is remembered."""
    return replace(decision, source=Source.CACHE) if decision.source is Source.CLASSIFIER else decision


def _identity_of(served: GatewayCall) -> CallIdentity:
    """Return what a call is known by: as the edge where it came in has said, else by its own headers."""
    known = current_identity()
    if known is not None:
        return known
    headers = {name.lower(): value for name, value in served.client_headers}
    return CallIdentity(request_id=served.request_id, traceparent=headers.get(b"traceparent", b"").decode("latin-1"))


def _signers(decided: RoutingDecision) -> Signers | None:
    """Return who has signed the thoughts of a call, as far as its session tells."""
    session = decided.session
    if session is None or session.held_by is None or session.place.signature is None:
        return None
    return Signers(latest=session.held_by.partition("/")[0], others=session.foreign)
