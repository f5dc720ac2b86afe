"""Experiments: a share of sessions is decided in another way, or in two ways, of which one counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Final

from plano_asgi.classify import Classifier
from plano_asgi.classify.trusting import trusted
from plano_asgi.classify.warming import WARM_UP
from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import PolicySource, Reason, RoutingDecision, Source, Trial
from plano_asgi.errors import ClassificationError
from plano_asgi.events import EXPERIMENT_DIFFERS, get_logger
from plano_asgi.policy import Rules, place_of
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.router.classifications import Classifications
from plano_asgi.router.deciding import Case, Deciding, OnError, Pending
from plano_asgi.router.following import Followed
from plano_asgi.router.shadows import Shadows
from plano_asgi.router.stand_in import stand_in
from plano_asgi.router.waiting import wait_blocking

_SAME_IN_ALL_WORKERS: Final = b"plano-experiment"  # no secret: what it keys is never told
_KEY_DIGITS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Another way to decide.

    Attributes:
        name: What decisions and events call it.
        share: Share in (0, 1] of the sessions that it has; no session has two experiments.
        is_shadow: Whether what it decides is compared only, and not served.
        policy: Its policy.
        rules: How its scores are read.
        classifier: Its own classifier; None for the router's.
        deadline_ms: Milliseconds one of its classifications may take.
        workers: How many run side by side where its classifier is its own.
    """

    name: str
    share: float
    is_shadow: bool
    policy: RoutingPolicy
    rules: Rules
    classifier: Classifier | None = None
    deadline_ms: float
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """How one call is decided.

    Attributes:
        followed: The call, with the policy that counts.
        deciding: What decides it.
        trial: Which experiment it belongs to; None for none.
        shadow: What decides it a second time; None where nothing does.
    """

    followed: Followed
    deciding: Deciding
    trial: Trial | None = None
    shadow: Deciding | None = None


class Experiments:
    """Gives each call its arm. Sessions are dealt by a hash alone, so that all workers deal alike, and at any time.

    A session keeps its arm when the share of its experiment grows, if that is the first one.
    """

    def __init__(self, experiments: Sequence[Experiment], *, usual: Deciding, queue: int) -> None:
        """Take the experiments.

        Args:
            experiments: Them, each with the share of sessions after those before it.
            usual: What decides everything else.
            queue: Most classifications, and most second decisions, that wait.
        """
        self._usual = usual
        self._experiments = tuple(experiments)
        self._bounds = tuple(accumulate(experiment.share for experiment in experiments))
        self._deciding = tuple(_deciding(experiment, usual, queue=queue) for experiment in experiments)
        self._shadows = Shadows(most=queue)

    def arm_of(self, followed: Followed) -> Arm:
        """Return how a call is decided: as usual where it brings its own policy, or somebody stands in."""
        usual = Arm(followed=followed, deciding=self._usual)
        case = followed.case
        if not self._experiments or case.policy_source is PolicySource.INLINE or stand_in():
            return usual
        place = place_of(case.call, followed.turn, secret=_SAME_IN_ALL_WORKERS)
        if place is None or not _is_lasting(case.call):
            return usual
        drawn = share_of(place.key)
        for experiment, bound, deciding in zip(self._experiments, self._bounds, self._deciding, strict=True):
            if drawn < bound:
                trial = Trial(experiment=experiment.name, is_shadow=experiment.is_shadow)
                if experiment.is_shadow:
                    return replace(usual, trial=trial, shadow=deciding)
                if experiment.classifier:
                    trial = replace(trial, classifier=experiment.classifier.kind)
                own = followed._replace(case=Case(case.call, experiment.policy, case.policy_source))
                return Arm(followed=own, deciding=deciding, trial=trial)
        return usual

    def begin_shadow(self, arm: Arm, decided: RoutingDecision) -> None:
        """Have a call decided a second time, by its arm's shadow, later and elsewhere; returns at once.

        Args:
            arm: The call's arm.
            decided: What was decided by the conversation; a decision that its session had made before is not compared.
        """
        if arm.shadow and arm.trial and decided.source is not Source.SESSION and decided.reason is not Reason.ERROR:
            self._shadows.begin(partial(_compare, arm.trial.experiment, arm.shadow, arm.followed, decided))

    def reopen(self) -> None:
        """Take work again, where `close` was called before."""
        self._shadows.reopen()
        for deciding in self._apart():
            deciding.classifications.reopen()

    def warm_up(self) -> None:
        """Prepare the policies, and try the classifiers that are experiments' own; one that has no answer is logged.

        Raises:
            ArtifactError: A model file is missing or not the published one.
        """
        for experiment, deciding in zip(self._experiments, self._deciding, strict=True):
            try:
                deciding.classifier.prepare(deciding.policy)
                if experiment.classifier and deciding.policy.preferences:
                    trusted(experiment.classifier.classify(WARM_UP, deciding.policy), deciding.policy)
            except ClassificationError as error:
                deciding.log_failure(error)

    def close(self) -> None:
        """Drop what waits."""
        self._shadows.close()
        for deciding in self._apart():
            deciding.classifications.close()
        for experiment in self._experiments:
            if experiment.classifier:
                experiment.classifier.close()

    def _apart(self) -> list[Deciding]:
        return [own for own in self._deciding if own.classifications is not self._usual.classifications]


def _is_lasting(call: LLMCall) -> bool:
    """Return whether all calls of a session are known by the same; `previous_response_id` is another in each."""
    return call.previous_response is None or bool(call.affinity or call.stored_conversation)


def share_of(key: str) -> float:
    """Return where in [0, 1) a session stands among all, by its key of hex digits, which are a hash."""
    return int(key[:_KEY_DIGITS], 16) / 16**_KEY_DIGITS


def _deciding(experiment: Experiment, usual: Deciding, *, queue: int) -> Deciding:
    """Return what decides an experiment; shadows, and classifiers of its own, take no thread away from other calls."""
    is_apart = experiment.is_shadow or experiment.classifier is not None
    workers = 1 if experiment.is_shadow else experiment.workers
    return replace(
        usual,
        classifier=experiment.classifier or usual.classifier,
        policy=experiment.policy,
        rules=experiment.rules,
        deadline_ms=experiment.deadline_ms,
        classifications=Classifications(workers=workers, queue=queue) if is_apart else usual.classifications,
        on_error=OnError.DEFAULT if experiment.is_shadow else usual.on_error,
    )


def _compare(name: str, shadow: Deciding, followed: Followed, usual: RoutingDecision) -> None:
    """Decide a call once more, and log where that makes a difference."""
    case = Case(followed.case.call, shadow.policy, followed.case.policy_source)
    other = shadow.begin(case, followed.conversation)
    if isinstance(other, Pending):
        other = shadow.conclude(other, wait_blocking(other.scores, shadow.deadline_ms / 1000))
    if other.reason is Reason.ERROR or (other.route, other.models) == (usual.route, usual.models):
        return
    get_logger().info(
        EXPERIMENT_DIFFERS,
        experiment=name,
        route=usual.route,
        model=usual.would_use,
        confidence=_rounded(usual.confidence),
        other_route=other.route,
        other_model=other.would_use,
        other_confidence=_rounded(other.confidence),
    )


def _rounded(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 3)
