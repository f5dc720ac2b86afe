"""A call that we serve ourselves, as it came in, and what its caller is told where nobody can serve it."""

from dataclasses import dataclass, field, replace
from typing import Self

from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import Reason, RoutingDecision
from plano_asgi.errors import CallError, ForwardingError, WireFormatError
from plano_asgi.govern import Caller
from plano_asgi.policy import Needs
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

    def going_on(self, call: LLMCall, document: JsonDocument) -> Self:
        """Return it with the whole conversation that it goes on from; what its headers say of it stays."""
        said = self.call
        whole = replace(call, affinity=said.affinity, tenant=said.tenant, switch_budget_pct=said.switch_budget_pct)
        return replace(self, call=whole, document=document)


def nobody_for(decision: RoutingDecision, needs: Needs) -> CallError:
    """Return what a call is refused with that no model of this service can serve."""
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
