"""Documents in this process's memory."""

from threading import Lock
from typing import Final

from cachetools import TTLCache

from plano_asgi.errors import StoreError


class MemoryDocuments:
    """Keeps those `size` documents that were used last, of `total_bytes` at the most, each for `ttl_s` seconds."""

    def __init__(self, *, size: int, total_bytes: int, ttl_s: float) -> None:
        """Set the bounds."""
        self.bounds: Final = (size, total_bytes, ttl_s)
        self._size = size
        self._documents: TTLCache[str, bytes] = TTLCache(maxsize=total_bytes, ttl=ttl_s, getsizeof=len)
        self._lock = Lock()

    async def read(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None."""
        with self._lock:
            return self._documents.get(key)

    async def keep(self, key: str, document: bytes) -> None:
        """Keep a document, at the cost of those used longest ago.

        Raises:
            StoreError: It is larger than all of the store.
        """
        with self._lock:
            if len(document) > self._documents.maxsize:
                raise StoreError("the document is larger than the store; raise its bounds")
            self._documents[key] = document
            while len(self._documents) > self._size:
                self._documents.popitem()

    async def remove(self, key: str) -> None:
        """Keep nothing under a key any more."""
        with self._lock:
            self._documents.pop(key, None)

    def __len__(self) -> int:
        """Return how many documents are kept."""
        with self._lock:
            return len(self._documents)
