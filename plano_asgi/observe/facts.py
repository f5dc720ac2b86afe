"""What is known of a call that we have served ourselves, once it is over."""

from dataclasses import dataclass, field, replace

from plano_asgi.decisions import RoutingDecision
from plano_asgi.prices import PriceList
from plano_asgi.wire.answer_facts import AnswerFacts
from plano_asgi.wire.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """How a served call has ended.

    Attributes:
        decision: Where it went, with every attempt; None where it could not be decided.
        status: HTTP status that the caller was given; None where the caller had gone before.
        end: How it ended, in a word: `complete`, `abandoned`, or what broke the answer off.
        usage: The tokens that the provider has counted.
        losses: What was lost between the caller's API and the provider's, each with its reason.
        first_word_s: Seconds from the call to the first word of its stream; None where it was no stream, or had none.
        duration_s: Seconds from the call to its end.
        cost_usd: What it has cost; None where nobody knows.
        facts: What the provider has said of its answer.
    """

    decision: RoutingDecision | None
    status: int | None
    end: str
    usage: Usage
    losses: tuple[str, ...]
    first_word_s: float | None
    duration_s: float
    cost_usd: float | None = None
    facts: AnswerFacts = field(default_factory=AnswerFacts)

    def priced(self, prices: PriceList) -> "CallOutcome":
        """Return the outcome with what the call has cost, where price and tokens are known."""
        model = self.decision and self.decision.served_by
        return replace(self, cost_usd=self.usage.cost_usd(prices.price_of(model) if model else None))

    @property
    def error(self) -> str | None:
        """What went wrong, in a word; None where nothing did, or the caller had simply gone."""
        if self.end not in {"complete", "abandoned"}:
            return self.end
        has_failed = self.status is not None and self.status >= 400  # noqa: PLR2004 - HTTP errors begin there
        return str(self.status) if has_failed else None
