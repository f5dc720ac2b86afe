"""What stands in for the classifier of every router of this process, while a service that routes is tested.

An app's router is often made where nobody can hand it another classifier: when its module is imported. So a test does
not replace the router; it says who answers instead, for as long as the test runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from plano_asgi.classify import Classifier
from plano_asgi.decisions import RoutingDecision


class StandIn(Classifier, Protocol):
    """A classifier that hears of the decisions, too."""

    def hear(self, decision: RoutingDecision) -> None:
        """Take note of a decision, just made; called on any thread."""


_standing_in: list[StandIn] = []


def stand_in() -> StandIn | None:
    """Return who stands in now, the latest where there are several; None in production."""
    return next(reversed(_standing_in), None)


@contextmanager
def standing_in(who: StandIn) -> Iterator[None]:
    """Let every router of this process ask someone instead of its own classifier, until the context ends."""
    _standing_in.append(who)
    try:
        yield
    finally:
        _standing_in.remove(who)
