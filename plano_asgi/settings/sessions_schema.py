"""The settings of sessions: calls that belong together, and what is remembered of them."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from plano_asgi.settings.fields import HeaderName, Seconds
from plano_asgi.settings.section import Section


class SessionSettings(Section):
    """Where sessions are kept, how many and for how long.

    Attributes:
        store: `memory`: each process has its own; `redis`: workers share them, on the server of `redis.url`.
        size: Most sessions kept in memory; 0 keeps none.
        ttl_s: Seconds for which a session is kept after its latest call.
        tenant_header: The header that says whose call it is; calls of two tenants never belong together. None for the
            headers of keys.
    """

    store: Literal["memory", "redis"] = "memory"
    size: Annotated[int, Strict(), Field(ge=0, le=10_000_000)] = 10_000
    ttl_s: Seconds = 3_600.0
    tenant_header: HeaderName | None = None
