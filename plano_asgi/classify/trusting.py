"""Scores of any classifier, believed only where they can be true. Pure."""

from plano_asgi.decisions import Scores
from plano_asgi.errors import ClassificationError
from plano_asgi.preferences import RoutingPolicy


def trusted(scores: Scores, policy: RoutingPolicy) -> Scores:
    """Return the scores; a NaN among them would be below any threshold, and look like an honest no.

    Raises:
        ClassificationError: They are not probabilities, or not of the policy's routes.
    """
    if scores.routes.keys() != {preference.name for preference in policy.preferences}:
        raise ClassificationError("the classifier scored other routes than the policy's")
    if not all(0 <= chance <= 1 for chance in (scores.other, *scores.routes.values())):
        raise ClassificationError("the classifier gave scores that are no probabilities")
    return scores
