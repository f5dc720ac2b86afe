"""What a caller may use of a decision: the router's seam for whoever knows callers."""

from collections.abc import Callable

from plano_asgi.decisions import RoutingDecision

Fit = Callable[[RoutingDecision], RoutingDecision]  # returns what is left of a decision, or raises a CallError


def all_of_it(decision: RoutingDecision) -> RoutingDecision:
    """Return a decision as it is, for a caller that may use everything."""
    return decision
