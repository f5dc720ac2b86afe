"""The settings of what callers may use, and how much of it."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, Strict, model_validator

from plano_asgi.settings.fields import HeaderName, QuotaName, RouteName, SecretText, Share, Text, fault
from plano_asgi.settings.section import Section

Amount = Annotated[int, Strict(), Field(ge=1, le=1_000_000_000_000)]
Dollars = Annotated[float, Strict(), Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Per = Literal["model", "provider", "route", "api_key", "address"]

_MEASURES: Final = ("requests", "tokens", "input_tokens", "output_tokens", "cost")


class SelectorSettings(Section):
    """Which callers something is for.

    Attributes:
        key: The name of a header.
        value: What it has to be; None or `*` for anything.
    """

    key: HeaderName
    value: SecretText | None = None


class LimitSettings(Section):
    """How much may be used in the latest so much time; one of the amounts.

    Attributes:
        requests: Calls.
        tokens: Tokens read and written.
        input_tokens: Tokens read.
        output_tokens: Tokens written.
        cost: What they cost, in USD.
        unit: The time.
    """

    requests: Amount | None = None
    tokens: Amount | None = None
    input_tokens: Amount | None = None
    output_tokens: Amount | None = None
    cost: Dollars | None = None
    unit: Literal["second", "minute", "hour", "day"]

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        """Return the limit unless it has none or several amounts."""
        if sum(getattr(self, name) is not None for name in _MEASURES) != 1:
            raise fault(
                "a limit is for one of requests, tokens, input_tokens, output_tokens and cost; write two limits"
            )
        return self


class ReachSettings(Section):
    """Which calls a limit or a budget is for, and which of them count together.

    Attributes:
        name: What callers and logs are told; None for its kind and number.
        model: Pattern of the models, with or without their provider.
        provider: Pattern of the providers.
        route: The route; None for all calls.
        selector: The callers; None for all.
        per: By what it is split, so that each has one of its own.
    """

    name: QuotaName | None = None
    model: Text = "*"
    provider: Text = "*"
    route: RouteName | None = None
    selector: SelectorSettings | None = None
    per: tuple[Per, ...] = ()


class RateLimitSettings(ReachSettings):
    """One limit; the form is Plano's, with more in it."""

    limit: LimitSettings


class BudgetSettings(ReachSettings):
    """How much may be spent in a period of the calendar, in UTC.

    Attributes:
        amount: USD.
        period: The period; a week begins on Monday.
        soft: Share in [0, 1] of it from which on `on_soft` holds.
        on_soft: Whether callers and the log are warned, or the cheapest model of a pool is also asked first.
        status: The HTTP status of a refusal once all of it is spent.
    """

    amount: Dollars
    period: Literal["day", "week", "month"]
    soft: Share = 0.8
    on_soft: Literal["warn", "cheapest"] = "warn"
    status: Literal[402, 429] = 429


class AllowListSettings(Section):
    """What some callers may use.

    Attributes:
        selector: The callers; None for all that no list before is for.
        models: Patterns of models, with or without their provider.
        routes: Patterns of routes.
    """

    selector: SelectorSettings | None = None
    models: tuple[Text, ...] = ("*",)
    routes: tuple[Text, ...] = ("*",)


class GovernanceSettings(Section):
    """How limits and budgets are counted.

    Attributes:
        store: Whether in each process by itself, or in Redis by all of them.
        on_store_failure: Whether, without Redis, each process counts by itself or calls are refused.
        output_tokens: What an answer is thought to take whose call does not limit it.
        counters: Most counters in a process's memory.
        hash_key: What callers' keys, headers and addresses are hashed with; None for one made of `redis.url`, or in
            memory a random one.
    """

    store: Literal["memory", "redis"] = "memory"
    on_store_failure: Literal["fail_open", "fail_closed"] = "fail_open"
    output_tokens: Annotated[int, Strict(), Field(ge=0, le=10_000_000)] = 1024
    counters: Annotated[int, Strict(), Field(ge=1, le=10_000_000)] = 100_000
    hash_key: SecretText | None = None
