"""An answer whose body comes piece by piece, decoded as it comes, whatever client it comes from."""

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from plano_asgi.errors import NetworkError
from plano_asgi.net.decoding import decoder_of


class RawBytes(Protocol):
    """The body of an answer as its server sends it."""

    async def read(self) -> bytes:
        """Return the next piece, empty at the end.

        Raises:
            NetworkError: The answer broke off.
        """

    async def aclose(self) -> None:
        """Give the connection back where all is read, and close it where it is not; whatever is cancelled."""


class StreamedAnswer:
    """An answer under way, decoded; to be read by one task at a time and closed in the end.

    Attributes:
        status: HTTP status.
        headers: Headers by lower-case name.
    """

    def __init__(self, status: int, headers: Mapping[str, str], raw: RawBytes) -> None:
        """Take over an answer of which the head is read.

        Raises:
            NetworkError: It is encoded in a way that cannot be read; then nothing is taken over.
        """
        self._decoder: Final = decoder_of(headers.get("content-encoding", ""))
        self.status: Final = status
        self.headers: Final[Mapping[str, str]] = dict(headers)
        self._raw: Final = raw
        self._pending: Iterator[bytes] = iter(())

    async def read(self) -> bytes:
        """Return the next piece, empty at the end.

        Raises:
            NetworkError: The answer broke off, or is not what its encoding says.
        """
        while True:
            if piece := next(self._pending, b""):
                return piece
            raw = await self._raw.read()
            if not raw:
                if not self._decoder.is_at_end():
                    raise NetworkError("the answer broke off within its content encoding")
                return b""
            self._pending = self._decoder.feed(raw)

    async def aclose(self) -> None:
        """Give the connection back where the answer is read, and close it where it is not; whatever is cancelled."""
        await self._raw.aclose()


def innermost(error: BaseException) -> str:
    """Return the name of the error behind an error; its words may hold addresses and are not ours."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]  # one of both is there
    return type(cause).__name__
