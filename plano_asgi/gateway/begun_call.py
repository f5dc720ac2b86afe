"""A call between its beginning and its serving, when whoever took it in may still leave it alone."""

from dataclasses import dataclass, field

from plano_asgi.decisions import RoutingDecision
from plano_asgi.gateway.conversations import ContinuedCall
from plano_asgi.gateway.gateway_call import GatewayCall
from plano_asgi.guard import GuardedCall
from plano_asgi.observe import ObservedCall


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunCall:
    """A call that is decided, and not yet served.

    Attributes:
        served: The call, with all that it goes on from, as it may pass.
        guarded: The same, with what was masked in it.
        decision: What was decided.
        observed: Who watches it.
        continued: What it goes on from, and who may serve it; None where it is no Responses call, or nothing is kept.
    """

    served: GatewayCall
    guarded: GuardedCall = field(repr=False)
    decision: RoutingDecision
    observed: ObservedCall
    continued: ContinuedCall | None

    @property
    def goes_on(self) -> bool:
        """Whether it goes on from an answer of ours, whose id means nothing elsewhere."""
        return self.continued is not None and self.continued.goes_on
