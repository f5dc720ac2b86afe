"""Documents that are kept for a while under a key, wherever that is."""

from typing import Protocol


class DocumentStore(Protocol):
    """Keeps documents for a while; bounded, and safe to use from any event loop."""

    async def read(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None.

        Raises:
            StoreError: The store cannot be asked.
        """

    async def keep(self, key: str, document: bytes) -> None:
        """Keep a document under a key, instead of the one that is there.

        Raises:
            StoreError: The store cannot be asked, or has no room for it.
        """

    async def remove(self, key: str) -> None:
        """Keep nothing under a key any more, whether or not something is there.

        Raises:
            StoreError: The store cannot be asked.
        """
