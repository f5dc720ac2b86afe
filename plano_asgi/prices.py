"""What models cost."""

from dataclasses import dataclass
from typing import Final, Protocol

MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs, in USD for a million tokens.

    Attributes:
        input: For what it reads.
        output: For what it writes, thoughts included.
        cache_read: For what it reads out of the provider's cache; None where that costs as much as anything it reads.
        cache_write: For what it reads and the provider then keeps; None where that costs no more.
    """

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None

    def cost(
        self, *, input_tokens: int, output_tokens: int = 0, cached_tokens: int = 0, cache_write_tokens: int = 0
    ) -> float:
        """Return what a call costs, in USD.

        Args:
            input_tokens: All that is read, `cached_tokens` and `cache_write_tokens` included.
            output_tokens: All that is written.
            cached_tokens: What of the former comes out of the cache.
            cache_write_tokens: What of it goes into the cache.
        """
        fresh = max(0, input_tokens - cached_tokens - cache_write_tokens)
        cache_read = self.input if self.cache_read is None else self.cache_read
        cache_write = self.input if self.cache_write is None else self.cache_write
        spent = fresh * self.input + cached_tokens * cache_read + cache_write_tokens * cache_write
        return (spent + output_tokens * self.output) / MILLION


class PriceList(Protocol):
    """Knows what models cost; answers at once, out of memory."""

    def price_of(self, model: str) -> Price | None:
        """Return the price of a qualified model, None where nobody knows it."""
