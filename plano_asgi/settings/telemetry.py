"""What the decision log's stores need."""

from plano_asgi.settings.draft import Draft


def check_telemetry(draft: Draft) -> None:
    """Record a fault where a store has not what it needs."""
    store = draft.at("decision_log", "store")
    if store == "sqlite" and draft.at("decision_log", "path") is None:
        draft.fault(("decision_log", "path"), "is required where decision_log.store is sqlite: name a file")
    if store == "redis" and draft.at("redis", "url") is None:
        draft.fault(("decision_log", "store"), "needs redis.url; set it, or keep the log in memory or sqlite")
    if store != "sqlite" and draft.at("decision_log", "path") is not None:
        draft.warn(("decision_log", "path"), "has no effect unless decision_log.store is sqlite")
