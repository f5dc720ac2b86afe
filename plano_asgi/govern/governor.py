"""`Governor`: what callers may use, and how much of it. `Admission`: one call against all that."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil, inf
from typing import Final

from plano_asgi.errors import CallError, QuotaError
from plano_asgi.events import BUDGET_LOW, LIMIT_HIT, get_logger
from plano_asgi.govern.allow_lists import AllowList, allow_list_of
from plano_asgi.govern.callers import Caller, Pseudonyms
from plano_asgi.govern.counting import MOST_AMOUNT, Charge, Counters, Hold, Ruling, Settlement
from plano_asgi.govern.estimates import output_estimate
from plano_asgi.govern.quotas import Measure, Quota, Use, WhenSoft, use_of
from plano_asgi.govern.told import Counted
from plano_asgi.off_the_loop import off_the_loop
from plano_asgi.prices import PriceList
from plano_asgi.providers import ModelProvider
from plano_asgi.stores import MemoryStore
from plano_asgi.tokens import TokenCounter, said_in
from plano_asgi.wire import JsonDocument
from plano_asgi.wire.usage import Usage

NEWS_S: Final = 3_600.0  # a budget that runs low is news to the log once in so long

_NOTHING: Final = Usage(input_tokens=0, output_tokens=0)
_FREE: Final = Use(requests=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Governor:
    """What callers may use, and how much of it.

    Attributes:
        quotas: How much.
        counters: What is counted against them.
        allow_lists: What callers may use; everything where there are none.
        prices: What models cost.
        tokens: What counts how much a model has to read.
        pseudonyms: What callers are called where they are counted.
        output_tokens: What an answer is thought to take whose call does not limit it; None where answers are not seen,
            and only what is read is counted.
        lease_s: Seconds after which what a call holds is given back, where nobody has settled it.
        news: Which budgets the log has lately been told of.
    """

    quotas: tuple[Quota, ...]
    counters: Counters
    allow_lists: tuple[AllowList, ...]
    prices: PriceList
    pseudonyms: Pseudonyms = field(repr=False)
    tokens: TokenCounter = field(default_factory=TokenCounter)
    output_tokens: int | None = 1024
    lease_s: float = 630.0
    news: MemoryStore[str, bool] = field(default_factory=lambda: MemoryStore(size=10_000, ttl_s=NEWS_S))

    def allowed(self, caller: Caller) -> AllowList:
        """Return what a caller may use.

        Raises:
            NotAllowedError: There are allow-lists, and none is for it.
        """
        return allow_list_of(caller, self.allow_lists)

    async def admission(
        self, caller: Caller, document: JsonDocument, *, route: str | None, models: Sequence[str]
    ) -> "Admission":
        """Return what counts a call on a route that some qualified models may be asked; nothing is held yet."""
        quotas = tuple([quota for quota in self.quotas if quota.reach.has_call(caller, route)])
        is_counted = any(quota.measure is not Measure.REQUESTS for quota in quotas)
        estimates = await self._estimates(document, models) if is_counted else {}
        return Admission(self, caller, estimates, quotas, route=route)

    async def _estimates(self, document: JsonDocument, models: Sequence[str]) -> Mapping[str, Usage]:
        """Return what a call is thought to use of each model."""
        said = await off_the_loop(partial(said_in, document.value), size=len(document.data))
        counts = await self.tokens.acounts(said, models)
        written = 0 if self.output_tokens is None else output_estimate(document.value, otherwise=self.output_tokens)
        return {
            model: Usage(input_tokens=min(count, MOST_AMOUNT), output_tokens=written) for model, count in counts.items()
        }


class Admission:
    """One call against the quotas that it falls under; belongs to that call alone."""

    def __init__(
        self,
        governor: Governor,
        caller: Caller,
        estimates: Mapping[str, Usage],
        quotas: tuple[Quota, ...],
        *,
        route: str | None,
    ) -> None:
        """Start before the first model is asked; holds nothing yet."""
        self._governor = governor
        self._caller = caller
        self._estimates = estimates
        self._quotas = quotas
        self._route = route
        self._held: tuple[tuple[Hold, Measure], ...] = ()
        self._model = ""
        self._refusal: CallError | None = None
        self.counted: tuple[Counted, ...] = ()

    async def preferred(self, pool: tuple[ModelProvider, ...], *, among: Collection[str]) -> tuple[ModelProvider, ...]:
        """Return those who may serve the call in the order in which to ask: the cheapest first, where a budget asks so.

        One more question to the counters, where such a budget covers the call.

        Args:
            pool: Who may serve it.
            among: The qualified models that are each as good as the other; the rest stay last resorts.
        """
        alike = [provider for provider in pool if provider.model in among]
        thrifty = [quota for quota in self._quotas if quota.when_soft is WhenSoft.CHEAPEST and quota.soft is not None]
        if not thrifty or len(alike) < 2:  # noqa: PLR2004 - one alone is the cheapest
            return pool
        charged = self._charged(thrifty, pool[0].model, _FREE)
        quotas, charges = [quota for quota, _ in charged], [charge for _, charge in charged]
        try:
            ruling = await self._governor.counters.reserve(charges, lease_ms=0)
        except QuotaError:  # is told where it matters, as the first model is asked
            return pool
        pairs = zip(quotas, ruling.standings, strict=True)
        if not any(standing.used >= quota.soft for quota, standing in pairs if quota.soft is not None):
            return pool
        rest = (provider for provider in pool if provider not in alike)
        return (*sorted(alike, key=lambda provider: self._cost(provider.model)), *rest)

    async def admit(self, model: str, *, is_final: bool = False) -> CallError | None:
        """Return why a qualified model may not be asked now; else hold what asking it is thought to take.

        What was held for another model before is given back in the same step.

        Args:
            model: Who is to be asked.
            is_final: Whether what is held is charged for good, since nobody will tell what was really used.
        """
        if self._refusal:
            return self._refusal
        use = use_of(self._estimate(model), self._governor.prices.price_of(model))
        charged = self._charged(self._quotas, model, use)
        quotas, charges = [quota for quota, _ in charged], [charge for _, charge in charged]
        before, self._held = self._held, ()
        if not charges and not before:
            return None
        try:
            ruling = await self._governor.counters.reserve(
                charges,
                lease_ms=0 if is_final else round(self._governor.lease_s * 1000),
                settling=[Settlement(hold, 0) for hold, _ in before],
            )
        except QuotaError as error:
            self._refusal = error
            return error
        return self._ruled(quotas, charges, ruling, model)

    async def settle(self, usage: Usage | None, *, written: int | None = None) -> None:
        """Count what was really used; also when the call is cancelled, and only the first time.

        Args:
            usage: What the provider has counted, the estimate standing for what it has not; None for a call that was
                not served, which has used nothing.
            written: What the answer is thought to have taken where the provider does not say.
        """
        held, self._held = self._held, ()
        if not held:
            return
        use = _FREE
        if usage is not None:
            estimate = self._estimate(self._model)
            most = estimate.output_tokens or 0
            likely = most if written is None else min(written, most)
            whole = Usage(
                input_tokens=estimate.input_tokens if usage.input_tokens is None else usage.input_tokens,
                output_tokens=likely if usage.output_tokens is None else usage.output_tokens,
                cached_tokens=usage.cached_tokens,
                cache_write_tokens=usage.cache_write_tokens,
            )
            use = use_of(whole, self._governor.prices.price_of(self._model))
        await self._governor.counters.settle([Settlement(hold, use.of(measure)) for hold, measure in held])

    def _charged(self, quotas: Sequence[Quota], model: str, use: Use) -> list[tuple[Quota, Charge]]:
        """Return what a model's use takes of each quota that is for it, once for each that it counts against."""
        name = self._governor.pseudonyms.of
        return [
            (
                quota,
                Charge(
                    key=f"{quota.ident}:{name(*subject)}",
                    window=quota.window,
                    limit=quota.limit,
                    amount=use.of(quota.measure),
                ),
            )
            for quota in quotas
            if quota.reach.has_model(model)
            for subject in quota.subjects(self._caller, model=model, route=self._route)
        ]

    def _ruled(
        self, quotas: Sequence[Quota], charges: Sequence[Charge], ruling: Ruling, model: str
    ) -> CallError | None:
        every = [
            Counted(quota, standing, charge.amount)
            for quota, standing, charge in zip(quotas, ruling.standings, charges, strict=True)
        ]
        self.counted = _tightest(every)
        if ruling.holds is not None:
            self._model = model
            self._held = tuple([(hold, quota.measure) for hold, quota in zip(ruling.holds, quotas, strict=True)])
            self._tell_of_low_budgets(every, charges)
            return None
        refused = [counted for counted in every if counted.standing.wait_ms != 0]
        for counted in refused:
            get_logger().debug(LIMIT_HIT, limit=counted.quota.name, measure=counted.quota.measure.value)
        hardest = max(refused, key=lambda one: inf if one.standing.wait_ms is None else one.standing.wait_ms)
        error = _refusal_by(hardest)
        if any(not counted.quota.is_of_models for counted in refused):
            self._refusal = error
        return error

    def _tell_of_low_budgets(self, counted: Sequence[Counted], charges: Sequence[Charge]) -> None:
        news = self._governor.news
        for one, charge in zip(counted, charges, strict=True):
            if one.is_soft_reached and not news.get(charge.key):
                news.put(charge.key, True)  # noqa: FBT003 - that it was told
                used = round((one.standing.used + one.amount) / one.quota.limit, 3)
                get_logger().warning(BUDGET_LOW, budget=one.quota.name, used=used)

    def _cost(self, model: str) -> float:
        price = self._governor.prices.price_of(model)
        return use_of(self._estimate(model), price).cost if price else inf

    def _estimate(self, model: str) -> Usage:
        """Return what a call is thought to use of a model; of one that was not foreseen, as much as of the first."""
        return self._estimates.get(model) or next(iter(self._estimates.values()), _NOTHING)


def _tightest(counted: Sequence[Counted]) -> tuple[Counted, ...]:
    """Return one for each quota: of those with several counters the one with the least left."""
    if len(counted) == 1:
        return (counted[0],)
    least: dict[int, Counted] = {}
    for one in counted:
        known = least.setdefault(id(one.quota), one)
        if one.remaining < known.remaining:
            least[id(one.quota)] = one
    return tuple(least.values())


def _refusal_by(counted: Counted) -> QuotaError:
    quota, wait_ms = counted.quota, counted.standing.wait_ms
    is_budget = quota.measure is Measure.COST
    if wait_ms is None:
        message = (
            f'this call alone asks for more than "{quota.name}" allows ({quota.measure.value} in {quota.window.seconds}'
            " s); shorten it, or lower the most that it lets the model write"
        )
        return QuotaError(message, status=quota.status, code="call_over_limit")
    wait_s = max(1, ceil(wait_ms / 1000))
    kind, code = ("budget", "budget_exceeded") if is_budget else ("limit", "rate_limit_exceeded")
    message = f'the {kind} "{quota.name}" is used up ({quota.measure.value}); there is room in {wait_s} s at the latest'
    return QuotaError(message, status=quota.status, code=code, retry_after_s=wait_s)
