"""Answers that are read along with while they pass, for who wants to see in a trace what models say."""

from dataclasses import replace
from http import HTTPStatus

from plano_asgi.gateway.passing_pieces import PassingPieces
from plano_asgi.observe.answer_reading import AnswerReader
from plano_asgi.upstream import ForwardedAnswer, Pieces


def captured(answer: ForwardedAnswer, reader: AnswerReader) -> ForwardedAnswer:
    """Return an answer that a reader hears of as its caller does; an error is nobody's answer."""
    if answer.status >= HTTPStatus.BAD_REQUEST:
        return answer
    return replace(answer, pieces=_Captured(answer.pieces, reader))


class _Captured(PassingPieces):
    """The pieces of an answer, and who else hears of them."""

    def __init__(self, pieces: Pieces, reader: AnswerReader) -> None:
        super().__init__(pieces)
        self._reader = reader

    async def next(self) -> bytes:
        piece = await self._pieces.next()
        self._reader.feed(piece)
        return piece
