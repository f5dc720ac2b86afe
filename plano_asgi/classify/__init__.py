"""Classifiers: probabilities of routes from a conversation and a policy.

A classifier is one package and one line in `assembly`. It is called on worker threads, several at a time, and knows
nothing of HTTP, caches, deadlines or models.
"""

from typing import Protocol

from plano_asgi.conversation import Conversation
from plano_asgi.decisions import Scores
from plano_asgi.preferences import RoutingPolicy

__all__ = ["Classifier"]


class Classifier(Protocol):
    """What the router asks of a classifier.

    Attributes:
        kind: The name it has in `classifier.kind`.
        revision: Changes whenever the same input may give another answer; part of cache keys.
        threshold: Least confidence in [0, 1] that selects a route, where the settings name none.
        deadline_ms: Milliseconds within which it should answer, where the settings name none.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102 - described above
    @property
    def revision(self) -> str: ...  # noqa: D102
    @property
    def threshold(self) -> float: ...  # noqa: D102
    @property
    def deadline_ms(self) -> float: ...  # noqa: D102

    def prepare(self, policy: RoutingPolicy) -> None:
        """Compute in advance what depends on the policy alone."""

    def classify(self, conversation: Conversation, policy: RoutingPolicy) -> Scores:
        """Return the probability of each route and of none of them. Thread-safe.

        Raises:
            ClassificationError: There is no trustworthy answer.
        """
        ...
