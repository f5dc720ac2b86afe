"""Where sessions are kept: in this process's memory, or in a Redis server that workers share."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from threading import Lock
from typing import Final, Protocol

import orjson

from plano_asgi.errors import StoreError
from plano_asgi.sessions import MOST_PINS, Pin
from plano_asgi.stores import MemoryStore

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

    def __init__(self, *, size: int, ttl_s: float) -> None:
        """Set the bounds."""
        self._store: MemoryStore[str, Pins] = MemoryStore(size=size, ttl_s=ttl_s)
        self._lock = Lock()

    def read(self, key: str) -> Pins:
        """Return a session's pins, the latest first."""
        with self._lock:
            pins = self._store.get(key) or ()
            if pins:
                self._store.put(key, pins)  # its time begins again
        return pins

    def push(self, key: str, pin: Pin) -> None:
        """Keep a pin as its session's latest."""
        with self._lock:
            self._store.put(key, (pin, *(self._store.get(key) or ()))[:MOST_PINS])

    async def aread(self, key: str) -> Pins:
        """Return the same as `read`."""
        return self.read(key)

    async def apush(self, key: str, pin: Pin) -> None:
        """Do the same as `push`."""
        self.push(key, pin)

    def __len__(self) -> int:
        """Return how many sessions are kept."""
        return len(self._store)


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
