"""Answers that are read along with while they pass, for who wants to see in a trace what models say."""

from dataclasses import dataclass, replace
from http import HTTPStatus

from plano_asgi.observe.answer_reading import AnswerReader
from plano_asgi.upstream import FailureKind, ForwardedAnswer, Pieces
from plano_asgi.wire.usage import Usage


def captured(answer: ForwardedAnswer, reader: AnswerReader) -> ForwardedAnswer:
    """Return an answer that a reader hears of as its caller does; an error is nobody's answer."""
    if answer.status >= HTTPStatus.BAD_REQUEST:
        return answer
    return replace(answer, pieces=_Captured(answer.pieces, reader))


@dataclass(slots=True)
class _Captured:
    """The pieces of an answer, and who else hears of them."""

    pieces: Pieces
    reader: AnswerReader

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
        self.reader.feed(piece)
        return piece

    async def aclose(self) -> None:
        await self.pieces.aclose()
