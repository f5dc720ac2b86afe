"""Settings to what is remembered of calls that belong together."""

from hashlib import blake2b
from secrets import token_bytes
from typing import TYPE_CHECKING, Final

from plano_asgi.assembly.shared_store import build_redis
from plano_asgi.router import MemorySessions, Sessions, SessionStore, SharedSessions
from plano_asgi.sessions import MOST_PINS
from plano_asgi.settings import Settings

if TYPE_CHECKING:
    from plano_asgi.stores.redis_server import RedisServer

_SECRET_BYTES: Final = 32


def build_sessions(settings: Settings, redis: "RedisServer | None" = None) -> Sessions:
    """Return the sessions that the settings describe, kept on the Redis server given where they are to be shared.

    What their digests are keyed with is drawn by chance, and where workers share them made of `redis.url`, which all of
    those have.
    """
    return Sessions(
        store=_store(settings, redis),
        secret=_secret(settings),
        decide_on=settings.routing.decide_on,
        switch_budget_pct=settings.routing.switch_budget_pct,
    )


def _store(settings: Settings, redis: "RedisServer | None") -> SessionStore:
    wanted = settings.sessions
    server = (redis or build_redis(settings)) if wanted.store == "redis" else None
    if server is None:
        return MemorySessions(size=wanted.size, ttl_s=wanted.ttl_s)
    from plano_asgi.stores.redis_lists import RedisLists  # noqa: PLC0415 - only where the settings ask for it

    prefix = f"{settings.redis.prefix}session:"
    return SharedSessions(RedisLists(server, prefix=prefix, most=MOST_PINS, ttl_s=wanted.ttl_s))


def _secret(settings: Settings) -> bytes:
    url = settings.redis.url
    if settings.sessions.store != "redis" or url is None:
        return token_bytes(_SECRET_BYTES)
    return blake2b(url.reveal().encode(), digest_size=_SECRET_BYTES, person=b"plano-session").digest()
