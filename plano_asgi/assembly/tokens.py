"""Settings to what counts tokens."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from plano_asgi.errors import ConfigurationError, Fault, MissingExtraError
from plano_asgi.providers import ChatOverhead, ModelProvider, is_wildcard
from plano_asgi.settings import Settings
from plano_asgi.settings.tokens_schema import FILE_END, RULE
from plano_asgi.tokens import LateTokenizer, ModelTokens, TokenCounter
from plano_asgi.tokens.loading import encoding_of, has_tiktoken, is_on_this_machine, load_encoding, load_file
from plano_asgi.tokens.text_counter import Tokenize

_OPENAI: Final = "openai/"


def build_token_counter(settings: Settings) -> TokenCounter:
    """Return what counts tokens of the declared models; nothing is loaded yet, and each tokenizer will be once.

    Models of OpenAI's whose tokenizer nobody names have their encoding where limits, budgets or switches need it and
    its file is on this machine: nothing is downloaded that nobody has asked for.

    Raises:
        ConfigurationError: A tokenizer's file is not there.
        MissingExtraError: An encoding is named, and tiktoken is not installed.
    """
    is_wanted = bool(settings.ratelimits or settings.budgets) or settings.routing.switch_budget_pct is not None
    tokenizers: dict[str, LateTokenizer] = {}
    models: dict[str, ModelTokens] = {}
    for index, provider in reversed(list(enumerate(settings.catalog.providers))):  # the first of a model counts
        source = provider.tokenizer or (_known_encoding(provider) if is_wanted else None) or RULE
        if source == RULE:
            tokenizer = None
        else:
            load = _loader(source, where=f"model_providers[{index}].tokenizer")
            tokenizer = tokenizers.setdefault(source, LateTokenizer(source, load, size=settings.tokens.cache))
        models[provider.model] = ModelTokens(tokenizer=tokenizer, overhead=provider.chat_overhead)
    is_plain = all(of.tokenizer is None and of.overhead == ChatOverhead() for of in models.values())
    return TokenCounter(
        {} if is_plain else models, deadline_s=settings.tokens.deadline_ms / 1000, load_s=settings.tokens.load_s
    )


def _known_encoding(provider: ModelProvider) -> str | None:
    if not provider.model.startswith(_OPENAI) or is_wildcard(provider.model):
        return None
    encoding = encoding_of(provider.model_name)
    return encoding if encoding and is_on_this_machine(encoding) else None


def _loader(source: str, *, where: str) -> Callable[[], Tokenize]:
    """Return what loads a tokenizer that is written as `source`, having made sure of what can be known before."""
    if not source.endswith(FILE_END):
        if not has_tiktoken():
            raise MissingExtraError("tiktoken", needed_for=where)
        return partial(load_encoding, source)
    path = Path(source)
    if not path.is_file():
        raise ConfigurationError([Fault(where=where, what="names a file that is not there; write where it is")])
    return partial(load_file, path)
