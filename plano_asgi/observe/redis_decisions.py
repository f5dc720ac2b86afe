"""The decision log in a stream of Redis."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from plano_asgi.observe.decision_stores import AT_ONCE, Entry, Kept
from plano_asgi.stores.redis_server import RedisServer


class RedisDecisions:
    """Keeps about `size` latest entries of all workers in a stream of Redis, each for `ttl_s` seconds."""

    kind: Final = "redis"
    is_slow: Final = True
    is_shared: Final = True

    def __init__(self, server: RedisServer, *, prefix: str, size: int, ttl_s: float) -> None:
        """Take the server and the bounds."""
        self._server = server
        self._key = f"{prefix}decisions"
        self._size = size
        self._ttl_s = ttl_s

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep entries, at the cost of the oldest."""
        for entry in entries:
            self._server.ask("XADD", self._key, "MAXLEN", "~", self._size, "*", "entry", orjson.dumps(entry))
        self._server.ask("XTRIM", self._key, "MINID", "~", str(self._oldest_ms()))
        self._server.ask("EXPIRE", self._key, max(1, round(self._ttl_s)))

    def newest(self, *, before: str | None = None) -> Iterator[Kept]:
        """Yield what is kept, the newest first."""
        end = "+" if before is None else f"({_stream_id(before)}"
        while rows := self._range("XREVRANGE", end, str(self._oldest_ms()), AT_ONCE):
            yield from rows
            end = f"({rows[-1].id}"

    def newer(self, after: str, *, limit: int) -> Iterator[Kept]:
        """Yield what is newer, the oldest first."""
        start, oldest_ms = _stream_id(after), self._oldest_ms()
        is_forgotten = int(start.partition("-")[0]) < oldest_ms
        yield from self._range("XRANGE", str(oldest_ms) if is_forgotten else f"({start}", "+", limit)

    def _range(self, command: str, first: str, last: str, limit: int) -> list[Kept]:
        rows = self._server.ask(command, self._key, first, last, "COUNT", limit)
        return [Kept.read(number.decode(), fields[b"entry"]) for number, fields in _pairs(rows)]

    def _oldest_ms(self) -> int:
        return int((datetime.now(UTC) - timedelta(seconds=self._ttl_s)).timestamp() * 1000)


def _stream_id(text: str) -> str:
    """Return the id of a stream's entry, or refuse what is none."""
    milliseconds, _, number = text.partition("-")
    return f"{int(milliseconds)}-{int(number or 0)}"


def _pairs(rows: object) -> Iterator[tuple[bytes, Mapping[bytes, bytes]]]:
    """Yield ids and fields, whether the client gives fields as a list or as a mapping."""
    if not isinstance(rows, list):
        return
    for number, fields in rows:
        yield number, fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
