"""Classifiers: probabilities of routes from a conversation and a policy.

A classifier is one package and one line in `assembly`. It is called on worker threads, several at a time, and knows
nothing of HTTP, caches, deadlines or models.
"""

from collections.abc import Callable
from typing import Protocol

from plano_asgi.conversation import Conversation
from plano_asgi.decisions import Scores
from plano_asgi.preferences import RoutingPolicy

__all__ = ["Classifier", "IsAwaited", "always_awaited"]

IsAwaited = Callable[[], bool]


def always_awaited() -> bool:
    """Return True: somebody waits for as long as it takes."""
    return True


class Classifier(Protocol):
    """What the router asks of a classifier.

    Attributes:
        kind: The name it has in `classifier.kind`.
        revision: Changes whenever the same input may give another answer; part of cache keys.
        threshold: Least confidence in [0, 1] that selects a route, where the settings name none.
        deadline_ms: Milliseconds within which it should answer, where the settings name none.
        parallelism: Classifications worth running side by side, at least 1, where the settings name none.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102 - described above
    @property
    def revision(self) -> str: ...  # noqa: D102
    @property
    def threshold(self) -> float: ...  # noqa: D102
    @property
    def deadline_ms(self) -> float: ...  # noqa: D102
    @property
    def parallelism(self) -> int: ...  # noqa: D102

    def prepare(self, policy: RoutingPolicy) -> None:
        """Compute in advance what depends on the policy alone."""

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return the probability of each route and of none of them. Thread-safe.

        Args:
            conversation: What was said; the user said something.
            policy: The routes, at least one.
            is_awaited: Whether anybody still waits for the answer; long work asks now and then, and gives up.

        Raises:
            ClassificationError: There is no trustworthy answer.
        """
        ...

    def close(self) -> None:
        """Give back what other processes would miss, such as connections; it may be used again all the same."""
