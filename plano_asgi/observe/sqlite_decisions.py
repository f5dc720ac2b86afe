"""The decision log in a SQLite file."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import orjson

from plano_asgi.errors import StoreError
from plano_asgi.observe.decision_stores import AT_ONCE, Entry, Kept, living_since

_BUSY_S: Final = 5.0


class SqliteDecisions:
    """Keeps the `size` latest entries of all processes of a machine in a file, each for `ttl_s` seconds."""

    kind: Final = "sqlite"
    is_slow: Final = True
    is_shared: Final = True

    def __init__(self, path: Path, *, size: int, ttl_s: float) -> None:
        """Set the bounds; the file is made with the first entry."""
        self._path = path
        self._size = size
        self._ttl_s = ttl_s

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep entries, at the cost of the oldest."""
        with self._open() as file, file:
            rows = [(entry["at"], orjson.dumps(entry).decode()) for entry in entries]
            file.executemany("INSERT INTO decisions (at, entry) VALUES (?, ?)", rows)
            file.execute("DELETE FROM decisions WHERE at < ?", (living_since(self._ttl_s),))
            file.execute(
                "DELETE FROM decisions WHERE id <= (SELECT id FROM decisions ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (self._size,),
            )

    def newest(self, *, before: str | None = None) -> Iterator[Kept]:
        """Yield what is kept, the newest first."""
        bound = 2**63 - 1 if before is None else int(before)
        while rows := self._rows("id < ? AND at >= ? ORDER BY id DESC", bound, limit=AT_ONCE):
            yield from (Kept.read(str(number), text) for number, text in rows)
            bound = rows[-1][0]

    def newer(self, after: str, *, limit: int) -> Iterator[Kept]:
        """Yield what is newer, the oldest first."""
        rows = self._rows("id > ? AND at >= ? ORDER BY id", int(after), limit=limit)
        yield from (Kept.read(str(number), text) for number, text in rows)

    def _rows(self, condition: str, bound: int, *, limit: int) -> list[tuple[int, str]]:
        question = f"SELECT id, entry FROM decisions WHERE {condition} LIMIT ?"  # noqa: S608 - our own words
        with self._open() as file:
            return file.execute(question, (bound, living_since(self._ttl_s), limit)).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S)) as file:
                with suppress(sqlite3.OperationalError):  # another process is doing so, and SQLite does not wait
                    file.execute("PRAGMA journal_mode=WAL")
                file.execute("PRAGMA synchronous=NORMAL")
                file.execute(
                    "CREATE TABLE IF NOT EXISTS decisions (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, entry TEXT)"
                )
                yield file
        except (sqlite3.Error, OverflowError) as error:
            what = (
                f"the decision log cannot be used ({type(error).__name__}); see that decision_log.path can be written"
            )
            raise StoreError(what) from None
