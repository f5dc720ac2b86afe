"""A call that is governed: nobody is asked beyond a limit, and what was held is settled however the call ends."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from plano_asgi.gateway.account import Account
from plano_asgi.gateway.passing_pieces import PassingPieces
from plano_asgi.govern import Admission
from plano_asgi.upstream import Admit, ForwardedAnswer, Pieces
from plano_asgi.wire.usage import Usage

_EVENT: Final = b"data:"
_NOTHING: Final = Usage(input_tokens=0, output_tokens=0)


async def answer_within_limits(
    ask: Callable[[Admit | None], Awaitable[ForwardedAnswer]], account: Account, *, is_stream: bool
) -> ForwardedAnswer:
    """Return the answer of a question that is told whom it may ask; closing its pieces settles what was held for it.

    What a caller gives up while somebody is asked is counted by its estimate, since the provider may charge for it all.

    Raises:
        CallError: There is none; that of a limit where it is why nobody was asked.
    """
    admission = account.admission
    if admission is None:
        return await ask(None)
    try:
        answer = await ask(admission.admit)
    except BaseException as error:
        is_given_up = not isinstance(error, Exception)
        await admission.settle(Usage() if is_given_up else None)
        raise
    is_served = answer.status < HTTPStatus.BAD_REQUEST
    return replace(answer, pieces=_Counted(answer.pieces, admission, is_served=is_served, is_stream=is_stream))


class _Counted(PassingPieces):
    """The pieces of an answer that is counted; a stream's events stand for its tokens where nobody counts those."""

    def __init__(self, pieces: Pieces, admission: Admission, *, is_served: bool, is_stream: bool) -> None:
        super().__init__(pieces)
        self._admission = admission
        self._is_served = is_served
        self._is_stream = is_stream
        self._events = 0

    async def next(self) -> bytes:
        piece = await self._pieces.next()
        if self._is_stream:
            self._events += piece.count(_EVENT)
        return piece

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            usage = self.usage if self._is_served else _NOTHING
            await self._admission.settle(usage, written=self._events if self._is_stream else None)
