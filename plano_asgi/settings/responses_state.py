"""What the settings of `responses_state` need of others."""

from typing import Final

from plano_asgi.settings.draft import Draft

_WRITTEN_AS: Final = {"redis": "redis://host:6379/0", "postgres": "postgresql://user@host/database"}


def check_responses_state(draft: Draft) -> None:
    """Record a fault where a shared store is asked for and nothing tells where it is."""
    if draft.at("mode") != "forward" or draft.at("enabled") is False:
        return
    store = draft.at("responses_state", "store")
    if isinstance(store, str) and store in _WRITTEN_AS and draft.at(store, "url") is None:
        what = f"{store} needs {store}.url, e.g. {_WRITTEN_AS[store]}"
        draft.fault(("responses_state", "store"), what)
