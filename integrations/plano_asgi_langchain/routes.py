"""Routes written in Python: what they mean as settings, and the chat models they bring along."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from langchain_core.language_models import BaseChatModel

from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.settings import Settings, load_settings

Target = str | BaseChatModel
"""A model: `openai/gpt-4o`, LangChain's `openai:gpt-4o`, or a chat model that is there already."""

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Route:
    """When to take a route, and the models that serve it.

    Attributes:
        description: Plain English; what the conversation is compared with.
        models: The first serves, the rest follow when it cannot.
    """

    description: str
    models: Target | Sequence[Target]

    @property
    def targets(self) -> tuple[Target, ...]:
        """The models, also where there is one alone."""
        return (self.models,) if isinstance(self.models, str | BaseChatModel) else tuple(self.models)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What routes written in Python come to.

    Attributes:
        settings: The settings, with a provider for every target.
        instances: The chat models that were there already, by the qualified names that they go by.
    """

    settings: Settings
    instances: Mapping[str, BaseChatModel]


def described(config: Path | None, routes: Mapping[str, Route] | None, default: Target | None) -> Described:
    """Return what a file and the environment say, and the routes in place of what those say of models and routes.

    Raises:
        ConfigurationError: Something of it cannot be used; every fault is named.
    """
    if routes is None and default is None:
        return Described(settings=load_settings(config), instances={})
    names = _Names()
    preferences = [
        {"name": name, "description": route.description, "models": [names.of(target) for target in route.targets]}
        for name, route in (routes or {}).items()
    ]
    default_name = None if default is None else names.of(default)
    providers = [
        {"model": name, "default": name == default_name, "capabilities": capabilities_of_instance(target)}
        for name, target in names.targets.items()
    ]
    settings = load_settings(config, overrides={"model_providers": providers, "routing_preferences": preferences})
    return Described(
        settings=settings,
        instances={name: target for name, target in names.targets.items() if isinstance(target, BaseChatModel)},
    )


def capabilities_of_instance(target: Target) -> dict[str, Any]:
    """Return what a chat model says of itself, as the setting `capabilities` puts it."""
    if isinstance(target, str):
        return {}
    profile: Mapping[str, Any] = getattr(target, "profile", None) or {}
    takes_tools = type(target).bind_tools is not BaseChatModel.bind_tools
    told = {
        "vision": profile.get("image_inputs"),
        "tools": profile.get("tool_calling") if takes_tools else False,
        "audio": profile.get("audio_inputs"),
        "window": profile.get("max_input_tokens"),
    }
    return {name: value for name, value in told.items() if value is not None}


class _Names:
    """Qualified names of targets, each target's its own."""

    def __init__(self) -> None:
        self.targets: dict[str, Target] = {}

    def of(self, target: Target) -> str:
        for name in self._candidates(target):
            if name not in self.targets:
                self.targets[name] = target
            if self.targets[name] is target or isinstance(target, str):
                return name
        raise AssertionError("there is always another name")

    @staticmethod
    def _candidates(target: Target) -> Iterator[str]:
        if isinstance(target, str):
            yield qualified(target)
            return
        name = name_of_instance(target)
        yield name
        number = 2
        while True:
            yield f"{name}@{number}"
            number += 1


def qualified(target: str) -> str:
    """Return the qualified name of a model that is named in either form.

    Raises:
        ConfigurationError: It names no provider.
    """
    name = in_plano_form(target)
    if "/" not in name:
        what = "a model is written provider/model-name or provider:model-name, e.g. openai:gpt-4o"
        raise ConfigurationError([Fault(where="routes", what=what)])
    return name


def in_plano_form(model: str) -> str:
    """Return `provider/model` for LangChain's `provider:model`, and any other name as it is."""
    provider, sign, name = model.partition(":")
    return f"{provider}/{name}" if sign and "/" not in provider else model


def name_of_instance(target: BaseChatModel) -> str:
    """Return the qualified name that a chat model goes by, from what it tells of itself in traces."""
    told = target._get_ls_params()
    provider = _NO_NAME.sub("-", str(told.get("ls_provider") or "chat")).strip("-._")
    name = _NO_NAME.sub("-", str(told.get("ls_model_name") or type(target).__name__)).strip("-._")
    return f"{provider}/{name}"
