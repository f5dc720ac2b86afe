"""A PostgreSQL server, asked from threads and from event loops. Home of psycopg."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import BoundedSemaphore, Lock
from typing import Final, LiteralString

from plano_asgi.errors import MissingExtraError, StoreBusyError, StoreError
from plano_asgi.secret import Secret
from plano_asgi.stores.own_threads import OwnThreads

try:
    import psycopg
    from psycopg import Connection
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
except ImportError as error:  # psycopg itself raises one where libpq is missing
    raise MissingExtraError("postgres", needed_for="the setting postgres.url") from error

Row = tuple[object, ...]


class PostgresServer:
    """A PostgreSQL server; connected when it is first asked, again after every fault, and after a fork anew.

    Bounded by `connections` and by `timeout_s` for a connection, for a free one, and for each answer. Each statement is
    a transaction of its own. Nothing is tried again. Where no connection becomes free in time, its errors are a
    `StoreBusyError`. Event loops ask on threads of its own.
    """

    def __init__(self, url: Secret, *, timeout_s: float = 1.0, connections: int = 16) -> None:
        """Set the bounds; nothing is connected yet.

        Args:
            url: `postgresql://user:password@host:port/database`.
            timeout_s: Seconds for a free connection, and for each answer; libpq connects in whole seconds, 2 at least.
            connections: Most connections at a time.

        Raises:
            ValueError: It is no such URL.
        """
        try:
            conninfo_to_dict(url.reveal())
        except psycopg.ProgrammingError:
            raise ValueError("no URL of a PostgreSQL server") from None
        self._url: Final = url
        self._timeout_s: Final = timeout_s
        self._threads: Final = OwnThreads(connections, patience_s=timeout_s)
        self._free: Final = BoundedSemaphore(connections)
        self._lock: Final = Lock()
        self._idle: list[Connection[Row]] = []
        self._process = os.getpid()

    def ask(self, statement: LiteralString, values: Sequence[object] = ()) -> list[Row]:
        """Return the rows that a statement gives; blocks.

        Raises:
            StoreError: The server cannot be asked, or refuses.
        """
        try:
            with self._connection() as connection:
                cursor = connection.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        except StoreBusyError:
            raise
        except (psycopg.Error, OSError) as error:
            raise _failed(error) from None

    async def aask(self, statement: LiteralString, values: Sequence[object] = ()) -> list[Row]:
        """Return the rows that a statement gives without blocking the event loop; the same as `ask` in all else."""
        return await self._threads.run(partial(self.ask, statement, values))

    def close(self) -> None:
        """Close the connections that nobody uses; the next question opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator["Connection[Row]"]:
        if not self._free.acquire(timeout=self._timeout_s):
            raise StoreBusyError(
                "all connections to PostgreSQL are in use; fewer calls at once, or a longer timeout_ms"
            )
        try:
            connection = self._taken() or self._connected()
            try:
                yield connection
            except BaseException:
                connection.close()
                self.close()  # where one is broken, the others are
                raise
            with self._lock:
                self._idle.append(connection)
        finally:
            self._free.release()

    def _taken(self) -> "Connection[Row] | None":
        """Return a connection that was used before; those of a parent process are its own."""
        with self._lock:
            if self._process != os.getpid():
                self._process, self._idle = os.getpid(), []
            return self._idle.pop() if self._idle else None

    def _connected(self) -> "Connection[Row]":
        milliseconds = max(1, round(self._timeout_s * 1000))
        conninfo = make_conninfo(
            self._url.reveal(),
            connect_timeout=max(2, round(self._timeout_s)),
            options=f"-c statement_timeout={milliseconds}",
            tcp_user_timeout=milliseconds,
        )
        return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)


def _failed(error: Exception) -> StoreError:
    return StoreError(f"PostgreSQL cannot be asked ({type(error).__name__}); see whether it runs at postgres.url")
