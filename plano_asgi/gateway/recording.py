"""Answers that are read along with while they pass, so that they can be kept once they are complete."""

from dataclasses import replace
from typing import Final

from plano_asgi.errors import UnusableAnswerError
from plano_asgi.gateway.conversations import Keep
from plano_asgi.gateway.passing_pieces import PassingPieces
from plano_asgi.upstream import ForwardedAnswer, OnePiece, Pieces
from plano_asgi.wire.exact_json import read_json
from plano_asgi.wire.sse import EventReader

NOT_KEPT: Final = "store: the answer could not be kept, so that no call can go on from it"
_SUCCESSES: Final = range(200, 300)
_ENDS: Final = ("response.completed", "response.incomplete")
_MARKS: Final = tuple(end.encode() for end in _ENDS)


async def recorded(answer: ForwardedAnswer, keep: Keep, *, is_stream: bool) -> ForwardedAnswer:
    """Return a Responses answer that is kept before the caller has all of it; one that breaks off is not.

    A whole answer that cannot be kept says so among its losses.
    """
    if answer.status not in _SUCCESSES:
        return answer
    if is_stream:
        return replace(answer, pieces=RecordedStream(answer.pieces, keep, answer.model))
    body = await answer.pieces.next()
    response = _object(body)
    is_kept = response is None or await keep(response, answer.model)
    await answer.pieces.aclose()
    losses = answer.losses if is_kept else (*answer.losses, NOT_KEPT)
    return replace(answer, pieces=OnePiece(body, answer.pieces.usage), losses=losses)


class RecordedStream(PassingPieces):
    """A Responses stream whose last event, which repeats the whole answer, is kept before it is passed on."""

    def __init__(self, pieces: Pieces, keep: Keep, model: str) -> None:
        """Start before the first byte."""
        super().__init__(pieces)
        self._keep = keep
        self._model = model
        self._events = EventReader()

    async def next(self) -> bytes:
        """Return the next piece, empty at the end."""
        piece = await self._pieces.next()
        for response in self._ended_by(piece):
            await self._keep(response, self._model)
        return piece

    def _ended_by(self, piece: bytes) -> list[dict[str, object]]:
        try:
            events = self._events.feed(piece) if piece else self._events.end()
        except UnusableAnswerError:  # an event too large to be kept
            return []
        told = (_object(event.data) for event in events if any(mark in event.data for mark in _MARKS))
        ends = (event for event in told if event and event.get("type") in _ENDS)
        return [response for event in ends if isinstance(response := event.get("response"), dict)]


def _object(data: bytes) -> dict[str, object] | None:
    try:
        value = read_json(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
