"""From a call to a decision by its words alone: policy in force, cache, classification."""

from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from plano_asgi.classify import Classifier, IsAwaited
from plano_asgi.classify.readings import Reading, readings_of
from plano_asgi.classify.trusting import trusted
from plano_asgi.conversation import Conversation, LLMCall, has_user_text
from plano_asgi.decisions import PolicySource, Reason, RoutingDecision, Scores, Source
from plano_asgi.errors import ClassificationError, PlanoError, RoutingUnavailableError
from plano_asgi.events import CACHE_FAILED, CLASSIFIER_FAILED, get_logger
from plano_asgi.policy import Rules, checked_inline, decide, undecided
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.providers import ModelCatalog
from plano_asgi.router.classifications import Classifications
from plano_asgi.router.keys import classification_key
from plano_asgi.router.selecting import Selecting
from plano_asgi.router.stand_in import stand_in
from plano_asgi.stores import Store


class OnError(StrEnum):
    """What becomes of a call that cannot be classified."""

    DEFAULT = "default"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Case:
    """A call that is to be decided, by the policy in force for it."""

    call: LLMCall
    policy: RoutingPolicy
    policy_source: PolicySource


@dataclass(frozen=True, slots=True)
class Pending:
    """A case whose classification is on its way."""

    case: Case
    scores: Future[Scores]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """Decides calls by what they say.

    Attributes:
        classifier: What reads them.
        policy: The configured policy.
        catalog: The declared models.
        rules: How decisions are made.
        cache: What was classified before.
        on_error: What becomes of a call that cannot be classified.
        allow_inline: Whether a call may bring its own policy.
        is_enabled: Whether anything is routed at all.
        deadline_ms: Milliseconds a classification may take.
        classifications: Where they run.
        selecting: What orders the models of a route; None for the order as written.
    """

    classifier: Classifier
    policy: RoutingPolicy
    catalog: ModelCatalog
    rules: Rules
    cache: Store[bytes, Scores]
    on_error: OnError
    allow_inline: bool
    is_enabled: bool
    deadline_ms: float
    classifications: Classifications
    selecting: Selecting | None = None

    def case_of(self, call: LLMCall, *, bypass: bool) -> Case | RoutingDecision:
        """Return the case that a call makes, or the decision of one that is not routed.

        Raises:
            PolicyRefusedError: The call's inline policy is not allowed here.
        """
        policy, policy_source = self.policy, PolicySource.CONFIG
        if call.inline_policy is not None:
            policy = checked_inline(call.inline_policy, self.catalog, allowed=self.allow_inline)
            policy_source = PolicySource.INLINE
        if bypass or not self.is_enabled:
            return undecided(call, rules=self.rules, reason=Reason.BYPASSED, policy_source=policy_source)
        if not self.rules.apply_to(call):
            return undecided(call, rules=self.rules, reason=Reason.NOT_APPLICABLE, policy_source=policy_source)
        return Case(call, policy, policy_source)

    def begin(self, case: Case, conversation: Conversation) -> RoutingDecision | Pending:
        """Return the decision on a conversation where it can be had at once, else start the classification it needs.

        Raises:
            RoutingUnavailableError: `on_error` is `reject`, and the classifier takes no more work.
        """
        call, policy, policy_source = case.call, case.policy, case.policy_source
        if not policy.preferences or not has_user_text(conversation):
            return undecided(call, rules=self.rules, reason=Reason.NO_MATCH, policy_source=policy_source)
        asked = stand_in() or self.classifier
        key = classification_key(conversation, policy, revision=asked.revision)
        if scores := self._recalled(key):
            return self._decided(case, scores, Source.CACHE)
        try:
            future = self.classifications.submit(
                key, partial(self._classify, asked, key, conversation, policy), deadline_s=self.deadline_ms / 1000
            )
        except ClassificationError as error:
            return self._failed(case, error)
        return Pending(case, future)

    def conclude(self, pending: Pending, outcome: Scores | ClassificationError) -> RoutingDecision:
        """Return the decision that an outcome of the classification makes.

        Raises:
            RoutingUnavailableError: `on_error` is `reject`, and the classifier has no answer.
        """
        case = pending.case
        if isinstance(outcome, ClassificationError):
            return self._failed(case, outcome)
        return self._decided(case, outcome, Source.CLASSIFIER)

    def readings(self, case: Case, conversation: Conversation) -> tuple[Reading, ...]:
        """Return what the classifier reads of a conversation; nothing where it cannot tell."""
        try:
            return readings_of(stand_in() or self.classifier, conversation, case.policy)
        except PlanoError:
            return ()

    def log_failure(self, error: ClassificationError) -> None:
        """Log why there is no classification."""
        get_logger().warning(
            CLASSIFIER_FAILED, error=type(error).__name__, detail=str(error), on_error=self.on_error.value
        )

    def _decided(self, case: Case, scores: Scores, source: Source) -> RoutingDecision:
        """Return the decision that scores make, its models in the order in which they are to be tried."""
        rules, policy = self._rules(), case.policy
        decision = decide(case.call, policy, scores, rules=rules, source=source, policy_source=case.policy_source)
        return self.selecting.ordered(decision, policy) if self.selecting else decision

    def _classify(
        self, asked: Classifier, key: bytes, conversation: Conversation, policy: RoutingPolicy, is_awaited: IsAwaited
    ) -> Scores:
        scores = trusted(asked.classify(conversation, policy, is_awaited=is_awaited), policy)
        if scores.failed_stage is not None:  # a better answer may be had the next time
            return scores
        try:
            self.cache.put(key, scores)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the answer is there
            get_logger().warning(CACHE_FAILED, error=type(error).__name__)
        return scores

    def _recalled(self, key: bytes) -> Scores | None:
        """Return the scores that the cache has; one that fails has none."""
        try:
            return self.cache.get(key)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the call can be classified
            get_logger().warning(CACHE_FAILED, error=type(error).__name__)
            return None

    def _rules(self) -> Rules:
        """Return how scores are read; those of a stand-in need no correction, which is the classifier's own."""
        return replace(self.rules, temperature=1.0) if stand_in() else self.rules

    def _failed(self, case: Case, error: ClassificationError) -> RoutingDecision:
        self.log_failure(error)
        if self.on_error is OnError.REJECT:
            raise RoutingUnavailableError("the router has no decision for this call now; try again shortly") from error
        return undecided(case.call, rules=self.rules, reason=Reason.ERROR, policy_source=case.policy_source)
