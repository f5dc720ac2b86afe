"""Keys of a Plano file that mean something else here, or nothing."""

from typing import Final

from plano_asgi.settings.draft import Draft, Keys

_IGNORED: Final = {
    "version": "is a key of Plano's and has no meaning here; it is ignored",
    "listeners": "is a key of Plano's and is ignored: the host app, or `plano-asgi serve`, listens",
}
_OLD_PROVIDERS: Final = "llm_providers"
_PROVIDERS: Final = "model_providers"

PLANO_ONLY: Final = frozenset(
    {
        "agents",
        "overrides",
        "prompt_guards",
        "prompt_targets",
        "state_storage",
        "system_prompt",
        "tracing",
    }
)  # top-level keys of Plano 0.4 that this version has no counterpart for


def adopt_plano_keys(draft: Draft) -> None:
    """Read `llm_providers` as `model_providers` and drop what has no meaning here, with a warning each."""
    for key, what in _IGNORED.items():
        if key in draft.values:
            draft.warn((key,), what)
            del draft.values[key]
    if _OLD_PROVIDERS not in draft.values:
        return
    if _PROVIDERS in draft.values:
        draft.fault((_OLD_PROVIDERS,), f"is the old name of {_PROVIDERS}, which is given too; keep {_PROVIDERS}")
        del draft.values[_OLD_PROVIDERS]
        return
    draft.warn((_OLD_PROVIDERS,), f"is the old name of {_PROVIDERS} and is read as such; rename it")
    draft.values[_PROVIDERS] = draft.values.pop(_OLD_PROVIDERS)
    draft.origins = {_renamed(keys): origin for keys, origin in draft.origins.items()}


def _renamed(keys: Keys) -> Keys:
    """Return the path under the providers' present name."""
    return (_PROVIDERS, *keys[1:]) if keys[:1] == (_OLD_PROVIDERS,) else keys
