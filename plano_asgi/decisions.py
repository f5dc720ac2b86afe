"""The outcome: what a classifier thinks, and where a call goes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from plano_asgi.sessions import SessionStanding


class Reason(StrEnum):
    """Why a call goes where it goes."""

    MATCHED = "matched"
    NO_MATCH = "no_match"
    BYPASSED = "bypassed"
    NOT_APPLICABLE = "not_applicable"
    FORMAT = "format"
    CAPABILITY = "capability"
    NOT_ALLOWED = "not_allowed"
    ERROR = "error"


class Source(StrEnum):
    """Who said so."""

    CLASSIFIER = "classifier"
    CACHE = "cache"
    SESSION = "session"
    NONE = "none"


class PolicySource(StrEnum):
    """Where the policy in force came from."""

    CONFIG = "config"
    INLINE = "inline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Calibrated probabilities of one classification; they sum to 1.

    Attributes:
        routes: Probability in [0, 1] of each route of the policy, in its order.
        other: Probability in [0, 1] that none of them fits.
        threshold: Least confidence in [0, 1] that selects a route by these scores; None for that of the rules.
        stage: Which classifier of a cascade gave them; None where there is one alone.
        failed_stage: Which was asked for better ones and had no answer; None where none was.
    """

    routes: Mapping[str, float]
    other: float
    threshold: float | None = None
    stage: str | None = None
    failed_stage: str | None = None

    def __post_init__(self) -> None:
        """Freeze the mapping."""
        object.__setattr__(self, "routes", MappingProxyType(dict(self.routes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call to one model provider, where we make it ourselves.

    Attributes:
        model: The qualified model that was asked.
        outcome: `answered`, or a word for what went wrong, e.g. `rate_limited`.
        status: HTTP status of the provider's answer; None where there was none.
        duration_ms: Milliseconds until the answer began or the attempt failed.
    """

    model: str
    outcome: str
    status: int | None = None
    duration_ms: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a call has to do with an experiment.

    Attributes:
        experiment: Its name.
        is_shadow: Whether the call was decided as usual, and by the experiment as well, for comparison only.
        classifier: Which kind has decided instead of the usual one; None where the usual one has.
    """

    experiment: str
    is_shadow: bool
    classifier: str | None = None

    @property
    def arm(self) -> str:
        """`variant` where the experiment has decided, `shadow` where it decides without effect."""
        return "shadow" if self.is_shadow else "variant"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingDecision:
    """Where one call goes.

    Attributes:
        route: The matched route's name, or None.
        models: Qualified models of the route, the first to be tried first; empty when none matched.
        would_use: The model a served call would get; None when the client's own choice stands and it made none.
        reason: Why.
        source: Who said so.
        policy: Where the policy in force came from.
        confidence: Probability in [0, 1] of `route`, or of the best one that missed; None when nothing was classified.
        scores: What the classifier thinks; None when nothing was classified.
        threshold: The least confidence in [0, 1] that would have matched; None when nothing was classified.
        latency_ms: Milliseconds from call to decision.
        served_by: The model that really answered, where we call the provider ourselves; None where none did.
        attempts: Every model that was asked, in order, where we call the provider ourselves.
        session: What the call's session has to do with it; None where it belongs to none.
        trial: Which experiment the call belongs to; None where it belongs to none.
    """

    route: str | None
    models: tuple[str, ...]
    would_use: str | None
    reason: Reason
    source: Source
    policy: PolicySource
    confidence: float | None = None
    scores: Scores | None = None
    threshold: float | None = None
    latency_ms: float = field(default=0.0, compare=False)
    served_by: str | None = None
    attempts: tuple[Attempt, ...] = ()
    session: SessionStanding | None = None
    trial: Trial | None = None

    @property
    def is_clients_choice(self) -> bool:
        """Whether the client chooses the model: it asked not to be routed, or named one that is not routed."""
        return self.reason in {Reason.BYPASSED, Reason.NOT_APPLICABLE}

    def decided_by(self, usual: str) -> str:
        """Return which kind of classifier decides: that of its experiment where that has its own, else the usual."""
        return (self.trial and self.trial.classifier) or usual

    @property
    def stage(self) -> str | None:
        """Which classifier of a cascade answered; None where there is one alone, or nothing was classified."""
        return self.scores.stage if self.scores else None

    @property
    def failed_stage(self) -> str | None:
        """Which one should have answered and could not, so that the answer of `stage` stands; None if none failed."""
        return self.scores.failed_stage if self.scores else None


def attempts_told(attempts: Iterable[Attempt]) -> str:
    """Return attempts as one line: `openai/gpt-4o;outcome=rate_limited;status=429;ms=12, ...`."""
    return ", ".join(
        f"{attempt.model};outcome={attempt.outcome}"
        f"{f';status={attempt.status}' if attempt.status else ''};ms={attempt.duration_ms:.0f}"
        for attempt in attempts
    )
