"""When a classifier is sure enough to be believed at once. Pure."""

from dataclasses import dataclass

from plano_asgi.decisions import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The probabilities between which nothing is certain.

    Attributes:
        low: Most probability in [0, 1] of all routes together at which it is sure that none of them fits.
        high: Least probability in [0, 1] of the best route at which it is sure of that route.
    """

    low: float
    high: float

    def is_sure(self, scores: Scores) -> bool:
        """Return whether what the scores say is likeliest is likely enough.

        Where the best route is likelier than none of them, it has `high` or more. Else the routes have `low` or less
        between them: ten routes of 0.08 each are no certainty that none fits, though each is unlikely by itself.
        """
        best = max(scores.routes.values(), default=0.0)
        return best >= self.high if best > scores.other else scores.other >= 1 - self.low
