"""Documents on a server that is left alone for a while after it has failed."""

from plano_asgi.errors import StoreError
from plano_asgi.stores.documents import DocumentStore
from plano_asgi.stores.rest import Rest


class RestingDocuments:
    """Keeps documents where another store does; after a failure that is not asked for a second.

    Reading and keeping rest apart from each other: a server that is full can still be read.
    """

    def __init__(self, store: DocumentStore) -> None:
        """Ask nothing yet."""
        self._store = store
        self._reading = Rest()
        self._keeping = Rest()

    async def read(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None.

        Raises:
            StoreError: The store cannot be asked, or rests.
        """
        _refuse_while(self._reading)
        try:
            return await self._store.read(key)
        except StoreError as error:
            self._reading.begin_after(error)
            raise

    async def keep(self, key: str, document: bytes) -> None:
        """Keep a document.

        Raises:
            StoreError: The store cannot be asked, or rests, or has no room for it.
        """
        _refuse_while(self._keeping)
        try:
            await self._store.keep(key, document)
        except StoreError as error:
            self._keeping.begin_after(error)
            raise


def _refuse_while(rest: Rest) -> None:
    if rest.is_on:
        raise StoreError(f"the store has just failed; it is asked again after {rest.seconds:.0f} s")
