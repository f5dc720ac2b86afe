"""A call that is governed: nobody is asked beyond a limit, and what was held is settled however the call ends."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from plano_asgi.gateway.account import Account
from plano_asgi.govern import Admission
from plano_asgi.upstream import Candidate, FailureKind, ForwardedAnswer, Forwarder, OutboundCall, Pieces
from plano_asgi.wire.usage import Usage

_EVENT: Final = b"data:"
_NOTHING: Final = Usage(input_tokens=0, output_tokens=0)


async def answer_within_limits(
    forwarder: Forwarder, call: OutboundCall, candidates: Sequence[Candidate], account: Account
) -> ForwardedAnswer:
    """Return the first good answer, as `Forwarder.forward` does; closing its pieces settles what was held for it.

    Raises:
        CallError: As `Forwarder.forward`; that of a limit where it is why nobody was asked.
    """
    admission = account.admission
    if admission is None:
        return await forwarder.forward(call, candidates, trail=account.trail)
    try:
        answer = await forwarder.forward(call, candidates, trail=account.trail, admit=admission.admit)
    except BaseException:
        await admission.settle(None)
        raise
    is_served = answer.status < HTTPStatus.BAD_REQUEST
    return replace(answer, pieces=_Counted(answer.pieces, admission, is_served=is_served, is_stream=call.is_stream))


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
