"""Prices out of a catalogue that another server keeps."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from plano_asgi.catalogues.source_values import SourceValues
from plano_asgi.prices import Price, PriceList

_THEIR_NAMES: Final[Mapping[str, str]] = MappingProxyType(  # where models.dev calls a provider by another name
    {
        "amazon": "amazon-bedrock",
        "amazon_bedrock": "amazon-bedrock",
        "azure_openai": "azure",
        "gemini": "google",
        "moonshot": "moonshotai",
        "qwen": "alibaba",
        "together": "togetherai",
        "together_ai": "togetherai",
        "vertex": "google-vertex",
        "vertex_ai": "google-vertex",
        "zhipu": "zhipuai",
    }
)


class SourcePrices:
    """A `PriceList` of what a source has told last; what it does not know is asked of another one."""

    def __init__(
        self, source: SourceValues[Price], *, aliases: Mapping[str, str], otherwise: PriceList | None = None
    ) -> None:
        """Take the source.

        Args:
            source: Prices by the catalogue's names.
            aliases: The qualified model that each of some names of the catalogue stands for.
            otherwise: Whom to ask next.
        """
        self._source = source
        self._named = {model: name for name, model in aliases.items()}
        self._otherwise = otherwise

    def price_of(self, model: str) -> Price | None:
        """Return the price of a qualified model, None where nobody knows it."""
        provider, _, bare = model.partition("/")
        for name in (self._named.get(model), model, f"{_THEIR_NAMES.get(provider, provider)}/{bare}", bare):
            if name and (price := self._source.get(name)):
                return price
        return self._otherwise.price_of(model) if self._otherwise else None
