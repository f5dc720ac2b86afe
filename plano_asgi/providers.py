"""Model providers: where models are served."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Final

from plano_asgi.conversation import ApiFormat
from plano_asgi.secret import Secret

MAX_MODEL_CHARS: Final = 256
_QUALIFIED_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9@][\w.:@+-]*)+", re.ASCII)


class ProviderFormat(StrEnum):
    """The API whose shape a provider is called in: one that callers use too, or one that only providers serve."""

    CHAT_COMPLETIONS = ApiFormat.CHAT_COMPLETIONS.value
    MESSAGES = ApiFormat.MESSAGES.value
    RESPONSES = ApiFormat.RESPONSES.value
    BEDROCK_CONVERSE = "bedrock_converse"


def model_fault(model: str) -> str | None:
    """Return what is wrong with a qualified model name, or None; never quotes the name."""
    if len(model) > MAX_MODEL_CHARS:
        return f"a model name has at most {MAX_MODEL_CHARS} characters"
    if not _QUALIFIED_MODEL.fullmatch(model):
        return "a model is written provider/model-name, e.g. openai/gpt-4o"
    return None


def bare_model(model: str) -> str:
    """Return the provider's own name of a qualified model: `claude-x` of `anthropic/claude-x`."""
    return model.partition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """What is known of a provider by its name alone.

    Attributes:
        base_url: Its URL as the official SDK takes it: Anthropic's where Messages is all it speaks, else OpenAI's.
        key_variables: Environment variables that its key is usually kept in, the likeliest first.
        speaks: The APIs it serves natively.
        key_header: The header that carries its key as it is; None for a bearer token.
        deployments_version: The `api-version` where the model is part of the path, as at Azure; else None.
    """

    base_url: str | None = None
    key_variables: tuple[str, ...] = ()
    speaks: frozenset[ApiFormat] = frozenset({ApiFormat.CHAT_COMPLETIONS})
    key_header: str | None = None
    deployments_version: str | None = None

    @property
    def api_format(self) -> ApiFormat:
        """The API whose SDK takes `base_url`."""
        return ApiFormat.MESSAGES if self.speaks == {ApiFormat.MESSAGES} else ApiFormat.CHAT_COMPLETIONS


_OPENAI: Final = frozenset({ApiFormat.CHAT_COMPLETIONS, ApiFormat.RESPONSES})
_GEMINI: Final = Convention(
    base_url="https://generativelanguage.googleapis.com/v1beta/openai/",
    key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
)
_MOONSHOT: Final = Convention(base_url="https://api.moonshot.ai/v1", key_variables=("MOONSHOT_API_KEY",))
_TOGETHER: Final = Convention(base_url="https://api.together.xyz/v1", key_variables=("TOGETHER_API_KEY",))
_UNKNOWN: Final = Convention()
_CONVENTIONS: Final[Mapping[str, Convention]] = MappingProxyType(
    {
        "amazon_bedrock": Convention(key_variables=("AWS_BEARER_TOKEN_BEDROCK",)),
        "anthropic": Convention(
            base_url="https://api.anthropic.com",
            key_variables=("ANTHROPIC_API_KEY",),
            speaks=frozenset({ApiFormat.MESSAGES}),
            key_header="x-api-key",
        ),
        "azure_openai": Convention(
            key_variables=("AZURE_OPENAI_API_KEY",), key_header="api-key", deployments_version="2024-10-21"
        ),
        "deepseek": Convention(base_url="https://api.deepseek.com", key_variables=("DEEPSEEK_API_KEY",)),
        "gemini": _GEMINI,
        "google": _GEMINI,
        "groq": Convention(base_url="https://api.groq.com/openai/v1", key_variables=("GROQ_API_KEY",)),
        "mistral": Convention(base_url="https://api.mistral.ai/v1", key_variables=("MISTRAL_API_KEY",)),
        "moonshot": _MOONSHOT,
        "moonshotai": _MOONSHOT,
        "openai": Convention(base_url="https://api.openai.com/v1", key_variables=("OPENAI_API_KEY",), speaks=_OPENAI),
        "openrouter": Convention(base_url="https://openrouter.ai/api/v1", key_variables=("OPENROUTER_API_KEY",)),
        "qwen": Convention(key_variables=("DASHSCOPE_API_KEY",)),
        "together": _TOGETHER,
        "together_ai": _TOGETHER,
        "vercel": Convention(
            base_url="https://ai-gateway.vercel.sh/v1",
            key_variables=("AI_GATEWAY_API_KEY",),
            speaks=frozenset(ApiFormat),
        ),
        "xai": Convention(base_url="https://api.x.ai/v1", key_variables=("XAI_API_KEY",), speaks=_OPENAI),
        "zhipu": Convention(base_url="https://open.bigmodel.cn/api/paas/v4"),
    }
)


