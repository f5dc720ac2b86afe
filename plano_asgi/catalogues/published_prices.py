"""The prices that providers publish, as the package genai-prices has collected them. Home of genai_prices."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from cachetools import LRUCache, cachedmethod

from plano_asgi.errors import MissingExtraError
from plano_asgi.prices import Price

try:
    from genai_prices.data_snapshot import DataSnapshot, get_snapshot
    from genai_prices.types import TieredPrices
except ModuleNotFoundError as error:
    raise MissingExtraError("prices", needed_for="published prices of models") from error

MOST_KEPT: Final = 4_096
_ITS_NAMES: Final[Mapping[str, str]] = MappingProxyType(  # where the package calls a provider by another name
    {
        "amazon": "aws",
        "amazon_bedrock": "aws",
        "azure_openai": "azure",
        "gemini": "google",
        "moonshot": "moonshotai",
        "together_ai": "together",
        "vertex": "google",
        "vertex_ai": "google",
        "xai": "x-ai",
        "zhipu": "zhipuai",
    }
)


class PublishedPrices:
    """A `PriceList` of what providers publish, as of the day the installed package was made; asks nobody.

    Where a price depends on how long a call is, it is that of a short one; where it depends on the time, that of when
    it was first asked for. Bounded by `MOST_KEPT` models.
    """

    def __init__(self, snapshot: DataSnapshot | None = None) -> None:
        """Read the package's list, or another snapshot of it."""
        self._snapshot = snapshot or get_snapshot()
        self._kept: LRUCache[str, Price | None] = LRUCache(MOST_KEPT)

    @cachedmethod(lambda self: self._kept)
    def price_of(self, model: str) -> Price | None:
        """Return the price of a qualified model, None where the list has none for both directions."""
        provider, _, name = model.partition("/")
        try:
            _, found = self._snapshot.find_provider_model(name, None, _ITS_NAMES.get(provider, provider), None)
        except LookupError:
            return None
        listed = found.get_prices(datetime.now(UTC))
        read, written = _amount(listed.input_mtok), _amount(listed.output_mtok)
        if read is None or written is None:
            return None
        return Price(
            input=read,
            output=written,
            cache_read=_amount(listed.cache_read_mtok),
            cache_write=_amount(listed.cache_write_mtok),
        )


def _amount(listed: Decimal | TieredPrices | None) -> float | None:
    if listed is None:
        return None
    return float(listed.base if isinstance(listed, TieredPrices) else listed)
