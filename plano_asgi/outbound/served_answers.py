"""What becomes of an outbound call: an answer that has begun, or nothing of ours."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import anyio

from plano_asgi.gateway import Account
from plano_asgi.intake.rewriting import RawHeaders
from plano_asgi.upstream.answers import Pieces


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A call that goes where it was going; its body is another where it held an inline policy that is cut."""

    body: bytes | None = field(default=None, repr=False)


class ServedBody:
    """The body of an answer, for one reader at a time; the call is accounted for when it is over."""

    def __init__(self, pieces: Pieces, account: Account, *, read_s: float | None, conclude: Callable[[], None]) -> None:
        """Take over the pieces, which are closed with this."""
        self._pieces: Final = pieces
        self._account: Final = account
        self._read_s: Final = read_s
        self._conclude: Final = conclude
        self._is_closed = False

    async def next(self) -> bytes:
        """Return the next piece, empty at the end.

        Raises:
            TimeoutError: It did not come while the caller was ready to wait.
        """
        with anyio.fail_after(self._read_s):
            piece = await self._pieces.next()
        if not piece:
            self._account.is_complete = True
            await self.aclose()
        return piece

    async def aclose(self) -> None:
        """Let go of the provider, which stops its work where it still answers."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._pieces.aclose()
        finally:
            self._conclude()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedAnswer:
    """An answer that has begun; whoever asked for it closes its body."""

    status: int
    headers: RawHeaders
    body: ServedBody
