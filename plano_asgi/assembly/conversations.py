"""Settings to what keeps Responses calls' conversations."""

from typing import TYPE_CHECKING, Final

from plano_asgi.gateway.conversations import Conversations
from plano_asgi.settings import Settings
from plano_asgi.settings.responses_state_schema import ResponsesStateSettings
from plano_asgi.stores.documents import DocumentStore
from plano_asgi.stores.memory_documents import MemoryDocuments
from plano_asgi.stores.resting_documents import RestingDocuments

if TYPE_CHECKING:
    from plano_asgi.stores.postgres_server import PostgresServer
    from plano_asgi.stores.redis_server import RedisServer

_PREFIX: Final = "plano:"  # of keys in PostgreSQL


def build_conversations(
    settings: Settings,
    *,
    redis: "RedisServer | None",
    postgres: "PostgresServer | None",
    before: Conversations | None = None,
) -> Conversations | None:
    """Return what keeps the conversations of Responses calls; None where the settings keep nothing.

    Args:
        settings: What is wanted.
        redis: Where workers share them.
        postgres: Where they outlive the workers.
        before: What has kept them until now; those in memory are kept on where the bounds are the same.
    """
    wanted = settings.responses_state
    store: DocumentStore | None = None
    if wanted.store == "memory":
        store = _in_memory(wanted, before)
    elif wanted.store == "redis" and redis:
        from plano_asgi.stores.redis_documents import RedisDocuments  # noqa: PLC0415 - only where settings ask for it

        store = RestingDocuments(RedisDocuments(redis, prefix=settings.redis.prefix, ttl_s=wanted.ttl_s))
    elif wanted.store == "postgres" and postgres:
        from plano_asgi.stores.postgres_documents import PostgresDocuments  # noqa: PLC0415 - same

        store = RestingDocuments(PostgresDocuments(postgres, prefix=_PREFIX, ttl_s=wanted.ttl_s))
    if store is None:
        return None
    return Conversations(store=store, catalog=settings.catalog, most_bytes=wanted.conversation_bytes)


def _in_memory(wanted: ResponsesStateSettings, before: Conversations | None) -> MemoryDocuments:
    fresh = MemoryDocuments(size=wanted.size, total_bytes=wanted.total_bytes, ttl_s=wanted.ttl_s)
    kept = before.store if before else None
    return kept if isinstance(kept, MemoryDocuments) and kept.bounds == fresh.bounds else fresh
