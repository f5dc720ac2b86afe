"""Fakes for tests of services that route: decisions without a model."""

from collections.abc import Callable, Mapping
from typing import Final

from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.conversation import Conversation
from plano_asgi.decisions import Scores
from plano_asgi.preferences import RoutingPolicy

__all__ = ["FixedClassifier"]


class FixedClassifier:
    """A classifier that always thinks the same, and counts how often it was asked.

    Attributes:
        kind: `fixed`.
        revision: `fixed`.
        threshold: 0.5.
        deadline_ms: 1,000.
        calls: The conversations it was given, in order.
    """

    kind: Final = "fixed"
    revision: Final = "fixed"
    threshold: Final = 0.5
    deadline_ms: Final = 1_000.0

    def __init__(self, chances: Mapping[str, float], *, before: Callable[[], object] = lambda: None) -> None:
        """Fix the chances.

        Args:
            chances: Probability in [0, 1] of routes by name; routes that are not named have 0.
            before: Called on the worker thread before each answer; sleep or raise in it to play a slow or broken one.
        """
        self._chances = dict(chances)
        self._before = before
        self.calls: list[Conversation] = []

    def prepare(self, policy: RoutingPolicy) -> None:
        """Do nothing."""

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return the fixed chances, and what they leave for none of the routes."""
        del is_awaited
        self.calls.append(conversation)
        self._before()
        routes = {preference.name: self._chances.get(preference.name, 0.0) for preference in policy.preferences}
        return Scores(routes=routes, other=max(0.0, 1.0 - sum(routes.values())))
