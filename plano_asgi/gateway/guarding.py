"""Answers behind guardrails: what was masked is put back, and what may not pass is not told."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from plano_asgi.errors import GuardrailError, UnusableAnswerError
from plano_asgi.gateway.conversations import Keep
from plano_asgi.gateway.passing_pieces import PassingPieces
from plano_asgi.gateway.recording import recorded
from plano_asgi.guard import Guard, GuardedCall, Guardrail, Subject
from plano_asgi.guard.answer_texts import AnswerStream, AnswerTexts, changed_answer
from plano_asgi.guard.refusals import not_judged
from plano_asgi.guard.text_steps import Restoring
from plano_asgi.guard.verdicts import AnswerWatch
from plano_asgi.off_the_loop import LARGE_TO_JUDGE_BYTES, off_the_loop
from plano_asgi.upstream import ForwardedAnswer
from plano_asgi.upstream.answers import Pieces
from plano_asgi.upstream.failures import FailureKind
from plano_asgi.wire import FORMATS, error_event
from plano_asgi.wire.exact_json import read_json

_ERRORS: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerGuard:
    """What is done with the answer to one call, of which no words are held but those that were masked.

    Attributes:
        guardrails: What judges it.
        restoring: What puts back what was masked.
        subject: What the guardrails are told of it beforehand.
        most_held_bytes: Most bytes of a stream that is judged before any of it is told; None where it passes as it
            comes.
    """

    guardrails: tuple[Guardrail, ...]
    restoring: tuple[Restoring, ...]
    subject: Subject
    most_held_bytes: int | None

    @classmethod
    def of(cls, guard: Guard, guarded: GuardedCall, *, route: str | None, request_id: str) -> "AnswerGuard | None":
        """Return what is done with the answer to a call on a route; None where nothing is."""
        guardrails = guard.answers_of(route)
        restoring = tuple(Restoring(placeholders) for placeholders in reversed(guarded.placeholders))
        if not guardrails and not restoring:
            return None
        subject = Subject(
            api_format=guarded.call.api_format,
            path=FORMATS[guarded.call.api_format].path,
            body=b"",
            value=None,
            is_answer=True,
            is_stream=guarded.call.is_stream,
            request_id=request_id,
        )
        most = guard.most_held_bytes if guard.holds_answers and guardrails else None
        return cls(guardrails=guardrails, restoring=restoring, subject=subject, most_held_bytes=most)


async def guarded_answer(answer: ForwardedAnswer, guarding: AnswerGuard) -> ForwardedAnswer:
    """Return an answer as the caller may hear it; one that is not streamed, or is held, has been judged by then.

    Guardrails read it as the provider has given it; what was masked is put back after them. An error of the provider's
    is not judged.

    Raises:
        GuardrailError: It may not pass.
    """
    if answer.status >= _ERRORS:
        guarding = replace(guarding, guardrails=(), subject=replace(guarding.subject, is_stream=False))
    most, is_stream = guarding.most_held_bytes, guarding.subject.is_stream
    if is_stream and most is None:
        return replace(answer, pieces=_GuardedStream(answer.pieces, guarding))
    body = await _all_of(answer.pieces, most_bytes=most if is_stream else None)
    body = await _judged(body, guarding)
    return replace(answer, pieces=_Held(answer.pieces, body))


async def as_told(
    answer: ForwardedAnswer, guarding: AnswerGuard | None, keep: Keep | None, *, is_stream: bool
) -> ForwardedAnswer:
    """Return an answer as the caller may hear it, and kept as that where calls may go on from it.

    Raises:
        GuardrailError: It may not pass; its pieces are closed.
    """
    try:
        told = await guarded_answer(answer, guarding) if guarding else answer
        return await recorded(told, keep, is_stream=is_stream) if keep else told
    except BaseException:
        await answer.pieces.aclose()
        raise


class _GuardedStream(PassingPieces):
    """A stream whose texts are judged as they pass; one that may not go on ends with its API's own error event."""

    def __init__(self, pieces: Pieces, guarding: AnswerGuard) -> None:
        super().__init__(pieces)
        self._subject = guarding.subject
        self._watches = [(one, one.texts.watch()) for one in guarding.guardrails if one.texts]
        watches: list[AnswerWatch] = [*(watch for _, watch in self._watches), *guarding.restoring]
        self._stream = AnswerStream(self._subject.api_format, AnswerTexts(watches))
        self._is_over = False
        self._is_blocked = False

    @property
    def failure(self) -> FailureKind | None:
        return FailureKind.FILTERED if self._is_blocked else self._pieces.failure

    async def next(self) -> bytes:
        told = b""
        while not told and not self._is_over:
            piece = await self._pieces.next()
            told = self._fed(piece)
            if problem := self._stream.problem:
                told += await self._blocked(problem)
            elif not piece:
                self._conclude()
        return told

    def _fed(self, piece: bytes) -> bytes:
        try:
            return self._stream.feed(piece) if piece else self._stream.end()
        except UnusableAnswerError:  # an event too long to be judged
            self._stream.problem = not_judged("answers", "the stream has an event that is too long")
            return b""

    async def _blocked(self, problem: GuardrailError) -> bytes:
        self._is_blocked = True
        self._conclude()
        await self._pieces.aclose()
        number = self._stream.sequence_number
        request_id = self._subject.request_id
        return error_event(problem, self._subject.api_format, request_id=request_id, sequence_number=number)

    def _conclude(self) -> None:
        self._is_over = True
        stopped_by = self._stream.problem.guardrail if self._stream.problem else None
        for guardrail, watch in self._watches:
            guardrail.concluded(self._subject, watch, is_blocked=guardrail.name == stopped_by)


