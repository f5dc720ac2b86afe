"""`Gateway`: a call is decided, given to those who can serve it, and accounted for."""

from dataclasses import dataclass, field, replace
from http import HTTPStatus
from time import perf_counter

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.decisions import Reason, RoutingDecision, attempts_told
from plano_asgi.errors import CallError, ForwardingError, WireFormatError
from plano_asgi.events import CALL_FORWARDED, get_logger
from plano_asgi.gateway.account import Account
from plano_asgi.gateway.conversations import ContinuedCall, Conversations
from plano_asgi.gateway.recording import recorded
from plano_asgi.gateway.speed import note_speed
from plano_asgi.hops import check_hops, hops_of
from plano_asgi.policy import Needs, capabilities_of, fit_capabilities, needs_of, pool_of
from plano_asgi.router import Router
from plano_asgi.translate import Signers
from plano_asgi.upstream import Candidate, ForwardedAnswer, Forwarder, OutboundCall
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
    """

    call: LLMCall
    document: JsonDocument = field(repr=False)
    client_headers: RawHeaders = field(repr=False)
    request_id: str
    bypass: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Serves calls from the chosen providers; knows nothing of how they came in.

    Attributes:
        router: What decides.
        forwarder: What asks providers.
        to_default: Whether the default model is the last resort of every route.
        is_strict: Whether a model is passed over that cannot be told all of a call.
        cached_from_tokens: Fewest tokens of a call that gets marks for Anthropic's cache; None where none does.
        conversations: What Responses calls go on from; None where nothing is kept.
    """

    router: Router
    forwarder: Forwarder
    to_default: bool = False
    is_strict: bool = False
    cached_from_tokens: int | None = None
    conversations: Conversations | None = None

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
        continued = await self._continued(served)
        owner = continued and continued.owner
        if continued:
            said = served.call  # by headers, which the whole conversation does not have
            call = replace(
                continued.call, affinity=said.affinity, tenant=said.tenant, switch_budget_pct=said.switch_budget_pct
            )
            served = replace(served, call=call, document=continued.document)
        if owner:
            served, account.decision = replace(served, bypass=True), None
        call, document = served.call, served.document
        account.is_stream = call.is_stream
        needs = needs_of(call, document.value)
        decided = await self.decide(served, account)
        account.decision = decision = fit_capabilities(decided, needs, catalog=self.router.catalog)
        pool = pool_of(decision, needs, catalog=self.router.catalog, to_default=self.to_default)
        pool = tuple(provider for provider in pool if owner is None or provider.model == owner)
        if not pool:
            raise _nobody_for(decision, needs)
        outbound = OutboundCall(
            api_format=call.api_format,
            body=document.data,
            is_stream=call.is_stream,
            client_headers=served.client_headers,
            request_id=served.request_id,
            is_strict=self.is_strict,
            signers=_signers(decided),
            cached_from_tokens=self.cached_from_tokens,
            keeping=continued.keeping if continued else {},
        )
        keep = await self.conversations.keeper(continued, pool) if self.conversations and continued else None
        candidates = [Candidate(provider=provider, window=capabilities_of(provider).window) for provider in pool]
        del served, document, needs, continued  # nobody holds the body of a call while its answer is waited for
        answer = await self.forwarder.forward(outbound, candidates, trail=account.trail)
        await self._keep(decided, answer)
        account.answer = await recorded(answer, keep, is_stream=call.is_stream) if keep else answer
        return account.answer

    async def _keep(self, decided: RoutingDecision, answer: ForwardedAnswer) -> None:
        """Let a session go on with who has answered; where that is given up, so is the answer."""
        if answer.status >= HTTPStatus.BAD_REQUEST:
            return
        try:
            await self.router.aserved(decided, by=answer.model)
        except BaseException:
            await answer.pieces.aclose()
            raise

    async def _continued(self, served: GatewayCall) -> ContinuedCall | None:
        """Return a Responses call with what was said before it; None for others, and where nothing is kept."""
        if self.conversations is None or served.call.api_format is not ApiFormat.RESPONSES:
            return None
        return await self.conversations.resume(served.call, served.document, served.client_headers)

    def conclude(self, api_format: ApiFormat, account: Account) -> None:
        """Account for a call that is over, however it has ended; one that was not decided leaves no trace."""
        decision = account.served
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
            losses=list(account.losses),
            duration_ms=round((perf_counter() - account.started) * 1000, 1),
        )
        if self.router.selecting and account.answer and account.is_complete and account.status == HTTPStatus.OK:
            note_speed(self.router.selecting.speeds, account)

    async def aclose(self) -> None:
        """Close this event loop's connections; the next call opens new ones."""
        await self.forwarder.aclose()


def _signers(decided: RoutingDecision) -> Signers | None:
    """Return who has signed the thoughts of a call, as far as its session tells."""
    session = decided.session
    if session is None or session.held_by is None or session.place.signature is None:
        return None
    return Signers(latest=session.held_by.partition("/")[0], others=session.foreign)


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
