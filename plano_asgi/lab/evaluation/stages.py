"""Which classifier of a cascade answered how often. Pure."""

from collections import Counter
from collections.abc import Iterable

from plano_asgi.lab.evaluation.figures import Outcome


def stage_shares(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Return the share in [0, 1] of each classifier of a cascade among the cases that were answered.

    The one that answered most comes first; there are none where a classifier works alone.
    """
    stages = Counter(outcome.scores.stage for outcome in outcomes if outcome.scores and outcome.scores.stage)
    return {stage: answered / stages.total() for stage, answered in stages.most_common()}
