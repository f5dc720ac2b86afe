"""Where sessions are kept: in this process's memory, or in a Redis server that workers share."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from threading import Lock
from time import monotonic
from typing import Final, Protocol

import orjson

from plano_asgi.errors import StoreError
from plano_asgi.sessions import MOST_PINS, Pin

Pins = tuple[Pin, ...]


class SessionStore(Protocol):
    """Keeps the latest 8 pins of each session, each session until it has not been asked for during its time.

    All may raise `StoreError`; the asynchronous ones do not block the event loop.
    """

    def read(self, key: str) -> Pins:
        """Return a session's pins, the latest first; none where it is not known."""

    def push(self, key: str, pin: Pin) -> None:
        """Keep a pin as its session's latest."""

    async def aread(self, key: str) -> Pins:
        """Return the same as `read`."""

    async def apush(self, key: str, pin: Pin) -> None:
        """Do the same as `push`."""


class MemorySessions:
    """Keeps the `size` sessions used last, each until it was not used for `ttl_s` seconds; thread-safe."""

    def __init__(self, *, size: int, ttl_s: float, clock: Callable[[], float] = monotonic) -> None:
        """Set the bounds; the clock tells seconds."""
        self._clock: Final = clock
        self._size: Final = size
        self._ttl_s: Final = ttl_s
        self._sessions: OrderedDict[str, tuple[Pins, float]] = OrderedDict()  # who was used longest ago comes first
        self._lock = Lock()

    def read(self, key: str) -> Pins:
        """Return a session's pins, the latest first, and let its time begin again."""
        with self._lock:
            pins = self._known(key)
            if pins:
                self._keep(key, pins)
        return pins

    def push(self, key: str, pin: Pin) -> None:
        """Keep a pin as its session's latest, at the cost of the session used longest ago."""
        with self._lock:
            self._keep(key, (pin, *self._known(key))[:MOST_PINS])
            if len(self._sessions) > self._size:
                self._sessions.popitem(last=False)

    def _known(self, key: str) -> Pins:
        pins, until = self._sessions.get(key, ((), 0.0))
        return pins if self._clock() < until else ()

    def _keep(self, key: str, pins: Pins) -> None:
        self._sessions[key] = (pins, self._clock() + self._ttl_s)
        self._sessions.move_to_end(key)

    async def aread(self, key: str) -> Pins:
        """Return the same as `read`."""
        return self.read(key)

    async def apush(self, key: str, pin: Pin) -> None:
        """Do the same as `push`."""
        self.push(key, pin)

    def __len__(self) -> int:
        """Return how many sessions are kept."""
        return len(self._sessions)


class SharedLists(Protocol):
    """Lists of bytes on a server, each command one round trip; all may raise `StoreError`."""

    def read(self, key: str) -> Sequence[bytes]:
        """Return a list, the latest first, and let its time begin again."""

    def push(self, key: str, value: bytes) -> None:
        """Put a value first."""

    async def aread(self, key: str) -> Sequence[bytes]:
        """Return the same as `read`."""

    async def apush(self, key: str, value: bytes) -> None:
        """Do the same as `push`."""


class SharedSessions:
    """Keeps sessions where workers share them; one round trip to read, and one to keep."""

    def __init__(self, lists: SharedLists) -> None:
        """Take the lists that they are kept in."""
        self._lists = lists

    def read(self, key: str) -> Pins:
        """Return a session's pins, the latest first."""
        return _pins(self._lists.read(key))

    def push(self, key: str, pin: Pin) -> None:
        """Keep a pin as its session's latest."""
        self._lists.push(key, orjson.dumps(asdict(pin)))

    async def aread(self, key: str) -> Pins:
        """Return the same as `read`."""
        return _pins(await self._lists.aread(key))

    async def apush(self, key: str, pin: Pin) -> None:
        """Do the same as `push`."""
        await self._lists.apush(key, orjson.dumps(asdict(pin)))


_FIELDS: Final = frozenset(field.name for field in fields(Pin))


def _pins(values: Sequence[bytes]) -> Pins:
    return tuple(_pin(value) for value in values)


def _pin(value: bytes) -> Pin:
    try:
        told = orjson.loads(value)
        if not isinstance(told, Mapping) or not told.keys() <= _FIELDS:
            raise StoreError("what is kept of a session is not what this version keeps; let it expire")
        return Pin(**told)
    except (ValueError, TypeError) as error:
        raise StoreError("what is kept of a session cannot be read; let it expire") from error