def convention_of(model: str, *, interface: str | None = None) -> Convention:
    """Return what is known of a qualified model's provider, or of one that `interface` names instead."""
    return _CONVENTIONS.get((interface or model.partition("/")[0]).lower(), _UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a model can do; None where nobody knows, so that the provider is asked.

    Attributes:
        vision: Whether it reads images.
        tools: Whether it calls tools.
        audio: Whether it reads or gives audio.
        window: How many tokens it reads.
    """

    vision: bool | None = None
    tools: bool | None = None
    audio: bool | None = None
    window: int | None = None

    def or_else(self, known: "Capabilities") -> "Capabilities":
        """Return these capabilities, and the known ones where these say nothing."""
        return Capabilities(
            vision=known.vision if self.vision is None else self.vision,
            tools=known.tools if self.tools is None else self.tools,
            audio=known.audio if self.audio is None else self.audio,
            window=known.window if self.window is None else self.window,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProvider:
    """Where one model is served.

    Attributes:
        model: Qualified model, `provider/model-name`.
        name: A name for people; the model where none was given.
        base_url: Where it is served, as the SDK of `api_format` takes it; None where nobody said and no convention
            tells, so that a call to it needs the setting `base_url`.
        access_key: The credential, or None; required only where we call the provider ourselves.
        is_default: Whether it serves calls that no route matches.
        interface: The API it speaks, as a provider's name, where the model's prefix does not tell.
        http_host: The `Host` header to send, where it is not the URL's.
        headers: Further headers to send with every call.
        is_auth_passed_through: Whether the client's own credential is sent on instead of `access_key`.
        capabilities: What the configuration says that the model can do.
    """

    model: str
    name: str = ""
    base_url: str | None = None
    access_key: Secret | None = field(default=None, repr=False)
    is_default: bool = False
    interface: str | None = None
    http_host: str | None = None
    headers: tuple[tuple[str, Secret], ...] = field(default=(), repr=False)
    is_auth_passed_through: bool = False
    capabilities: Capabilities = Capabilities()

    @property
    def model_name(self) -> str:
        """The provider's own name of the model, as its SDK takes it."""
        return bare_model(self.model)

    @property
    def convention(self) -> Convention:
        """What is known of it by its name or its interface."""
        return convention_of(self.model, interface=self.interface)

    @property
    def api_formats(self) -> frozenset[ApiFormat]:
        """The APIs that it serves natively."""
        return convention_of(self.model, interface=self.interface).speaks

    @property
    def api_format(self) -> ApiFormat:
        """The API whose SDK takes `base_url`: `messages` means Anthropic's, `chat_completions` OpenAI's."""
        return convention_of(self.model, interface=self.interface).api_format


@dataclass(frozen=True, kw_only=True)
class ModelCatalog:
    """All declared model providers; at most one is the default."""

    providers: tuple[ModelProvider, ...]

    @cached_property
    def _by_model(self) -> Mapping[str, ModelProvider]:
        return {provider.model: provider for provider in reversed(self.providers)}  # the first of a model counts

    @property
    def models(self) -> frozenset[str]:
        """Every declared model, qualified."""
        return frozenset(self._by_model)

    @property
    def default_model(self) -> str | None:
        """The model for calls that no route matches; None under `routing.unmatched: requested`."""
        return next((p.model for p in self.providers if p.is_default), None)

    def provider_of(self, model: str) -> ModelProvider | None:
        """Return the provider that declares a qualified model, or None."""
        return self._by_model.get(model)

    def qualified(self, model: str) -> str:
        """Return the declared model of that bare name, and any other name as it is."""
        if model in self._by_model:
            return model
        return next((declared.model for declared in self.providers if bare_model(declared.model) == model), model)

    def undeclared(self, models: Iterable[str]) -> tuple[str, ...]:
        """Return those of the models that no provider declares, in their order."""
        return tuple(model for model in models if model not in self._by_model)
