"""Credentials: `$NAME` references, and keys in the variables that they are conventionally kept in."""

import re
from collections.abc import Mapping

from plano_asgi.providers import convention_of
from plano_asgi.secret import Secret
from plano_asgi.settings.draft import Draft, Keys

_REFERENCE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_PLAIN_NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")  # what a variable is named like, and no key is


def conventional_key(model: str, environ: Mapping[str, str]) -> Secret | None:
    """Return the key in the conventional variable of a qualified model's provider, or None."""
    for name in convention_of(model).key_variables:
        if text := environ.get(name, "").strip():
            return Secret(text)
    return None


def seal_credentials(draft: Draft, environ: Mapping[str, str]) -> None:
    """Turn every credential in the tree into a `Secret`, references resolved, so that nothing later can show one."""
    for keys, provider in draft.mappings("model_providers"):
        _seal(draft, provider, (*keys, "access_key"), environ)
        headers = provider.get("headers")
        if isinstance(headers, dict):
            for name in headers:
                _seal(draft, headers, (*keys, "headers", name), environ)
    for listed in ("ratelimits", "budgets", "allow_lists"):
        for keys, entry in draft.mappings(listed):
            selector = entry.get("selector")
            if isinstance(selector, dict):
                _seal(draft, selector, (*keys, "selector", "value"), environ)
    for section, name in (
        ("classifier", "access_key"),
        ("admin", "token"),
        ("governance", "hash_key"),
        ("redis", "url"),
    ):
        container = draft.at(section)
        if isinstance(container, dict):
            _seal(draft, container, (section, name), environ)


def _seal(draft: Draft, container: dict[str, object], keys: Keys, environ: Mapping[str, str]) -> None:
    """Replace one credential by a secret; anything but text is left for validation to refuse."""
    name = str(keys[-1])
    written = container.get(name)
    if not isinstance(written, str):
        return
    reference = _REFERENCE.fullmatch(written)
    if reference is None:
        container[name] = Secret(written)
        return
    variable = reference.group(1) or reference.group(2)
    found = environ.get(variable)
    container[name] = Secret(found) if found else None
    if not found:
        shown = variable if _PLAIN_NAME.fullmatch(variable) else "which it refers to"
        what = (
            f"the environment variable {shown} is {'not set' if found is None else 'empty'}; set it, or write the key"
        )
        draft.fault(keys, what)
