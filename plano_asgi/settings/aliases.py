"""Which names stand for a model in the settings as written: declared models, `provider/*`, and aliases."""

from difflib import get_close_matches

from plano_asgi.providers import is_wildcard, model_fault
from plano_asgi.settings.catalog import last_target, targets_of
from plano_asgi.settings.draft import Draft

_ALIASES = "model_aliases"


def declared_models(draft: Draft) -> list[str]:
    """Return every model that is declared, as it is written, in its order."""
    providers = draft.mappings("model_providers")
    return [model for _, provider in providers if isinstance(model := provider.get("model"), str)]


def is_declared(model: str, declared: list[str]) -> bool:
    """Return whether a provider declares a model, itself or as one of `provider/*`."""
    if is_wildcard(model):
        return False
    return model in declared or (model_fault(model) is None and f"{model.partition('/')[0]}/*" in declared)


def nearest_name(name: str, draft: Draft) -> str | None:
    """Return the declared model or the alias that a name most likely means, or None; only what may be shown."""
    known = [model for model in (*declared_models(draft), *_targets(draft)) if model_fault(model) is None]
    return next(iter(get_close_matches(name, known, n=1)), None)


def stands_for_a_model(name: str, draft: Draft) -> bool:
    """Return whether a name is a declared model's, or an alias; where that leads to is checked elsewhere."""
    return name in _targets(draft) or is_declared(name, declared_models(draft))


def check_aliases(draft: Draft) -> None:
    """Record a fault for each alias that leads nowhere, in a circle, or hides a declared model."""
    declared, targets = declared_models(draft), _targets(draft)
    for alias, target in targets.items():
        if alias in declared:
            draft.fault((_ALIASES, alias), "is a declared model, which an alias would hide; choose another name")
        end, keys = last_target(alias, targets), (_ALIASES, alias, "target")
        if end in targets:
            circle = alias in targets_of(alias, targets)
            what = "leads back to its own alias" if circle else "leads to aliases that go in a circle"
            draft.fault(keys, f"{what}; let one of them name a model of model_providers")
        elif target not in targets and not is_declared(target, declared):
            nearest = nearest_name(target, draft)
            hint = f"; did you mean {nearest}?" if nearest else "; declare it there"
            draft.fault(keys, f"is neither an alias nor among the models of model_providers{hint}")


def _targets(draft: Draft) -> dict[str, str]:
    written = draft.at(_ALIASES)
    entries = written.items() if isinstance(written, dict) else ()
    return {
        alias: target
        for alias, entry in entries
        if isinstance(entry, dict) and isinstance(target := entry.get("target"), str)
    }
