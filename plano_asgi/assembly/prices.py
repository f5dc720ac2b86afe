"""Settings to what models cost."""

from importlib.util import find_spec

from plano_asgi.catalogues import WrittenPrices
from plano_asgi.prices import PriceList
from plano_asgi.settings import Settings


def build_prices(settings: Settings) -> PriceList:
    """Return the prices that are written down, then those that providers publish, where the extra is installed."""
    published: PriceList | None = None
    if find_spec("genai_prices"):
        from plano_asgi.catalogues.published_prices import PublishedPrices  # noqa: PLC0415 - only where it is installed

        published = PublishedPrices()
    return WrittenPrices(settings.prices, otherwise=published)
