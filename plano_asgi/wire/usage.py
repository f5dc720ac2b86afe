"""How many tokens a provider says it has read and written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_READ: Final = ("input_tokens", "prompt_tokens")
_WRITTEN: Final = ("output_tokens", "completion_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the provider counts them; None where it has not said so yet.

    Attributes:
        input_tokens: What it has read; whether that includes cached tokens is the API's affair.
        output_tokens: What it has written so far.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None

    def with_news(self, told: object) -> "Usage":
        """Return the usage with what a `usage` object of any of the three APIs adds to it; other values add nothing."""
        if not isinstance(told, Mapping):
            return self
        read, written = _count(told, _READ), _count(told, _WRITTEN)
        return Usage(
            input_tokens=self.input_tokens if read is None else read,
            output_tokens=self.output_tokens if written is None else written,
        )


def _count(told: Mapping[str, object], names: tuple[str, ...]) -> int | None:
    counts = (told.get(name) for name in names)
    return next((count for count in counts if isinstance(count, int) and not isinstance(count, bool)), None)
