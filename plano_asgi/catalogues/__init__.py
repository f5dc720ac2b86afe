"""What others publish about models, at hand without asking anybody."""

from plano_asgi.catalogues.written_prices import WrittenPrices

__all__ = ["WrittenPrices"]
