"""The settings of what is kept for `previous_response_id`, and of the PostgreSQL server that may keep it."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from plano_asgi.settings.fields import Milliseconds, Seconds, SecretText
from plano_asgi.settings.section import Section

Bytes = Annotated[int, Strict(), Field(ge=1, le=1_099_511_627_776)]


class ResponsesStateSettings(Section):
    """What is kept of Responses calls under `mode: forward`, so that `previous_response_id` goes on from it.

    Attributes:
        store: Where: nowhere, in each process's own memory, or in a server that all of them share.
        ttl_s: Seconds for which a response can be gone on from.
        size: Most responses kept, in `memory`.
        total_bytes: Most bytes of all of them, in `memory`.
        conversation_bytes: Most bytes of one conversation; a longer one is not kept.
    """

    store: Literal["none", "memory", "redis", "postgres"] = "memory"
    ttl_s: Seconds = 86_400.0
    size: Annotated[int, Strict(), Field(ge=1, le=10_000_000)] = 10_000
    total_bytes: Bytes = 67_108_864
    conversation_bytes: Bytes = 4_194_304


class PostgresSettings(Section):
    """The PostgreSQL server; used where a setting's `store` is `postgres`.

    Attributes:
        url: `postgresql://user:password@host:port/database`.
        timeout_ms: Milliseconds for a free connection, and for each answer.
    """

    url: SecretText | None = None
    timeout_ms: Milliseconds = 1_000.0
