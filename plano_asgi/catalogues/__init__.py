"""What others publish about models, at hand without asking anybody while a call waits."""

from plano_asgi.catalogues.source_prices import SourcePrices
from plano_asgi.catalogues.source_values import SourceValues
from plano_asgi.catalogues.written_prices import WrittenPrices

__all__ = ["SourcePrices", "SourceValues", "WrittenPrices"]
