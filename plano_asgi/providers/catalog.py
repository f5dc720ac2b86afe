"""What a service declares: its model providers, and the other names that their models go by."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

from plano_asgi.providers.model_provider import ModelProvider
from plano_asgi.providers.names import bare_model, is_wildcard, model_fault


@dataclass(frozen=True, kw_only=True)
class ModelCatalog:
    """All declared model providers; at most one is the default.

    Attributes:
        providers: The providers, in their order; one of `provider/*` declares every model of that provider.
        aliases: Other names of models, each with the qualified model that it stands for in the end.
    """

    providers: tuple[ModelProvider, ...]
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Freeze the mapping."""
        object.__setattr__(self, "aliases", MappingProxyType(dict(self.aliases)))

    @cached_property
    def _by_model(self) -> Mapping[str, ModelProvider]:
        return {provider.model: provider for provider in reversed(self.providers)}  # the first of a model counts

    @property
    def models(self) -> frozenset[str]:
        """Every declared model, qualified; `provider/*` is none."""
        return frozenset(model for model in self._by_model if not is_wildcard(model))

    @property
    def default_model(self) -> str | None:
        """The model for calls that no route matches; None under `routing.unmatched: requested`."""
        return next((p.model for p in self.providers if p.is_default), None)

    def provider_of(self, model: str) -> ModelProvider | None:
        """Return the provider that declares a qualified model, itself or as one of `provider/*`, or None."""
        if exact := self._by_model.get(model):
            return None if is_wildcard(model) else exact
        if model_fault(model):
            return None
        any_model = self._by_model.get(f"{model.partition('/')[0]}/*")
        return any_model and replace(any_model, model=model)

    def qualified(self, model: str) -> str:
        """Return the model that an alias stands for, the declared one of a bare name, and any other name as it is."""
        model = self.aliases.get(model, model)
        if model in self._by_model:
            return model
        declared = (provider.model for provider in self.providers if not is_wildcard(provider.model))
        return next((qualified for qualified in declared if bare_model(qualified) == model), model)

    def undeclared(self, models: Iterable[str]) -> tuple[str, ...]:
        """Return those of the models that no provider declares, in their order."""
        return tuple(model for model in models if self.provider_of(model) is None)
