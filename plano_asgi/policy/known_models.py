"""What well-known models can do, as far as is known; much is left open, and `capabilities` of a provider overrides it.

The makers' own pages are what to check a figure against:
https://platform.openai.com/docs/models
https://docs.claude.com/en/docs/about-claude/models/overview
https://ai.google.dev/gemini-api/docs/models
https://docs.mistral.ai/getting-started/models
https://api-docs.deepseek.com/quick_start/pricing
https://github.com/meta-llama/llama-models
"""

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from plano_asgi.providers import Capabilities, ModelProvider

_TEXT: Final = Capabilities(vision=False, audio=False)
_SEES: Final = Capabilities(vision=True, tools=True, audio=False)
_SEES_AND_HEARS: Final = Capabilities(vision=True, tools=True, audio=True)


def _reads(window: int, known: Capabilities) -> Capabilities:
    return Capabilities(window=window).or_else(known)


_KNOWN: Final = (  # the first pattern that fits a provider's own name of a model counts
    ("gpt-3.5-turbo*", _reads(16_385, _TEXT)),
    ("gpt-4", _reads(8_192, _TEXT)),
    ("gpt-4-0613", _reads(8_192, _TEXT)),
    ("gpt-4-turbo*", _reads(128_000, _SEES)),
    ("gpt-4o*audio*", _reads(128_000, Capabilities(vision=False, tools=True, audio=True))),
    ("gpt-4o*", _reads(128_000, _SEES)),
    ("gpt-4.1*", _reads(1_047_576, _SEES)),
    ("gpt-5", _reads(400_000, _SEES)),
    ("gpt-5-mini*", _reads(400_000, _SEES)),
    ("gpt-5-nano*", _reads(400_000, _SEES)),
    ("o1-mini*", _reads(128_000, _TEXT)),
    ("o3-mini*", _reads(200_000, _TEXT)),
    ("o[134]*", _reads(200_000, _SEES)),
    ("claude-3-5-haiku*", _reads(200_000, Capabilities(tools=True, audio=False))),
    ("claude-3*", _reads(200_000, _SEES)),
    ("claude-haiku-4*", _reads(200_000, _SEES)),
    ("claude-opus-4-[12]*", _reads(200_000, _SEES)),
    ("claude-sonnet-4*", _reads(1_000_000, _SEES)),
    ("claude-*", _SEES),
    ("gemini-1.5-pro*", _reads(2_097_152, _SEES_AND_HEARS)),
    ("gemini-1.5-flash*", _reads(1_048_576, _SEES_AND_HEARS)),
    ("gemini-2.[05]-*", _reads(1_048_576, _SEES_AND_HEARS)),
    ("codestral*", _TEXT),
    ("pixtral*", _SEES),
    ("deepseek-chat", _TEXT),
    ("deepseek-reasoner", _TEXT),
    ("*llama-3.1-*", _reads(131_072, _TEXT)),
    ("*llama-3.3-*", _reads(131_072, _TEXT)),
)
_UNKNOWN: Final = Capabilities()
_MOST_NAMES: Final = 1_024


def capabilities_of(provider: ModelProvider) -> Capabilities:
    """Return what a provider's model can do: what the configuration says, else what is known of the model's name."""
    return provider.capabilities.or_else(_known_of(provider.model_name.lower()))


@lru_cache(_MOST_NAMES)
def _known_of(name: str) -> Capabilities:
    return next((capabilities for pattern, capabilities in _KNOWN if fnmatchcase(name, pattern)), _UNKNOWN)
