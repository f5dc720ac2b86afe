"""Quotas: how much of what may be used, in which time, and whose calls count together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType
from typing import Final, NamedTuple

from plano_asgi.govern.callers import Caller, Pseudonyms, Selector
from plano_asgi.govern.counting import MOST_AMOUNT
from plano_asgi.govern.windows import Window
from plano_asgi.prices import Price
from plano_asgi.providers import bare_model
from plano_asgi.wire.usage import Usage

NANODOLLARS: Final = 1_000_000_000  # of one USD: what costs are counted in


class Measure(StrEnum):
    """What is counted."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    TOKENS = "tokens"
    COST = "cost"


class Part(StrEnum):
    """By what a quota is split, so that each has one of its own."""

    MODEL = "model"
    PROVIDER = "provider"
    ROUTE = "route"
    API_KEY = "api_key"
    ADDRESS = "address"


OF_THE_MODEL: Final = frozenset({Part.MODEL, Part.PROVIDER})


class WhenSoft(StrEnum):
    """What happens once a budget's soft limit is reached."""

    WARN = "warn"
    CHEAPEST = "cheapest"


def model_matches(pattern: str, model: str) -> bool:
    """Return whether a pattern fits a qualified model, with its provider or by its own name alone."""
    return fnmatchcase(model, pattern) or fnmatchcase(bare_model(model), pattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which calls a quota is for.

    Attributes:
        model: Pattern of the models, with or without their provider.
        provider: Pattern of the providers.
        route: The route; None for all calls.
        selector: The callers; None for all.
    """

    model: str = "*"
    provider: str = "*"
    route: str | None = None
    selector: Selector | None = None

    @property
    def is_of_models(self) -> bool:
        """Whether it depends on the model that is asked."""
        return self.model != "*" or self.provider != "*"

    def has_call(self, caller: Caller, route: str | None) -> bool:
        """Return whether it is for a call, if its model is one of those meant."""
        is_routed = self.route is None or self.route == route
        return is_routed and (self.selector is None or self.selector.admits(caller))

    def has_model(self, model: str) -> bool:
        """Return whether it is for a qualified model."""
        return (self.model == "*" or model_matches(self.model, model)) and (
            self.provider == "*" or fnmatchcase(model.partition("/")[0], self.provider)
        )


@dataclass(frozen=True, kw_only=True)
class Quota:
    """How much may be used in a window.

    Attributes:
        name: What callers and logs are told.
        measure: What is counted.
        limit: Most of it; a cost is in billionths of a USD.
        window: The time that it is for.
        reach: Which calls it is for.
        per: By what it is split; a selector without a value splits it by the header's values too.
        soft: The amount from which on callers are warned, or cheaper models preferred; None for never.
        when_soft: Which of the two.
        status: The HTTP status of a refusal.
    """

    name: str
    measure: Measure
    limit: int
    window: Window
    reach: Reach = field(default_factory=Reach)
    per: tuple[Part, ...] = ()
    soft: int | None = None
    when_soft: WhenSoft = WhenSoft.WARN
    status: int = 429

    @property
    def is_of_models(self) -> bool:
        """Whether another model may be within it where one is not."""
        return self.reach.is_of_models or self.measure is Measure.COST or not OF_THE_MODEL.isdisjoint(self.per)

    @cached_property
    def ident(self) -> str:
        """What tells its counters from those of all other quotas, in every process; the amounts may change."""
        reach, selector = self.reach, self.reach.selector
        callers = (
            (selector.header, Pseudonyms(b"").of(selector.value.reveal() if selector.value else "")) if selector else ()
        )
        parts = (self.measure, repr(self.window), reach.model, reach.provider, reach.route, callers, self.per)
        return sha256(repr((self.name, *map(str, parts))).encode()).hexdigest()[:16]

    def subjects(self, caller: Caller, *, model: str, route: str | None) -> tuple[tuple[str, ...], ...]:
        """Return what tells the calls that share a counter from those that do not.

        Where it is split by API keys, a call that shows several of them counts against each.
        """
        selector = self.reach.selector
        header = (caller.header(selector.header),) if selector and selector.value is None else ()
        if Part.API_KEY not in self.per:
            return ((*header, *[_PARTS[part](caller, model, route or "", "") for part in self.per]),)
        return tuple(
            [
                (*header, *[_PARTS[part](caller, model, route or "", key) for part in self.per])
                for key in caller.api_keys
            ]
        )


_PARTS: Final[Mapping[Part, Callable[[Caller, str, str, str], str]]] = MappingProxyType(
    {
        Part.MODEL: lambda caller, model, route, key: model,  # noqa: ARG005 - each takes what all are given
        Part.PROVIDER: lambda caller, model, route, key: model.partition("/")[0],  # noqa: ARG005 - same
        Part.ROUTE: lambda caller, model, route, key: route,  # noqa: ARG005 - same
        Part.API_KEY: lambda caller, model, route, key: key,  # noqa: ARG005 - same
        Part.ADDRESS: lambda caller, model, route, key: caller.network,  # noqa: ARG005 - same
    }
)


class Use(NamedTuple):
    """What one call uses, as it is estimated or as it was.

    Attributes:
        requests: 1, or 0 for a call that was not served.
        input_tokens: What is read.
        output_tokens: What is written.
        cost: In billionths of a USD; 0 where nobody knows the model's price.
    """

    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0

    @property
    def tokens(self) -> int:
        """What is read and written."""
        return self.input_tokens + self.output_tokens

    def of(self, measure: Measure) -> int:
        """Return how much of a measure it is, from 0 to 2**50."""
        amount: int = getattr(self, measure)  # whose text is the attribute's name
        return 0 if amount < 0 else min(amount, MOST_AMOUNT)


def use_of(usage: Usage, price: Price | None) -> Use:
    """Return what a call uses by its tokens; those that nobody has counted are none."""
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    if price is None:
        return Use(input_tokens=read, output_tokens=written)
    cost = replace(usage, input_tokens=read).cost_usd(price) or 0.0
    return Use(input_tokens=read, output_tokens=written, cost=round(cost * NANODOLLARS))
