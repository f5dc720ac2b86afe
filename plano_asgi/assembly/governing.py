"""Settings to what callers may use, and how much of it."""

import secrets
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Final

from plano_asgi.events import PRICES_UNKNOWN, get_logger
from plano_asgi.govern import (
    NANODOLLARS,
    AllowList,
    CalendarWindow,
    Counters,
    Governor,
    Measure,
    MemoryCounters,
    Part,
    Period,
    Pseudonyms,
    Quota,
    Reach,
    Selector,
    SharedCounters,
    SlidingWindow,
    WhenSoft,
)
from plano_asgi.prices import PriceList
from plano_asgi.settings import Settings
from plano_asgi.settings.governance_schema import (
    BudgetSettings,
    LimitSettings,
    RateLimitSettings,
    ReachSettings,
    SelectorSettings,
)
from plano_asgi.tokens import TokenCounter

if TYPE_CHECKING:
    from plano_asgi.stores.redis_server import RedisServer

UNITS_S: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
LINGER_S: Final = 30.0  # after a call's last deadline, before what it holds is given back
ANY: Final = "*"


def build_governor(
    settings: Settings, *, prices: PriceList, redis: "RedisServer | None", tokens: TokenCounter | None = None
) -> Governor | None:
    """Return what holds callers to limits, budgets and allow-lists; None where there are none, or none acts."""
    is_asked_for = settings.ratelimits or settings.budgets or settings.allow_lists
    if settings.mode == "observe" or not is_asked_for:
        return None
    quotas = quotas_of(settings)
    come_later = any(source.type == "cost" for source in settings.model_metrics_sources)
    if not come_later and (
        unknown := unpriced(quotas, [provider.model for provider in settings.catalog.providers], prices)
    ):
        get_logger().warning(PRICES_UNKNOWN, models=list(unknown), advice="write them under prices; they count as free")
    return Governor(
        quotas=quotas,
        counters=_counters(settings, redis),
        allow_lists=tuple(
            AllowList(selector=_selector(written.selector), models=written.models, routes=written.routes)
            for written in settings.allow_lists
        ),
        prices=prices,
        pseudonyms=Pseudonyms(_hash_key(settings)),
        tokens=tokens or TokenCounter(),
        output_tokens=settings.governance.output_tokens if settings.mode == "forward" else None,
        lease_s=settings.forward.total_s + LINGER_S,
    )


def quotas_of(settings: Settings) -> tuple[Quota, ...]:
    """Return limits and budgets, the former first; in rewrite mode only those that count requests or input."""
    numbers = count(1)
    limits = [_limit(written, f"limit-{number}") for written, number in zip(settings.ratelimits, numbers, strict=False)]
    numbers = count(1)
    budgets = [_budget(written, f"budget-{number}") for written, number in zip(settings.budgets, numbers, strict=False)]
    if settings.mode == "forward":
        return (*limits, *budgets)
    return tuple(limit for limit in limits if limit.measure not in {Measure.OUTPUT_TOKENS, Measure.COST})


def _limit(written: RateLimitSettings, name: str) -> Quota:
    measure, amount = _amount(written.limit)
    return Quota(
        name=written.name or name,
        measure=measure,
        limit=amount,
        window=SlidingWindow(UNITS_S[written.limit.unit]),
        reach=_reach(written),
        per=tuple(map(Part, written.per)),
    )


def _amount(limit: LimitSettings) -> tuple[Measure, int]:
    if limit.cost is not None:
        return Measure.COST, _nanodollars(limit.cost)
    counted = (Measure.REQUESTS, Measure.TOKENS, Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS)
    return next((measure, amount) for measure in counted if (amount := getattr(limit, measure.value)) is not None)


def _budget(written: BudgetSettings, name: str) -> Quota:
    amount = _nanodollars(written.amount)
    return Quota(
        name=written.name or name,
        measure=Measure.COST,
        limit=amount,
        window=CalendarWindow(Period(written.period)),
        reach=_reach(written),
        per=tuple(map(Part, written.per)),
        soft=round(amount * written.soft),
        when_soft=WhenSoft(written.on_soft),
        status=written.status,
    )


def _nanodollars(dollars: float) -> int:
    return max(1, round(dollars * NANODOLLARS))


def _reach(written: ReachSettings) -> Reach:
    return Reach(
        model=written.model,
        provider=written.provider,
        route=written.route,
        selector=_selector(written.selector),
    )


def _selector(written: SelectorSettings | None) -> Selector | None:
    if written is None:
        return None
    is_any = written.value is None or written.value.reveal() == ANY
    return Selector(header=written.key, value=None if is_any else written.value)


def _counters(settings: Settings, redis: "RedisServer | None") -> Counters:
    own = MemoryCounters(most=settings.governance.counters)
    if settings.governance.store == "memory" or redis is None:
        return own
    from plano_asgi.govern.redis_counters import RedisCounters  # noqa: PLC0415 - only where the settings ask for it

    shared = RedisCounters(redis, prefix=f"{settings.redis.prefix}quota:")
    return SharedCounters(shared, otherwise=own if settings.governance.on_store_failure == "fail_open" else None)


def _hash_key(settings: Settings) -> bytes:
    """Return what callers' names are hashed with: the same in all processes that share counters."""
    if settings.governance.hash_key:
        return settings.governance.hash_key.reveal().encode()
    if settings.governance.store == "redis" and settings.redis.url:
        return settings.redis.url.reveal().encode()
    return secrets.token_bytes(32)


def unpriced(quotas: Sequence[Quota], models: Sequence[str], prices: PriceList) -> tuple[str, ...]:
    """Return the models that a budget or a limit of costs is for, and whose prices nobody knows."""
    of_costs = [quota for quota in quotas if quota.measure is Measure.COST]
    meant = (model for model in models if any(quota.reach.has_model(model) for quota in of_costs))
    return tuple(model for model in meant if prices.price_of(model) is None)
