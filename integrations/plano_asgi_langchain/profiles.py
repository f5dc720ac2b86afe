"""What all of a router's models can do: nothing else may be relied on before a call is decided."""

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from plano_asgi.policy import capabilities_of
from plano_asgi.providers import ModelCatalog, ModelProvider


def common_profile(catalog: ModelCatalog, instances: Mapping[str, BaseChatModel]) -> dict[str, Any]:
    """Return, in LangChain's words, what is known of every declared model: a flag holds where it holds for all."""
    return _in_common(_profile(provider, instances.get(provider.model)) for provider in catalog.providers)


def _in_common(profiles: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    told = list(profiles)
    shared = set.intersection(*(set(profile) for profile in told)) if told else set()
    values = {key: [profile[key] for profile in told] for key in sorted(shared)}
    common: dict[str, Any] = {}
    for key, said in values.items():
        if all(isinstance(value, bool) for value in said):
            common[key] = all(said)
        elif all(isinstance(value, int) for value in said):
            common[key] = min(said)
    return common


def _profile(provider: ModelProvider, instance: BaseChatModel | None) -> dict[str, Any]:
    can = capabilities_of(provider)
    known = {
        "image_inputs": can.vision,
        "tool_calling": can.tools,
        "audio_inputs": can.audio,
        "max_input_tokens": can.window,
    }
    own: Mapping[str, Any] = getattr(instance, "profile", None) or {}
    return {**own, **{key: value for key, value in known.items() if value is not None}}
