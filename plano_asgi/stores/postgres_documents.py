"""Documents in a PostgreSQL server, where all worker processes see them and they outlive it."""

from typing import Final

from plano_asgi.stores.postgres_server import PostgresServer

_EXISTS: Final = "SELECT to_regclass('plano_documents') IS NOT NULL"
_CREATE: Final = """
    DO $$ BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('plano_documents'));
        CREATE TABLE IF NOT EXISTS plano_documents (
            key text PRIMARY KEY, document bytea NOT NULL, expires timestamptz NOT NULL);
        CREATE INDEX IF NOT EXISTS plano_documents_expires ON plano_documents (expires);
    END $$
"""
_READ: Final = "SELECT document FROM plano_documents WHERE key = %s AND expires > now()"
_REMOVE: Final = "DELETE FROM plano_documents WHERE key = %s"
_KEEP: Final = """
    WITH gone AS (
        DELETE FROM plano_documents WHERE key IN (
            SELECT key FROM plano_documents WHERE expires < now() ORDER BY expires LIMIT 16 FOR UPDATE SKIP LOCKED))
    INSERT INTO plano_documents VALUES (%s, %s, now() + make_interval(secs => %s))
    ON CONFLICT (key) DO UPDATE SET document = excluded.document, expires = excluded.expires
"""


class PostgresDocuments:
    """Keeps each document for `ttl_s` seconds in the table `plano_documents`, which it makes where there is none.

    Each document that is kept removes up to 16 that have expired, so that the table is as large as what is in force.
    """

    def __init__(self, server: PostgresServer, *, prefix: str, ttl_s: float) -> None:
        """Ask nothing yet; every key begins with `prefix`."""
        self._server = server
        self._prefix = prefix
        self._ttl_s = ttl_s
        self._is_ready = False

    async def read(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None.

        Raises:
            StoreError: The server cannot be asked.
        """
        await self._make_ready()
        rows = await self._server.aask(_READ, [self._prefix + key])
        return bytes(rows[0][0]) if rows and isinstance(rows[0][0], bytes | memoryview) else None

    async def keep(self, key: str, document: bytes) -> None:
        """Keep a document.

        Raises:
            StoreError: The server cannot be asked, or is full.
        """
        await self._make_ready()
        await self._server.aask(_KEEP, [self._prefix + key, document, self._ttl_s])

    async def remove(self, key: str) -> None:
        """Keep nothing under a key any more.

        Raises:
            StoreError: The server cannot be asked.
        """
        await self._make_ready()
        await self._server.aask(_REMOVE, [self._prefix + key])

    async def _make_ready(self) -> None:
        """Make the table; a role that may not is no obstacle where somebody else has made it."""
        if self._is_ready:
            return
        if not (await self._server.aask(_EXISTS))[0][0]:
            await self._server.aask(_CREATE)
        self._is_ready = True
