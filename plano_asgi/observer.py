"""What a router tells whoever watches it."""

from typing import Final, Protocol

from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import RoutingDecision


class Observer(Protocol):
    """Hears of every decision of a router."""

    def decided(self, call: LLMCall, decision: RoutingDecision, *, waiting: int) -> None:
        """Take note of a decision, just made; called on any thread, and never raises.

        Args:
            call: What was decided on.
            decision: The decision.
            waiting: How many classifications are under way or wait.
        """


class _Nobody:
    def decided(self, call: LLMCall, decision: RoutingDecision, *, waiting: int) -> None:
        """Do nothing."""


UNOBSERVED: Final[Observer] = _Nobody()
