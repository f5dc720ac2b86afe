"""Model providers: where models are served."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from plano_asgi.secret import Secret

MAX_MODEL_CHARS: Final = 256
_QUALIFIED_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9@][\w.:@+-]*)+", re.ASCII)


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
class ModelProvider:
    """Where one model is served.

    Attributes:
        model: Qualified model, `provider/model-name`.
        name: A name for people; the model where none was given.
        base_url: The provider's URL, where it is not the conventional one.
        access_key: The credential, or None; required only where we call the provider ourselves.
        is_default: Whether it serves calls that no route matches.
        interface: The API it speaks, as a provider's name, where the model's prefix does not tell.
        http_host: The `Host` header to send, where it is not the URL's.
        headers: Further headers to send with every call.
        is_auth_passed_through: Whether the client's own credential is sent on instead of `access_key`.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCatalog:
    """All declared model providers; at most one is the default."""

    providers: tuple[ModelProvider, ...]

    @property
    def models(self) -> frozenset[str]:
        """Every declared model, qualified."""
        return frozenset(provider.model for provider in self.providers)

    @property
    def default_model(self) -> str | None:
        """The model for calls that no route matches; None under `routing.unmatched: requested`."""
        return next((p.model for p in self.providers if p.is_default), None)

    def provider_of(self, model: str) -> ModelProvider | None:
        """Return the provider that declares a qualified model, or None."""
        return next((provider for provider in self.providers if provider.model == model), None)

    def qualified(self, model: str) -> str:
        """Return the declared model of that bare name, and any other name as it is."""
        return next((declared.model for declared in self.providers if bare_model(declared.model) == model), model)

    def undeclared(self, models: Iterable[str]) -> tuple[str, ...]:
        """Return those of the models that no provider declares, in their order."""
        declared = self.models
        return tuple(model for model in models if model not in declared)
