"""What makes sources of prices and latencies fit together."""

from typing import Final

from plano_asgi.settings.draft import Draft, Keys

SOURCES: Final = "model_metrics_sources"
_PROVIDERS: Final = {"cost": ("models.dev", "digitalocean"), "latency": ("prometheus",)}
_ONLY_OF: Final = {"query": "latency", "model_aliases": "cost"}


def check_model_metrics(draft: Draft) -> None:
    """Record a fault for a second source of a kind, and for what does not belong to the kind that a source is of."""
    first: dict[object, Keys] = {}
    for keys, source in draft.mappings(SOURCES):
        kind = source.get("type")
        if not isinstance(kind, str) or kind not in _PROVIDERS:
            continue
        if kind in first:
            draft.fault(keys, f"there is one source of {kind} already, at {draft.place(first[kind])}; keep one")
        first.setdefault(kind, keys)
        _check_source(draft, keys, source, kind)


def has_source(draft: Draft, kind: str) -> bool:
    """Return whether there is a source of a kind."""
    return any(source.get("type") == kind for _, source in draft.mappings(SOURCES))


def _check_source(draft: Draft, keys: Keys, source: dict[str, object], kind: str) -> None:
    provider = source.get("provider")
    if isinstance(provider, str) and provider not in _PROVIDERS[kind]:
        draft.fault((*keys, "provider"), f"does not tell {kind}; use {' or '.join(_PROVIDERS[kind])}")
    for name, of in _ONLY_OF.items():
        if source.get(name) is not None and kind != of:
            draft.fault((*keys, name), f"is read only where type is {of}; remove it")
    for name in ("url", "query") if kind == "latency" else ():
        if source.get(name) is None:
            draft.fault((*keys, name), "is required where type is latency; add it")
