"""`Router`: policy, cache, classification within a deadline, decision, one event."""

from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from logging import INFO
from time import perf_counter
from typing import Final

import anyio.to_thread

from plano_asgi.classify import Classifier, IsAwaited
from plano_asgi.classify.trusting import trusted
from plano_asgi.conversation import Conversation, LLMCall, Message, Role
from plano_asgi.decisions import PolicySource, Reason, RoutingDecision, Scores, Source
from plano_asgi.errors import (
    ClassificationError,
    ClassifierTimeoutError,
    ClassifierUnavailableError,
    RoutingUnavailableError,
)
from plano_asgi.events import (
    CACHE_FAILED,
    CALL_ROUTED,
    CLASSIFIER_FAILED,
    CLASSIFIER_READY,
    CLASSIFIER_SLOW,
    get_logger,
    is_heard,
)
from plano_asgi.policy import Rules, checked_inline, decide, fit_format, undecided
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.providers import ModelCatalog
from plano_asgi.router.classifications import Classifications
from plano_asgi.router.keys import classification_key
from plano_asgi.router.repeated_start import RepeatedStart
from plano_asgi.router.stand_in import stand_in
from plano_asgi.router.waiting import wait_async, wait_blocking
from plano_asgi.stores import Store

LONG_CONVERSATION: Final = 1_000  # messages; reading more than that takes too long for an event loop
WARM_UP_TEXT: Final = "Which of these routes would take a call such as this one, if any of them does?"


class OnError(StrEnum):
    """What becomes of a call that cannot be classified."""

    DEFAULT = "default"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class _Pending:
    """A call whose classification is on its way."""

    call: LLMCall
    policy: RoutingPolicy
    policy_source: PolicySource
    scores: Future[Scores]


