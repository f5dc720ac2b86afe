"""Whether a call fits a model's window, by the model's own tokenizer where that is known."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from plano_asgi.conversation import LLMCall
from plano_asgi.policy import Needs, capabilities_of
from plano_asgi.providers import ModelCatalog
from plano_asgi.tokens import TokenCounter, said_by

MOST_TOKENS_PER_CHARACTER: Final = 4  # its bytes in UTF-8


async def with_counted_tokens(
    needs: Needs, call: LLMCall, models: Iterable[str], *, catalog: ModelCatalog, tokens: TokenCounter
) -> Needs:
    """Return what a call needs, its tokens counted for those qualified models whose window might be too small for it.

    A call so short that it fits whatever is counted, and a model whose tokenizer nobody knows, cost nothing.
    """
    said = said_by(call.conversation)
    most = said.characters * MOST_TOKENS_PER_CHARACTER
    close = [model for model in dict.fromkeys(models) if _window(model, catalog) < most and tokens.is_exact(model)]
    if not close:
        return needs
    return replace(needs, tokens_of=await tokens.aleast(said, close))


def _window(model: str, catalog: ModelCatalog) -> float:
    provider = catalog.provider_of(model)
    window = capabilities_of(provider).window if provider else None
    return float("inf") if window is None else window
