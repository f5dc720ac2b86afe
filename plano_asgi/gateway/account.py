"""What is known of one call that we serve ourselves, from its beginning to its end."""

from dataclasses import dataclass, field, replace
from time import perf_counter

from plano_asgi.conversation import ApiFormat
from plano_asgi.decisions import Attempt, RoutingDecision
from plano_asgi.errors import NotAllowedError
from plano_asgi.govern import Admission, AllowList, fit_allow_list, quota_headers
from plano_asgi.observe import CallOutcome, ObservedCall
from plano_asgi.providers import ModelCatalog
from plano_asgi.upstream import ForwardedAnswer
from plano_asgi.wire.answer_facts import AnswerFacts
from plano_asgi.wire.usage import Usage


@dataclass(slots=True, kw_only=True)
class Account:
    """One call so far; belongs to that call alone.

    Attributes:
        decision: Where the call goes, as its caller may know; None until that is decided.
        refused: Where it would have gone, had its caller been allowed to use that; None where it is.
        trail: Every model that was asked, in order.
        admission: What was counted against limits and budgets; None where there are none.
        cost_usd: What the call has cost so far; None where nobody knows.
        answer: What the caller is given; None where that is an error of ours.
        status: HTTP status of the answer, once it has begun.
        is_complete: Whether the caller has been given all of it.
        is_stream: Whether the caller asks for a stream.
        started: When the call came, by `time.perf_counter`.
        first_word_s: Seconds until the first word of a stream; None where it was no stream, or had none.
        observed: Who watches the call; None until it is being served.
    """

    decision: RoutingDecision | None = None
    refused: RoutingDecision | None = None
    trail: list[Attempt] = field(default_factory=list)
    admission: Admission | None = None
    cost_usd: float | None = None
    answer: ForwardedAnswer | None = None
    status: int | None = None
    is_complete: bool = False
    is_stream: bool = False
    started: float = field(default_factory=perf_counter)
    first_word_s: float | None = None
    observed: ObservedCall | None = None

    def fitted(self, decision: RoutingDecision, *, allowed: AllowList, catalog: ModelCatalog) -> RoutingDecision:
        """Return a decision with only what the caller may use; one of which nothing is left is noted as refused.

        Raises:
            NotAllowedError: Nothing is left; the caller is not told of what.
        """
        try:
            fitted = fit_allow_list(decision, allowed, catalog=catalog)
        except NotAllowedError:
            self.decision, self.refused = None, decision
            raise
        self.refused = None
        return fitted

    @property
    def served(self) -> RoutingDecision | None:
        """The decision, with who has answered and every attempt."""
        if self.decision is None:
            return None
        served_by = self.answer.model if self.answer else None
        return replace(self.decision, served_by=served_by, attempts=tuple(self.trail))

    @property
    def duration_s(self) -> float:
        """Seconds since the call came."""
        return perf_counter() - self.started

    @property
    def outcome(self) -> CallOutcome:
        """What has come of the call, now that it is over."""
        return CallOutcome(
            decision=self.served or self.refused,
            status=self.status,
            end=self.end,
            usage=self.usage,
            losses=self.losses,
            first_word_s=self.first_word_s,
            duration_s=self.duration_s,
            facts=self.answer.facts() if self.answer else AnswerFacts(),
        )

    @property
    def end(self) -> str:
        """How the call has ended, in a word."""
        if self.answer and self.answer.pieces.failure:
            return self.answer.pieces.failure.value
        return "complete" if self.is_complete else "abandoned"

    @property
    def usage(self) -> Usage:
        """The tokens that the provider has counted so far."""
        return self.answer.pieces.usage if self.answer else Usage()

    @property
    def losses(self) -> tuple[str, ...]:
        """What was lost between the caller's API and the provider's, each with its reason."""
        return tuple(dict.fromkeys((*self.answer.losses, *self.answer.pieces.losses))) if self.answer else ()

    def quotas_told(self, api_format: ApiFormat) -> list[tuple[str, str]]:
        """Return the headers by which callers of an API are told of limits and budgets."""
        return quota_headers(self.admission.counted, api_format) if self.admission else []
