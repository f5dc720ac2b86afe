"""What callers are told, in the headers of an answer, of a call that we serve."""

from collections.abc import Iterable
from typing import Final, Protocol

from plano_asgi.conversation import ApiFormat
from plano_asgi.decisions import RoutingDecision
from plano_asgi.intake.rewriting import RawHeaders, decision_headers, losses_headers
from plano_asgi.settings import Settings

COST_HEADER: Final = b"x-plano-cost"


class Told(Protocol):
    """What is known of a call, as far as callers may be told of it."""

    @property
    def served(self) -> RoutingDecision | None:
        """The decision, and what has come of it."""

    @property
    def cost_usd(self) -> float | None:
        """What the call has cost so far."""

    @property
    def losses(self) -> tuple[str, ...]:
        """What was lost in translation."""

    def quotas_told(self, api_format: ApiFormat) -> list[tuple[str, str]]:
        """Return the headers of limits and budgets."""


def headers_told(account: Told, api_format: ApiFormat, settings: Settings) -> RawHeaders:
    """Return what a caller of an API is told of a call that we serve; of losses, whatever the settings say."""
    told = RawHeaders()
    if settings.response_headers:
        told += decision_headers(account.served) if account.served else []
        told += as_raw(account.quotas_told(api_format))
        told += [(COST_HEADER, f"{account.cost_usd:.9f}".encode())] if account.cost_usd is not None else []
    return [*told, *losses_headers(account.losses)]


def told_instead(headers: RawHeaders, ours: RawHeaders) -> RawHeaders:
    """Return headers with ours in place of those of the same name."""
    names = {name for name, _ in ours}
    return [*((name, value) for name, value in headers if name.lower() not in names), *ours]


def as_raw(headers: Iterable[tuple[str, str]]) -> RawHeaders:
    """Return headers as they are sent; a character that no header can hold is a question mark."""
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
