"""How models are named: qualified, as `provider/*`, and by an alias."""

import re
from typing import Final

MAX_MODEL_CHARS: Final = 256
_QUALIFIED_MODEL: Final = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9@][\w.:@+-]*)+", re.ASCII)
_WILDCARD: Final = re.compile(r"[A-Za-z0-9][\w.-]*/\*", re.ASCII)
_ALIAS: Final = re.compile(r"[A-Za-z0-9][\w.:@+-]*", re.ASCII)
_TOO_LONG: Final = f"a model name has at most {MAX_MODEL_CHARS} characters"
_NOT_QUALIFIED: Final = "a model is written provider/model-name, e.g. openai/gpt-4o"


def model_fault(model: str) -> str | None:
    """Return what is wrong with a qualified model name, or None; never quotes the name."""
    if len(model) > MAX_MODEL_CHARS:
        return _TOO_LONG
    return None if _QUALIFIED_MODEL.fullmatch(model) else _NOT_QUALIFIED


def declared_model_fault(model: str) -> str | None:
    """Return what is wrong with a model as a provider declares it, `provider/*` for all it has, or None."""
    return None if is_wildcard(model) else model_fault(model)


def alias_fault(alias: str) -> str | None:
    """Return what is wrong with an alias, or None; one with a slash looks like a model, and is named like one."""
    if len(alias) > MAX_MODEL_CHARS:
        return _TOO_LONG
    if "/" not in alias and not _ALIAS.fullmatch(alias):
        return "an alias has letters, digits and any of . _ : @ + - only, and begins with a letter or digit"
    return model_fault(alias) if "/" in alias else None


def reference_fault(name: str) -> str | None:
    """Return what is wrong with a name that stands for a model, be it its own or an alias, or None."""
    return None if alias_fault(name) is None else model_fault(name)


def is_wildcard(model: str) -> bool:
    """Return whether a declared model is `provider/*`: any model of that provider."""
    return model.endswith("/*") and len(model) <= MAX_MODEL_CHARS and _WILDCARD.fullmatch(model) is not None


def bare_model(model: str) -> str:
    """Return the provider's own name of a qualified model: `claude-x` of `anthropic/claude-x`."""
    return model.partition("/")[2]
