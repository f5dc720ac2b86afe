"""Prices out of the configuration, before those of another list."""

from collections.abc import Mapping

from plano_asgi.prices import Price, PriceList


class WrittenPrices:
    """A `PriceList` of what is written down; what is not there is asked of another one."""

    def __init__(self, written: Mapping[str, Price], *, otherwise: PriceList | None = None) -> None:
        """Keep the prices by qualified model."""
        self._written = dict(written)
        self._otherwise = otherwise

    def price_of(self, model: str) -> Price | None:
        """Return the price of a qualified model, None where nobody knows it."""
        if price := self._written.get(model):
            return price
        return self._otherwise.price_of(model) if self._otherwise else None
