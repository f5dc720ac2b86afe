"""`CascadeClassifier`: a fast classifier answers what it is sure of, a larger one the rest."""

from dataclasses import replace
from time import monotonic
from typing import Final

from plano_asgi.classify import Classifier, IsAwaited, always_awaited
from plano_asgi.classify.cascade.band import Band
from plano_asgi.classify.cascade.second_stage import SecondStage
from plano_asgi.classify.readings import Reading, readings_of
from plano_asgi.classify.trusting import trusted
from plano_asgi.classify.warming import WARM_UP
from plano_asgi.conversation import Conversation
from plano_asgi.decisions import Scores
from plano_asgi.errors import ClassifierTimeoutError, ClassifierUnavailableError
from plano_asgi.preferences import RoutingPolicy

ANSWERED_BY: Final = 0.9  # of the deadline; what is left is for handing over the first's answer


class CascadeClassifier:
    """Asks the first, and the second where the first is not sure; where that has no answer, the first's stands.

    Scores say which stage gave them, and which was asked in vain. Thread-safe and fork-safe as far as its stages are.

    Attributes:
        kind: `cascade`.
        revision: Differs wherever a stage's revision or the band differs.
        threshold: The first's; scores bring their stage's own along, unless the settings name one for both.
        deadline_ms: The second's, where the settings name none.
        parallelism: What both do side by side, so that none who has a sure answer waits for those who have not.
    """

    kind: Final = "cascade"

    def __init__(  # noqa: PLR0913 - two stages, what is between them, and what the settings say of both
        self,
        first: Classifier,
        second: Classifier,
        *,
        low: float,
        high: float,
        deadline_ms: float | None = None,
        keeps_thresholds: bool = True,
    ) -> None:
        """Put the stages in a row.

        Args:
            first: Answers every call; quick.
            second: Answers where the first is not sure.
            low: See `Band`.
            high: See `Band`.
            deadline_ms: Milliseconds within which both together answer; without it the second's.
            keeps_thresholds: Whether each stage's scores are held against its own threshold.
        """
        self._first = first
        self._second = SecondStage(second)
        self._band = Band(low=low, high=high)
        self._keeps_thresholds = keeps_thresholds
        self.revision = f"{first.revision}/{second.revision}/{low}-{high}"
        self.threshold = first.threshold
        self.deadline_ms = deadline_ms or second.deadline_ms
        self.parallelism = first.parallelism + second.parallelism

    def prepare(self, policy: RoutingPolicy) -> None:
        """Prepare both stages, and ask the second once, which may not be asked again for long.

        A second that is elsewhere and cannot answer now is logged and no failure: the first's answers stand.

        Raises:
            PlanoError: What either stage raises that waiting does not mend.
        """
        second = self._second.classifier
        self._first.prepare(policy)
        try:
            second.prepare(policy)
            if policy.preferences:
                trusted(second.classify(WARM_UP, policy), policy)
        except (ClassifierUnavailableError, ClassifierTimeoutError) as error:
            self._second.note(error)
        else:
            self._second.note(None)

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return the scores of the stage that answers, with its name.

        Raises:
            ClassificationError: The first has no trustworthy answer.
            PlanoError: What else the first raises.
        """
        until = monotonic() + self.deadline_ms / 1000 * ANSWERED_BY
        scores = trusted(self._first.classify(conversation, policy, is_awaited=is_awaited), policy)
        if self._band.is_sure(scores):
            return self._of_stage(self._first, scores)
        better = self._second.ask(conversation, policy, within_s=until - monotonic(), is_awaited=is_awaited)
        if better is not None:
            return self._of_stage(self._second.classifier, better)
        return replace(self._of_stage(self._first, scores), failed_stage=self._second.classifier.kind)

    def readings(self, conversation: Conversation, policy: RoutingPolicy) -> tuple[Reading, ...]:
        """Return what both stages read of a conversation, whether or not the second is asked.

        Raises:
            PlanoError: What a stage raises.
        """
        stages = (self._first, self._second.classifier)
        return tuple(reading for stage in stages for reading in readings_of(stage, conversation, policy))

    def close(self) -> None:
        """Close both stages."""
        self._first.close()
        self._second.classifier.close()

    def _of_stage(self, stage: Classifier, scores: Scores) -> Scores:
        return replace(scores, stage=stage.kind, threshold=stage.threshold if self._keeps_thresholds else None)
