"""The settings of what models cost."""

from typing import Annotated

from pydantic import Field, Strict

from plano_asgi.settings.section import Section

Amount = Annotated[float, Strict(), Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class PriceSettings(Section):
    """What a model costs, in USD for a million tokens; without the last two, cached tokens cost as much as any."""

    input: Amount
    output: Amount
    cache_read: Amount | None = None
    cache_write: Amount | None = None
