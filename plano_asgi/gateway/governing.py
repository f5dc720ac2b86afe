"""A call that is governed: nobody is asked beyond a limit, and what was held is settled however the call ends."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from plano_asgi.gateway.account import Account
from plano_asgi.govern import Admission
from plano_asgi.upstream import Admit, FailureKind, ForwardedAnswer, Pieces
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


@dataclass(slots=True)
class _Counted:
    """The pieces of an answer that is counted; a stream's events stand for its tokens where nobody counts those."""

    pieces: Pieces
    admission: Admission
    is_served: bool
    is_stream: bool
    events: int = 0

    @property
    def usage(self) -> Usage:
        return self.pieces.usage

    @property
    def losses(self) -> tuple[str, ...]:
        return self.pieces.losses

    @property
    def failure(self) -> FailureKind | None:
        return self.pieces.failure

    async def next(self) -> bytes:
        piece = await self.pieces.next()
        if self.is_stream:
            self.events += piece.count(_EVENT)
        return piece

    async def aclose(self) -> None:
        try:
            await self.pieces.aclose()
        finally:
            usage = self.pieces.usage if self.is_served else _NOTHING
            await self.admission.settle(usage, written=self.events if self.is_stream else None)
