"""The chat models behind the qualified names, each made when it is first called."""

import hashlib
from collections.abc import Mapping
from threading import Lock
from typing import Any, Final

from langchain_core.language_models import BaseChatModel

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import MissingExtraError
from plano_asgi.providers import ModelCatalog, ModelProvider

_INTEGRATIONS: Final[
    Mapping[str, str]
] = {  # where LangChain's word for a provider is another, or OpenAI's client serves
    "amazon": "bedrock_converse",
    "amazon_bedrock": "bedrock_converse",
    "chatgpt": "openai",
    "digitalocean": "openai",
    "do": "openai",
    "do_ai": "openai",
    "edenai": "openai",
    "gemini": "google_genai",
    "google": "google_genai",
    "kimi_code": "openai",
    "mistral": "mistralai",
    "moonshot": "openai",
    "moonshotai": "openai",
    "qwen": "openai",
    "together_ai": "together",
    "vercel": "openai",
    "vertex": "openai",
    "vertex_ai": "openai",
    "xiaomi": "openai",
    "zhipu": "openai",
}
_NO_KEY: Final = "none"  # so that a server that needs no key is never shown one that the environment has for another


class Targets:
    """Chat models by qualified name; those declared by name are made when they are first asked for, once each.

    Holds at most one per declared model. Thread-safe.

    Attributes:
        digest: What answers depend on besides the models' names, as 32 digits.
    """

    def __init__(
        self, catalog: ModelCatalog, *, instances: Mapping[str, BaseChatModel], options: Mapping[str, Any]
    ) -> None:
        """Take what is declared, what is there already, and what every model that is made is made with."""
        self._catalog = catalog
        self._options = dict(options)
        self._made = dict(instances)
        self._lock = Lock()
        self.digest = _digest(self._options, instances)

    def made(self, model: str) -> BaseChatModel | None:
        """Return a declared model's chat model if it is made already."""
        return self._made.get(model)

    def of(self, model: str) -> BaseChatModel:
        """Return a declared model's chat model; imports its integration the first time, which may take a second.

        Raises:
            ImportError: The integration's package is not installed; the message names it.
            ValueError: LangChain has none for the provider, or what it needs is not configured.
        """
        with self._lock:
            if model not in self._made:
                provider = self._catalog.provider_of(model)
                assert provider, "only declared models are asked for"  # noqa: S101 - a fault of ours
                self._made[model] = _chat_model(provider, self._options)
            return self._made[model]


def integration_of(provider: ModelProvider) -> str:
    """Return LangChain's word for who calls a provider: by its URL where it has one of its own, else by its name."""
    name = provider.interface or provider.model.partition("/")[0]
    if provider.is_elsewhere:
        return "anthropic" if provider.api_format is ApiFormat.MESSAGES else "openai"
    return _INTEGRATIONS.get(name, name)


def _chat_model(provider: ModelProvider, options: Mapping[str, Any]) -> BaseChatModel:
    try:
        from langchain.chat_models import init_chat_model  # noqa: PLC0415 - only where a model is named, not given
    except ImportError as error:
        raise MissingExtraError("langchain", needed_for=f"the model {provider.model}") from error
    made: BaseChatModel = init_chat_model(
        provider.model_name, model_provider=integration_of(provider), **{**options, **_whereabouts(provider)}
    )
    return made


def _whereabouts(provider: ModelProvider) -> dict[str, Any]:
    """Return URL, key and headers as an integration takes them; what is conventional is left to it."""
    where: dict[str, Any] = {}
    name = provider.interface or provider.model.partition("/")[0]
    is_others_client = integration_of(provider) != name and integration_of(provider) == "openai"
    if is_others_client and provider.base_url is None:
        raise ValueError(f"{provider.model} has no base_url; set it, since OpenAI's client would take its own")
    if provider.base_url and (provider.is_elsewhere or is_others_client):
        where["base_url"] = provider.base_url
    if provider.access_key:
        where["api_key"] = provider.access_key.reveal()
    elif "base_url" in where:
        where["api_key"] = _NO_KEY
    if provider.headers:
        where["default_headers"] = {name: secret.reveal() for name, secret in provider.headers}
    return where


def _digest(options: Mapping[str, Any], instances: Mapping[str, BaseChatModel]) -> str:
    told = [sorted((name, repr(value)) for name, value in options.items())]
    told += [sorted((name, target._get_llm_string()) for name, target in instances.items())]
    return hashlib.blake2b(repr(told).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
