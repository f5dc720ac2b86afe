"""What limits, budgets and allow-lists need of the rest of the settings, and where they cannot act."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final

from plano_asgi.providers import bare_model
from plano_asgi.settings.draft import Draft, Keys

_LISTS: Final = ("ratelimits", "budgets", "allow_lists")
_QUOTAS: Final = ("ratelimits", "budgets")
_NEEDS_ANSWERS: Final = ("output_tokens", "cost")


def check_governance(draft: Draft) -> None:
    """Record every fault of limits, budgets and allow-lists, and a warning for each that cannot act in this mode."""
    entries = [found for name in _LISTS for found in draft.mappings(name)]
    models = [model for _, entry in draft.mappings("model_providers") if isinstance(model := entry.get("model"), str)]
    _check_names(draft)
    for keys, entry in entries:
        for place, pattern in _patterns(keys, entry, "model", "models"):
            if models and not any(_fits(pattern, model) for model in models):
                draft.fault(place, "fits no model of model_providers; write it as there, or with * for any characters")
        for place, pattern in _patterns(keys, entry, "provider"):
            if models and not any(fnmatchcase(model.partition("/")[0], pattern) for model in models):
                draft.fault(place, "fits no provider of model_providers; write it as before the slash there")
        for place, pattern in _patterns(keys, entry, "route", "routes"):
            if pattern != "*" and not any(fnmatchcase(route, pattern) for route in _routes(draft)):
                draft.fault(place, "fits no route; write the name of a routing preference, or * for any")
    if draft.at("governance", "store") == "redis" and draft.at("redis", "url") is None:
        draft.fault(("governance", "store"), "needs a Redis to share counters by; set redis.url")
    if entries:
        _check_mode(draft)


def _check_mode(draft: Draft) -> None:
    """Record a warning for all that cannot act where we do not see answers, or change nothing."""
    mode = draft.at("mode") or "rewrite"
    if mode == "observe" or draft.at("enabled") is False:
        for name in _LISTS:
            if draft.at(name):
                draft.warn((name,), "cannot act where mode is observe or enabled is false: nothing is changed then")
        return
    if mode != "rewrite":
        return
    for keys, entry in draft.mappings("ratelimits"):
        limit = entry.get("limit")
        given = limit if isinstance(limit, dict) else {}
        for name in _NEEDS_ANSWERS:
            if given.get(name) is not None:
                draft.warn(
                    (*keys, "limit", name), "cannot act where mode is rewrite: answers are not seen; use forward"
                )
        if given.get("tokens") is not None:
            what = (
                "counts input only where mode is rewrite, since answers are not seen; say input_tokens, or use forward"
            )
            draft.warn((*keys, "limit", "tokens"), what)
    for keys, _ in draft.mappings("budgets"):
        draft.warn(keys, "cannot act where mode is rewrite: what answers cost is not seen; use forward")


def _check_names(draft: Draft) -> None:
    """Record a fault for each name that two limits or budgets bear."""
    first: dict[str, Keys] = {}
    for name in _QUOTAS:
        for keys, entry in draft.mappings(name):
            given = entry.get("name")
            if isinstance(given, str) and given in first:
                draft.fault((*keys, "name"), f"is the name of {draft.place(first[given])} too; choose another")
            elif isinstance(given, str):
                first[given] = keys


def _patterns(keys: Keys, entry: dict[str, object], *names: str) -> Iterator[tuple[Keys, str]]:
    for name in names:
        written = entry.get(name)
        if isinstance(written, str):
            yield (*keys, name), written
        for index, pattern in enumerate(written if isinstance(written, list) else ()):
            if isinstance(pattern, str):
                yield (*keys, name, index), pattern


def _fits(pattern: str, model: str) -> bool:
    """Return whether a pattern and a declared model, which may be a pattern too, can mean the same."""
    return fnmatchcase(model, pattern) or fnmatchcase(bare_model(model), pattern) or fnmatchcase(pattern, model)


def _routes(draft: Draft) -> Iterator[str]:
    nested = (
        preference
        for keys, _ in draft.mappings("model_providers")
        for _, preference in draft.mappings(*keys, "routing_preferences")
    )
    top = (preference for _, preference in draft.mappings("routing_preferences"))
    tried = (
        preference
        for keys, _ in draft.mappings("experiments")
        for _, preference in draft.mappings(*keys, "routing_preferences")
    )
    for preference in (*nested, *top, *tried):
        if isinstance(name := preference.get("name"), str):
            yield name