class Router:
    """Decides where calls go. Thread-safe; `route` and `aroute` decide alike.

    Memory is bounded by the cache it is given and by `queue`; a classification is waited for `deadline_ms` at the most.
    """

    def __init__(  # noqa: PLR0913 - each is one seam, named at the one place that assembles them
        self,
        *,
        classifier: Classifier,
        policy: RoutingPolicy,
        catalog: ModelCatalog,
        rules: Rules,
        cache: Store[bytes, Scores],
        on_error: OnError = OnError.DEFAULT,
        allow_inline: bool = True,
        is_enabled: bool = True,
        deadline_ms: float,
        workers: int = 1,
        queue: int = 256,
    ) -> None:
        """Put the parts together; nothing is loaded before `start` or the first call."""
        self.classifier = classifier
        self.policy = policy
        self.catalog = catalog
        self.rules = rules
        self.deadline_ms = deadline_ms
        self._cache = cache
        self._on_error = on_error
        self._allow_inline = allow_inline
        self._is_enabled = is_enabled
        self._classifications = Classifications(workers=workers, queue=queue)
        self._is_ready = False
        self._problem: ClassificationError | None = None
        self._repeated_start = RepeatedStart(self._warm_up)

    @property
    def is_ready(self) -> bool:
        """Whether the model is loaded and warm, and the router not closed since."""
        return (self._is_ready or stand_in() is not None) and not self._classifications.is_closed

    @property
    def problem(self) -> ClassificationError | None:
        """Why a router that was started is not ready: its classifier is elsewhere and cannot be asked."""
        return self._problem

    def start(self) -> float:
        """Load the model, prepare the configured policy, and return the milliseconds of one timed classification.

        A router that was closed is open again. A classifier that is elsewhere and cannot be asked now is no reason not
        to start: it is asked again at growing intervals, and calls are decided by `on_error` until it answers.

        Raises:
            ArtifactError: A model file is missing or not the published one.
            ClassificationError: The classifier cannot answer.
        """
        self._classifications.reopen()
        if stand_in():
            return 0.0
        stopped = self._repeated_start.renew()  # before the first attempt: `close` may come while that is made
        started = perf_counter()
        try:
            return self._warm_up()
        except (ClassifierUnavailableError, ClassifierTimeoutError):
            self._repeated_start.begin(stopped)
            return _milliseconds_since(started)

    def _warm_up(self) -> float:
        self.classifier.prepare(self.policy)
        conversation = (Message(role=Role.USER, text=WARM_UP_TEXT),)
        started = perf_counter()
        try:
            if self.policy.preferences:
                trusted(self.classifier.classify(conversation, self.policy), self.policy)
        except ClassificationError as error:
            self._problem = error
            self._log_failure(error)
            raise
        elapsed_ms = _milliseconds_since(started)
        self._is_ready, self._problem = True, None
        report = {
            "classifier": self.classifier.kind,
            "classify_ms": round(elapsed_ms, 1),
            "deadline_ms": self.deadline_ms,
        }
        get_logger().info(CLASSIFIER_READY, **report)
        if elapsed_ms > self.deadline_ms / 2:
            get_logger().warning(
                CLASSIFIER_SLOW, advice="raise classifier.deadline_ms or use a faster device", **report
            )
        return elapsed_ms

    def close(self) -> None:
        """Drop the calls that wait for a classification; later calls are decided by `on_error`."""
        self._repeated_start.stop()
        self._classifications.close()
        self.classifier.close()

    def route(self, call: LLMCall, *, bypass: bool = False, is_translated: bool = True) -> RoutingDecision:
        """Return where the call goes; blocks while it is classified.

        Args:
            call: The call.
            bypass: Whether the caller asked not to be routed.
            is_translated: Whether a model of another API can serve the call, since somebody translates.

        Raises:
            PolicyRefusedError: The call's inline policy is not allowed here.
            RoutingUnavailableError: `on_error` is `reject`, and the classifier has no answer.
        """
        started = perf_counter()
        begun = self._begin(call, bypass=bypass)
        if isinstance(begun, _Pending):
            begun = self._conclude(begun, wait_blocking(begun.scores, self.deadline_ms / 1000))
        return self._reported(begun, call, started, is_translated=is_translated)

    async def aroute(self, call: LLMCall, *, bypass: bool = False, is_translated: bool = True) -> RoutingDecision:
        """Return where the call goes, without blocking the event loop; the same as `route` in everything else."""
        started = perf_counter()
        if len(call.conversation) > LONG_CONVERSATION:
            begun = await anyio.to_thread.run_sync(partial(self._begin, call, bypass=bypass))
        else:
            begun = self._begin(call, bypass=bypass)
        if isinstance(begun, _Pending):
            begun = self._conclude(begun, await wait_async(begun.scores, self.deadline_ms / 1000))
        return self._reported(begun, call, started, is_translated=is_translated)

    def _begin(self, call: LLMCall, *, bypass: bool) -> RoutingDecision | _Pending:
        """Return the decision where it can be had at once, else start the classification that it needs."""
        policy, policy_source = self.policy, PolicySource.CONFIG
        if call.inline_policy is not None:
            policy = checked_inline(call.inline_policy, self.catalog, allowed=self._allow_inline)
            policy_source = PolicySource.INLINE
        undecided_for = partial(undecided, call, rules=self.rules, policy_source=policy_source)
        if bypass or not self._is_enabled:
            return undecided_for(reason=Reason.BYPASSED)
        if not self.rules.apply_to(call):
            return undecided_for(reason=Reason.NOT_APPLICABLE)
        if not policy.preferences or not _has_user_text(call.conversation):
            return undecided_for(reason=Reason.NO_MATCH)
        asked = stand_in() or self.classifier
        key = classification_key(call.conversation, policy, revision=asked.revision)
        if scores := self._recalled(key):
            return decide(call, policy, scores, rules=self._rules(), source=Source.CACHE, policy_source=policy_source)
        try:
            future = self._classifications.submit(
                key, partial(self._classify, asked, key, call.conversation, policy), deadline_s=self.deadline_ms / 1000
            )
        except ClassificationError as error:
            return self._failed(call, policy_source, error)
        return _Pending(call, policy, policy_source, future)

    def _classify(
        self, asked: Classifier, key: bytes, conversation: Conversation, policy: RoutingPolicy, is_awaited: IsAwaited
    ) -> Scores:
        scores = trusted(asked.classify(conversation, policy, is_awaited=is_awaited), policy)
        if scores.failed_stage is not None:  # a better answer may be had the next time
            return scores
        try:
            self._cache.put(key, scores)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the answer is there
            get_logger().warning(CACHE_FAILED, error=type(error).__name__)
        return scores

    def _recalled(self, key: bytes) -> Scores | None:
        """Return the scores that the cache has; one that fails has none."""
        try:
            return self._cache.get(key)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the call can be classified
            get_logger().warning(CACHE_FAILED, error=type(error).__name__)
            return None

    def _conclude(self, pending: _Pending, outcome: Scores | ClassificationError) -> RoutingDecision:
        if isinstance(outcome, ClassificationError):
            return self._failed(pending.call, pending.policy_source, outcome)
        return decide(
            pending.call,
            pending.policy,
            outcome,
            rules=self._rules(),
            source=Source.CLASSIFIER,
            policy_source=pending.policy_source,
        )

    def _rules(self) -> Rules:
        """Return how scores are read; those of a stand-in need no correction, which is the classifier's own."""
        return replace(self.rules, temperature=1.0) if stand_in() else self.rules

    def _failed(self, call: LLMCall, policy_source: PolicySource, error: ClassificationError) -> RoutingDecision:
        self._log_failure(error)
        if self._on_error is OnError.REJECT:
            raise RoutingUnavailableError("the router has no decision for this call now; try again shortly") from error
        return undecided(call, rules=self.rules, reason=Reason.ERROR, policy_source=policy_source)

    def _log_failure(self, error: ClassificationError) -> None:
        get_logger().warning(
            CLASSIFIER_FAILED, error=type(error).__name__, detail=str(error), on_error=self._on_error.value
        )

    def _reported(
        self, decision: RoutingDecision, call: LLMCall, started: float, *, is_translated: bool
    ) -> RoutingDecision:
        """Return the decision as it stands, qualified and timed, having logged the one line that tells of it."""
        would_use = decision.would_use and self.catalog.qualified(decision.would_use)
        decision = replace(decision, would_use=would_use, latency_ms=_milliseconds_since(started))
        if not is_translated:
            decision = fit_format(decision, call, rules=self.rules, catalog=self.catalog)
        if is_heard(INFO):
            self._log(decision, call)
        if listener := stand_in():
            listener.hear(decision)
        return decision

    def _log(self, decision: RoutingDecision, call: LLMCall) -> None:
        get_logger().info(
            CALL_ROUTED,
            api_format=call.api_format.value,
            route=decision.route,
            model=decision.would_use,
            reason=decision.reason.value,
            source=decision.source.value,
            policy=decision.policy.value,
            confidence=None if decision.confidence is None else round(decision.confidence, 3),
            classifier=self.classifier.kind,
            stage=decision.stage,
            failed_stage=decision.failed_stage,
            latency_ms=round(decision.latency_ms, 1),
        )


def _has_user_text(conversation: Conversation) -> bool:
    return any(message.role is Role.USER and message.text.strip() for message in conversation)


def _milliseconds_since(started: float) -> float:
    return (perf_counter() - started) * 1000
