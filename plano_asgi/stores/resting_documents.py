"""Documents on a server that is left alone for a while after it has failed."""

from collections.abc import Iterator
from contextlib import contextmanager

from plano_asgi.errors import StoreError
from plano_asgi.stores.documents import DocumentStore
from plano_asgi.stores.rest import Rest


class RestingDocuments:
    """Keeps documents where another store does; after a failure that is not asked for a second.

    Reading, keeping and removing rest apart from each other: a server that is full can still be read.
    """

    def __init__(self, store: DocumentStore) -> None:
        """Ask nothing yet."""
        self._store = store
        self._reading = Rest()
        self._keeping = Rest()
        self._removing = Rest()

    async def read(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None.

        Raises:
            StoreError: The store cannot be asked, or rests.
        """
        with _resting(self._reading):
            return await self._store.read(key)

    async def keep(self, key: str, document: bytes) -> None:
        """Keep a document.

        Raises:
            StoreError: The store cannot be asked, or rests, or has no room for it.
        """
        with _resting(self._keeping):
            await self._store.keep(key, document)

    async def remove(self, key: str) -> None:
        """Keep nothing under a key any more.

        Raises:
            StoreError: The store cannot be asked, or rests.
        """
        with _resting(self._removing):
            await self._store.remove(key)


@contextmanager
def _resting(rest: Rest) -> Iterator[None]:
    """Refuse while the store is to be left alone, and leave it alone where it fails now."""
    if rest.is_on:
        raise StoreError(f"the store has just failed; it is asked again after {rest.seconds:.0f} s")
    try:
        yield
    except StoreError as error:
        rest.begin_after(error)
        raise
