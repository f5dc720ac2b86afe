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
    name = conventional_variable(model, environ)
    return Secret(environ[name].strip()) if name else None


def conventional_variable(model: str, environ: Mapping[str, str]) -> str | None:
    """Return the conventional variable that holds a key of a qualified model's provider, or None."""
    return next((name for name in convention_of(model).key_variables if environ.get(name, "").strip()), None)


def seal_credentials(draft: Draft, environ: Mapping[str, str]) -> None:
    """Turn every credential in the tree into a `Secret`, references resolved, so that nothing later can show one."""
    for keys, provider in draft.mappings("model_providers"):
        _seal(draft, provider, (*keys, "access_key"), environ)
        ring = provider.get("access_key")
        if isinstance(ring, list):
            _seal_list(draft, ring, (*keys, "access_key"), environ)
        aws = provider.get("aws")
        if isinstance(aws, dict):
            for name in ("access_key_id", "secret_access_key", "session_token"):
                _seal(draft, aws, (*keys, "aws", name), environ)
        headers = provider.get("headers")
        if isinstance(headers, dict):
            for name in headers:
                _seal(draft, headers, (*keys, "headers", name), environ)
    _seal_selectors(draft, environ)
    for section, name in (
        ("classifier", "access_key"),
        ("admin", "token"),
        ("governance", "hash_key"),
        ("redis", "url"),
    ):
        container = draft.at(section)
        if isinstance(container, dict):
            _seal(draft, container, (section, name), environ)
    _seal_experiments(draft, environ)


def _seal_list(draft: Draft, entries: list[object], keys: Keys, environ: Mapping[str, str]) -> None:
    """Replace the credentials of a list, each a text or in `{key, weight}`, by secrets."""
    for index, entry in enumerate(entries):
        if isinstance(entry, dict):
            _seal(draft, entry, (*keys, index, "key"), environ)
        elif isinstance(entry, str):
            entries[index] = _sealed(draft, entry, (*keys, index), environ)


def _seal_experiments(draft: Draft, environ: Mapping[str, str]) -> None:
    """Do the same with the keys of experiments' classifiers."""
    for keys, experiment in draft.mappings("experiments"):
        classifier = experiment.get("classifier")
        if isinstance(classifier, dict):
            _seal(draft, classifier, (*keys, "classifier", "access_key"), environ)


def _seal_selectors(draft: Draft, environ: Mapping[str, str]) -> None:
    """Do the same with what tells callers apart: it may be a caller's key."""
    for listed in ("ratelimits", "budgets", "allow_lists"):
        for keys, entry in draft.mappings(listed):
            selector = entry.get("selector")
            if isinstance(selector, dict):
                _seal(draft, selector, (*keys, "selector", "value"), environ)


def _seal(draft: Draft, container: dict[str, object], keys: Keys, environ: Mapping[str, str]) -> None:
    """Replace one credential by a secret; anything but text is left for validation to refuse."""
    name = str(keys[-1])
    written = container.get(name)
    if isinstance(written, str):
        container[name] = _sealed(draft, written, keys, environ)


def _sealed(draft: Draft, written: str, keys: Keys, environ: Mapping[str, str]) -> Secret | None:
    """Return a credential as a secret; None, and a fault, where the variable that it refers to has none."""
    reference = _REFERENCE.fullmatch(written)
    if reference is None:
        return Secret(written)
    variable = reference.group(1) or reference.group(2)
    found = environ.get(variable)
    if not found:
        shown = variable if _PLAIN_NAME.fullmatch(variable) else "which it refers to"
        what = (
            f"the environment variable {shown} is {'not set' if found is None else 'empty'}; set it, or write the key"
        )
        draft.fault(keys, what)
    return Secret(found) if found else None
