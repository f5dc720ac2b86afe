"""What it costs that a conversation changes hands: the cache that the provider of the model before keeps is lost."""

from dataclasses import dataclass

from plano_asgi.prices import Price
from plano_asgi.sessions import SwitchReason


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchBudget:
    """What a session has spent on switches, and what never to switch would have cost; in USD.

    Attributes:
        spent_usd: By switches so far.
        baseline_usd: By never switching so far.
    """

    spent_usd: float = 0.0
    baseline_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What prices say to a switch, and the budget after it."""

    reason: SwitchReason
    budget: SwitchBudget


def weighed(  # noqa: PLR0913 - the whole of what it depends on
    *,
    tokens: int,
    tokens_after: int | None = None,
    before: Price | None,
    after: Price | None,
    is_same: bool,
    is_warm: bool,
    budget: SwitchBudget,
    most_pct: float,
) -> Weighed:
    """Return whether a switch is worth its price: what it costs to read all anew, less what to go on would have cost.

    Together with what was spent it may be `most_pct` percent of what never to switch would have cost so far, this turn
    included. What costs nothing more is free. Without both prices nothing can be said, and nothing is forbidden.

    Args:
        tokens: Of the conversation, as the model that has it counts.
        tokens_after: As the model that would get it counts; None for the same.
        before: Of the model that has it.
        after: Of the model that would get it.
        is_same: Whether both are one.
        is_warm: Whether the provider's cache still holds what was said, since it begins as before.
        budget: What was spent so far.
        most_pct: 0 or more.
    """
    if before is None:
        return Weighed(reason=SwitchReason.SAME if is_same else SwitchReason.NO_PRICE, budget=budget)
    staying = before.cost(input_tokens=tokens, cached_tokens=tokens if is_warm else 0)
    baseline = budget.baseline_usd + staying
    stays = SwitchBudget(spent_usd=budget.spent_usd, baseline_usd=baseline)
    if is_same:
        return Weighed(reason=SwitchReason.SAME, budget=stays)
    if after is None:
        return Weighed(reason=SwitchReason.NO_PRICE, budget=stays)
    cost = after.cost(input_tokens=tokens if tokens_after is None else tokens_after) - staying
    if cost <= 0:
        return Weighed(reason=SwitchReason.FREE, budget=stays)
    spent = budget.spent_usd + cost
    if spent > baseline * most_pct / 100:
        return Weighed(reason=SwitchReason.OVER_BUDGET, budget=stays)
    return Weighed(reason=SwitchReason.WITHIN_BUDGET, budget=SwitchBudget(spent_usd=spent, baseline_usd=baseline))
