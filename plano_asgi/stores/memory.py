"""A bounded store in this process's memory."""

import math
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

from cachetools import TTLCache

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class MemoryStore(Generic[_Key, _Value]):
    """Keeps the `size` values used last, each for `ttl_s` seconds at the most; a size of 0 keeps nothing."""

    def __init__(self, *, size: int, ttl_s: float = math.inf) -> None:
        """Set the bounds."""
        self._values: TTLCache[_Key, _Value] = TTLCache(maxsize=size, ttl=ttl_s)
        self._lock = Lock()

    def get(self, key: _Key) -> _Value | None:
        """Return what is kept under the key, or None."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: _Key, value: _Value) -> None:
        """Keep a value under the key, at the cost of the one used longest ago."""
        if self._values.maxsize:
            with self._lock:
                self._values[key] = value

    def __len__(self) -> int:
        """Return how many values are kept."""
        with self._lock:
            return len(self._values)
