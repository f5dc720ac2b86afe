"""What callers are told of the quotas that their call was counted against."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from types import MappingProxyType
from typing import Final, NamedTuple

from plano_asgi.conversation import ApiFormat
from plano_asgi.govern.counting import Standing
from plano_asgi.govern.quotas import Measure, Quota

_OPENAI_NAMES: Final[Mapping[Measure, str]] = MappingProxyType(
    {Measure.REQUESTS: "requests", Measure.TOKENS: "tokens", Measure.INPUT_TOKENS: "tokens"}
)
_ANTHROPIC_NAMES: Final[Mapping[Measure, str]] = MappingProxyType(
    {
        Measure.REQUESTS: "requests",
        Measure.TOKENS: "tokens",
        Measure.INPUT_TOKENS: "input-tokens",
        Measure.OUTPUT_TOKENS: "output-tokens",
    }
)


class Counted(NamedTuple):
    """A quota that a call was counted against: how it stood, and how much the call was to take."""

    quota: Quota
    standing: Standing
    amount: int

    @property
    def remaining(self) -> int:
        """What was left after the call, or as it was refused."""
        taken = self.standing.used + (self.amount if self.standing.wait_ms == 0 else 0)
        return max(0, self.quota.limit - taken)

    @property
    def is_soft_reached(self) -> bool:
        """Whether what is used now, the call's own estimate included, reaches the quota's soft limit."""
        return self.quota.soft is not None and self.standing.used + self.amount >= self.quota.soft

    @property
    def reset_s(self) -> int:
        """Seconds until all of it is there again."""
        return max(1, ceil(self.standing.reset_ms / 1000)) if self.standing.used else self.quota.window.seconds


def quota_headers(counted: Sequence[Counted], api_format: ApiFormat) -> list[tuple[str, str]]:
    """Return what the caller's SDK and the IETF's draft call the state of limits, and budgets that run low.

    `ratelimit-policy` and `ratelimit` are those of draft-ietf-httpapi-ratelimit-headers-09. Of several limits of one
    kind, an SDK is told the one with the least left. Costs are told only where a budget's soft limit is reached.
    """
    limits = [one for one in counted if one.quota.measure is not Measure.COST]
    headers = []
    if limits:
        headers.append(("ratelimit-policy", ", ".join(map(_policy, limits))))
        headers.append(("ratelimit", ", ".join(f'"{c.quota.name}";r={c.remaining};t={c.reset_s}' for c in limits)))
        headers += _anthropic(limits) if api_format is ApiFormat.MESSAGES else _openai(limits)
    low = [one for one in counted if one.is_soft_reached]
    if low:
        headers.append(("x-plano-budget", ", ".join(f'"{c.quota.name}";used={_share_used(c):.2f}' for c in low)))
    return headers


def _share_used(counted: Counted) -> float:
    return (counted.standing.used + counted.amount) / counted.quota.limit


def _policy(counted: Counted) -> str:
    quota = counted.quota
    unit = "" if quota.measure is Measure.REQUESTS else f';qu="{quota.measure.value}"'
    return f'"{quota.name}";q={quota.limit};w={quota.window.seconds}{unit}'


def _tightest(limits: Sequence[Counted], names: Mapping[Measure, str]) -> Iterator[tuple[str, Counted]]:
    for name in dict.fromkeys(names.values()):
        of_name = [one for one in limits if names.get(one.quota.measure) == name]
        if of_name:
            yield name, min(of_name, key=lambda one: one.remaining)


def _openai(limits: Sequence[Counted]) -> Iterator[tuple[str, str]]:
    for name, one in _tightest(limits, _OPENAI_NAMES):
        yield f"x-ratelimit-limit-{name}", str(one.quota.limit)
        yield f"x-ratelimit-remaining-{name}", str(one.remaining)
        yield f"x-ratelimit-reset-{name}", f"{one.reset_s}s"


def _anthropic(limits: Sequence[Counted]) -> Iterator[tuple[str, str]]:
    for name, one in _tightest(limits, _ANTHROPIC_NAMES):
        at = datetime.now(UTC) + timedelta(seconds=one.reset_s)
        yield f"anthropic-ratelimit-{name}-limit", str(one.quota.limit)
        yield f"anthropic-ratelimit-{name}-remaining", str(one.remaining)
        yield f"anthropic-ratelimit-{name}-reset", at.strftime("%Y-%m-%dT%H:%M:%SZ")
