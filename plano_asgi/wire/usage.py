"""How many tokens a provider says it has read and written."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from plano_asgi.prices import Price

_READ: Final = ("input_tokens", "prompt_tokens", "inputTokens")
_WRITTEN: Final = ("output_tokens", "completion_tokens", "outputTokens")
_READ_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details")
_WRITTEN_DETAILS: Final = ("completion_tokens_details", "output_tokens_details")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the provider counts them; None where it has not said so yet.

    Attributes:
        input_tokens: What it has read so far, whether out of its cache or not.
        output_tokens: What it has written so far, thoughts included.
        cached_tokens: What of the input came out of its cache.
        cache_write_tokens: What of the input it has put there.
        reasoning_tokens: What of the output are thoughts.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    def cost_usd(self, price: Price | None) -> float | None:
        """Return what it costs in USD, to the billionth; None without a price, or where nothing read is counted."""
        if price is None or self.input_tokens is None:
            return None
        cost = price.cost(
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens or 0,
            cached_tokens=self.cached_tokens or 0,
            cache_write_tokens=self.cache_write_tokens or 0,
        )
        return round(cost, 9)

    def with_news(self, told: object) -> "Usage":
        """Return the usage with what a `usage` object of any of the APIs adds to it; other values add nothing.

        OpenAI counts cached tokens among those read, Anthropic and Bedrock beside them.
        """
        if not isinstance(told, Mapping):
            return self
        of_read, of_written = _details(told, _READ_DETAILS), _details(told, _WRITTEN_DETAILS)
        cached = _either(
            _count(told, "cache_read_input_tokens", "cacheReadInputTokens"),
            _count(of_read, "cached_tokens"),
            self.cached_tokens,
        )
        kept = _either(
            _count(told, "cache_creation_input_tokens", "cacheWriteInputTokens"),
            _count(of_read, "cache_write_tokens"),
            self.cache_write_tokens,
        )
        read = _count(told, *_READ)
        if read is not None and "prompt_tokens" not in told and not of_read:
            read += (cached or 0) + (kept or 0)
        thought = _either(_count(of_written, "reasoning_tokens"), _count(of_written, "thinking_tokens"))
        return replace(
            self,
            input_tokens=_either(read, self.input_tokens),
            output_tokens=_either(_count(told, *_WRITTEN), self.output_tokens),
            cached_tokens=cached,
            cache_write_tokens=kept,
            reasoning_tokens=_either(thought, self.reasoning_tokens),
        )


def _details(told: Mapping[str, object], names: tuple[str, ...]) -> Mapping[str, object]:
    found = (told.get(name) for name in names)
    return next((details for details in found if isinstance(details, Mapping)), {})


def _count(told: Mapping[str, object], *names: str) -> int | None:
    counts = (told.get(name) for name in names)
    return next((count for count in counts if isinstance(count, int) and not isinstance(count, bool)), None)


def _either(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)
