"""The second stage of a cascade: it is asked on a thread of its own, and waited for so long and no longer."""

import os
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock, Semaphore, Thread
from time import monotonic

from plano_asgi.classify import Classifier, IsAwaited
from plano_asgi.classify.trusting import trusted
from plano_asgi.conversation import Conversation
from plano_asgi.decisions import Scores
from plano_asgi.errors import ClassificationError, ClassifierTimeoutError, PlanoError
from plano_asgi.events import SECOND_STAGE_BACK, SECOND_STAGE_FAILED, get_logger
from plano_asgi.preferences import RoutingPolicy

_Answer = Future[Scores | PlanoError]


@dataclass(frozen=True, slots=True)
class _Question:
    conversation: Conversation
    policy: RoutingPolicy
    is_awaited: IsAwaited


class SecondStage:
    """Asks a classifier; whatever becomes of the question, whoever asks goes on in time. Thread-safe, and fork-safe.

    As many questions are under way as the classifier answers side by side. One more has no answer, and at once: threads
    that could answer by themselves do not queue behind those that cannot. That it fails, and that it answers again, is
    logged once each.
    """

    def __init__(self, classifier: Classifier) -> None:
        """Take whom to ask; threads start with the questions."""
        self.classifier = classifier
        self._start_empty()

    def _start_empty(self) -> None:
        self._free = Semaphore(self.classifier.parallelism)
        self._lock = Lock()
        self._is_well = True
        self._process = os.getpid()  # last: a thread that reads it finds the rest in place

    def ask(
        self, conversation: Conversation, policy: RoutingPolicy, *, within_s: float, is_awaited: IsAwaited
    ) -> Scores | None:
        """Return the classifier's scores; None where it fails, is busy, or has no answer within so many seconds."""
        if os.getpid() != self._process:  # a fork takes no threads along, but their places
            self._start_empty()
        until, free = monotonic() + within_s, self._free
        if within_s <= 0 or not is_awaited() or not free.acquire(blocking=False):
            return None
        question = _Question(conversation, policy, lambda: monotonic() < until and is_awaited())
        outcome = self._answered(question, free, within_s)
        self.note(outcome)
        return outcome if isinstance(outcome, Scores) else None

    def note(self, outcome: Scores | PlanoError | None) -> None:
        """Log the change, where the classifier answered before and fails now, or answers again; None is all well."""
        error = outcome if isinstance(outcome, PlanoError) else None
        is_well = error is None
        with self._lock:
            is_as_before, self._is_well = is_well == self._is_well, is_well
        if is_as_before:
            return
        stage = self.classifier.kind
        if error is None:
            get_logger().info(SECOND_STAGE_BACK, stage=stage)
        else:
            get_logger().warning(SECOND_STAGE_FAILED, stage=stage, error=type(error).__name__, detail=str(error))

    def _answered(self, question: _Question, free: Semaphore, within_s: float) -> Scores | PlanoError:
        answer: _Answer = Future()
        work = Thread(target=self._answer, args=(question, answer, free), name="plano-second-stage", daemon=True)
        try:
            work.start()
        except RuntimeError as error:
            free.release()
            return ClassificationError(str(error))
        try:
            return answer.result(within_s)
        except TimeoutError:
            return ClassifierTimeoutError(f"no answer within {within_s * 1000:.0f} ms")

    def _answer(self, question: _Question, answer: _Answer, free: Semaphore) -> None:
        outcome: Scores | PlanoError
        try:
            scores = self.classifier.classify(question.conversation, question.policy, is_awaited=question.is_awaited)
            outcome = trusted(scores, question.policy)
        except PlanoError as error:  # its words are ours, and hold no key or prompt
            outcome = error
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, of a panic in a Rust library too
            outcome = ClassificationError(f"{type(error).__name__} in the classifier")
        free.release()  # before anybody hears of the answer, and asks again
        answer.set_result(outcome)
