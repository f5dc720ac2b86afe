"""What keeps the decision log's entries: the protocol, and memory."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Lock
from typing import Final, Protocol, Self

import orjson

Entry = Mapping[str, object]

AT_ONCE: Final = 200  # entries that a store elsewhere is asked for in one question


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry, and what it is known by in its store."""

    id: str
    entry: Entry

    @classmethod
    def read(cls, number: str, text: str | bytes) -> Self:
        """Return an entry out of its JSON."""
        entry = orjson.loads(text)
        return cls(number, entry if isinstance(entry, dict) else {})


class DecisionStore(Protocol):
    """A bounded log that forgets its oldest entries; thread-safe.

    Attributes:
        kind: Its name in `decision_log.store`.
        is_slow: Whether writing waits for a disk or a server.
        is_shared: Whether all worker processes write into it.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102 - described above
    @property
    def is_slow(self) -> bool: ...  # noqa: D102
    @property
    def is_shared(self) -> bool: ...  # noqa: D102

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep entries, the oldest first.

        Raises:
            StoreError: They cannot be kept.
        """

    def newest(self, *, before: str | None = None) -> Iterator[Kept]:
        """Yield what is kept, or what is older than an entry, the newest first.

        Raises:
            StoreError: It cannot be read.
            ValueError: `before` is no id.
        """

    def newer(self, after: str, *, limit: int) -> Iterator[Kept]:
        """Yield what is newer than an entry, the oldest first; raises as `newest` does. `0` is before all entries."""


class MemoryDecisions:
    """Keeps the `size` latest entries of this process, each for `ttl_s` seconds."""

    kind: Final = "memory"
    is_slow: Final = False
    is_shared: Final = False

    def __init__(self, *, size: int, ttl_s: float) -> None:
        """Set the bounds."""
        self.bounds: Final = (size, ttl_s)
        self._kept: deque[tuple[int, Entry]] = deque(maxlen=size)
        self._ttl_s = ttl_s
        self._numbers = count(1)
        self._lock = Lock()

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep entries, at the cost of the oldest."""
        with self._lock:
            for entry in entries:
                self._kept.append((next(self._numbers), entry))

    def newest(self, *, before: str | None = None) -> Iterator[Kept]:
        """Yield what is kept, the newest first."""
        bound = None if before is None else int(before)
        for number, entry in reversed(self._living()):
            if bound is None or number < bound:
                yield Kept(str(number), entry)

    def newer(self, after: str, *, limit: int) -> Iterator[Kept]:
        """Yield what is newer, the oldest first."""
        bound = int(after)
        newer = [Kept(str(number), entry) for number, entry in self._living() if number > bound]
        yield from newer[:limit]

    def _living(self) -> list[tuple[int, Entry]]:
        since = living_since(self._ttl_s)
        with self._lock:
            return [(number, entry) for number, entry in self._kept if str(entry["at"]) >= since]


def living_since(ttl_s: float) -> str:
    """Return the time from which on entries are still kept, as they write it."""
    return (datetime.now(UTC) - timedelta(seconds=ttl_s)).isoformat(timespec="milliseconds")