class _Held(PassingPieces):
    """An answer that was judged before any of it is told."""

    def __init__(self, pieces: Pieces, body: bytes) -> None:
        super().__init__(pieces)
        self._body = body

    async def next(self) -> bytes:
        body, self._body = self._body, b""
        return body


async def _all_of(pieces: Pieces, *, most_bytes: int | None) -> bytes:
    body = bytearray()
    while piece := await pieces.next():
        body += piece
        if most_bytes is not None and len(body) > most_bytes:
            raise not_judged("answers", f"the answer is longer than the {most_bytes} bytes that are held")
    return bytes(body)


async def _judged(body: bytes, guarding: AnswerGuard) -> bytes:
    subject = guarding.subject
    for guardrail in guarding.guardrails:
        if guardrail.texts is None:
            now = replace(subject, body=body, value=None if subject.is_stream else _meaning(body))
            verdict = await guardrail.verdict(now)
            body = _checked(verdict.body, guardrail, now) if verdict.body is not None else body
            continue
        watch = guardrail.texts.watch()
        try:
            body = await _told(body, subject, [watch])
        except GuardrailError:
            guardrail.concluded(subject, watch, is_blocked=True)
            raise
        guardrail.concluded(subject, watch, is_blocked=False)
    return await _told(body, subject, guarding.restoring) if guarding.restoring else body


async def _told(body: bytes, subject: Subject, watches: Sequence[AnswerWatch]) -> bytes:
    def tell() -> bytes:
        if not subject.is_stream:
            return changed_answer(body, AnswerTexts(watches))
        stream = AnswerStream(subject.api_format, AnswerTexts(watches))
        told = stream.feed(body) + stream.end()
        if stream.problem:
            raise stream.problem
        return told

    return await off_the_loop(tell, size=len(body), large=LARGE_TO_JUDGE_BYTES)


def _checked(changed: bytes, guardrail: Guardrail, subject: Subject) -> bytes:
    """Return what a filter has made of an answer, unless that is none."""
    if subject.is_stream or isinstance(_meaning(changed), dict):
        return changed
    guardrail.unusable(subject, "no JSON object")
    return subject.body


def _meaning(body: bytes) -> object:
    try:
        return read_json(body)
    except ValueError:
        return None
