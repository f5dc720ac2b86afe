"""What sessions need of other settings."""

from plano_asgi.settings.draft import Draft


def check_sessions(draft: Draft) -> None:
    """Record a fault where sessions are to be shared and nothing says where."""
    if draft.at("sessions", "store") == "redis" and draft.at("redis", "url") is None:
        draft.fault(("sessions", "store"), "redis needs redis.url; add it, e.g. redis://localhost:6379/0")
