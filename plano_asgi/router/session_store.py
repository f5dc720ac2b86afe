"""Where sessions are kept: in this process's memory, or in a Redis server that workers share."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from time import monotonic
from typing import Final, Protocol

import orjson

from plano_asgi.errors import StoreError
from plano_asgi.sessions import MOST_PINS, Opening, Pin, maker_of

Pins = tuple[Pin, ...]


class SessionStore(Protocol):
    """Keeps the latest 8 pins of each session, each session until it has not been asked for during its time.

    All may raise `StoreError`; the asynchronous ones do not block the event loop.
    """

    def read(self, key: str) -> Pins:
        """Return a session's pins, the latest first; none where it is not known."""

    def push(self, key: str, pin: Pin) -> None:
        """Keep a pin as its session's latest."""

    def open(self, key: str, opening: Opening) -> Pins:
        """Return a session's pins, the latest first, and keep that of the opening where it is free beside them."""

    async def aread(self, key: str) -> Pins:
        """Return the same as `read`."""

    async def apush(self, key: str, pin: Pin) -> None:
        """Do the same as `push`."""

    async def aopen(self, key: str, opening: Opening) -> Pins:
        """Do the same as `open`."""


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
            self._keep(key, (pin, *self._known(key)))

    def open(self, key: str, opening: Opening) -> Pins:
        """Return a session's pins, the latest first, and keep that of the opening where it is free beside them."""
        with self._lock:
            known = self._known(key)
            if opening.is_free(known):
                self._keep(key, (opening.pin, *known))
            else:
                self._keep(key, known)
        return known

    def _known(self, key: str) -> Pins:
        pins, until = self._sessions.get(key, ((), 0.0))
        return pins if self._clock() < until else ()

    def _keep(self, key: str, pins: Pins) -> None:
        self._sessions[key] = (pins[:MOST_PINS], self._clock() + self._ttl_s)
        self._sessions.move_to_end(key)
        if len(self._sessions) > self._size:
            self._sessions.popitem(last=False)

    async def aread(self, key: str) -> Pins:
        """Return the same as `read`."""
        return self.read(key)

    async def apush(self, key: str, pin: Pin) -> None:
        """Do the same as `push`."""
        self.push(key, pin)

    async def aopen(self, key: str, opening: Opening) -> Pins:
        """Do the same as `open`."""
        return self.open(key, opening)

    def __len__(self) -> int:
        """Return how many sessions are kept."""
        return len(self._sessions)


class SharedLists(Protocol):
    """Lists of bytes on a server, each command one round trip; all may raise `StoreError`."""

    def read(self, key: str) -> Sequence[bytes]:
        """Return a list, the latest first, and let its time begin again."""

    def push(self, key: str, value: bytes) -> None:
        """Put a value first."""

    def offer(self, key: str, value: bytes, *, unless_any: bytes, if_all: bytes) -> Sequence[bytes]:
        """Return a list as `read` does; put a value first if all there have `if_all` in them, and none `unless_any`."""

    async def aread(self, key: str) -> Sequence[bytes]:
        """Return the same as `read`."""

    async def apush(self, key: str, value: bytes) -> None:
        """Do the same as `push`."""

    async def aoffer(self, key: str, value: bytes, *, unless_any: bytes, if_all: bytes) -> Sequence[bytes]:
        """Do the same as `offer`."""


class SharedSessions:
    """Keeps sessions where workers share them; one round trip each to read, to keep and to open."""

    def __init__(self, lists: SharedLists) -> None:
        """Take the lists that they are kept in."""
        self._lists = lists

    def read(self, key: str) -> Pins:
        """Return a session's pins, the latest first."""
        return _pins(self._lists.read(key))

    def push(self, key: str, pin: Pin) -> None:
        """Keep a pin as its session's latest."""
        self._lists.push(key, _told(pin))

    def open(self, key: str, opening: Opening) -> Pins:
        """Return a session's pins, the latest first, and keep that of the opening where it is free beside them."""
        its_turn, its_maker = _free_by(opening)
        return _pins(self._lists.offer(key, _told(opening.pin), unless_any=its_turn, if_all=its_maker))

    async def aread(self, key: str) -> Pins:
        """Return the same as `read`."""
        return _pins(await self._lists.aread(key))

    async def apush(self, key: str, pin: Pin) -> None:
        """Do the same as `push`."""
        await self._lists.apush(key, _told(pin))

    async def aopen(self, key: str, opening: Opening) -> Pins:
        """Do the same as `open`."""
        its_turn, its_maker = _free_by(opening)
        return _pins(await self._lists.aoffer(key, _told(opening.pin), unless_any=its_turn, if_all=its_maker))


def _free_by(opening: Opening) -> tuple[bytes, bytes]:
    """Return what `Opening.is_free` looks for, as it is written in pins: the turn, and the maker where that matters."""
    pin = opening.pin
    its_turn = orjson.dumps({"system": pin.system, "tools": pin.tools, "turn": pin.turn})[1:-1]
    its_maker = orjson.dumps({"model": f"{maker_of(pin.model)}/"})[1:-2] if opening.is_signed else b""
    return its_turn, its_maker


def _told(pin: Pin) -> bytes:
    return orjson.dumps(pin._asdict())


_FIELDS: Final = frozenset(Pin._fields)


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
