"""One attempt: one provider is asked once, and what it says is judged before anybody is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic
from typing import Final

import anyio
import orjson

from plano_asgi.errors import (
    NetworkError,
    NetworkTimeoutError,
    NoConnectionError,
    NoCredentialsError,
    NotTranslatableError,
    UnusableAnswerError,
    WireFormatError,
)
from plano_asgi.net import HttpRequest, StreamedAnswer
from plano_asgi.off_the_loop import LARGE_TO_SCAN_BYTES, off_the_loop
from plano_asgi.providers import ModelProvider, ProviderFormat
from plano_asgi.upstream.access import Access
from plano_asgi.upstream.answers import ForwardedAnswer, OnePiece, StreamPieces, told_headers
from plano_asgi.upstream.attempts import Deadlines, OutboundCall, Outcome, UpstreamClient
from plano_asgi.upstream.exchanges import Exchange, exchange_with
from plano_asgi.upstream.failures import Failure, FailureKind, failure_in_stream, failure_of
from plano_asgi.wire.answer_facts import AnswerFacts
from plano_asgi.wire.usage import Usage

MOST_ANSWER_BYTES: Final = 67_108_864
MOST_ERROR_BYTES: Final = 65_536
_SUCCESSES: Final = range(200, 300)
_ESSENTIAL: Final[Mapping[ProviderFormat, tuple[str, type]]] = {
    ProviderFormat.CHAT_COMPLETIONS: ("choices", list),
    ProviderFormat.MESSAGES: ("content", list),
    ProviderFormat.RESPONSES: ("output", list),
    ProviderFormat.BEDROCK_CONVERSE: ("output", dict),
}
_STREAM_TYPES: Final = ("text/event-stream", "application/vnd.amazon.eventstream")


async def ask(  # noqa: PLR0913 - whom, what, and how long
    client: UpstreamClient,
    provider: ModelProvider,
    call: OutboundCall,
    *,
    deadlines: Deadlines,
    until: float,
    on_failure: Callable[[], None],
    access: Access | None = None,
) -> Outcome:
    """Return what a provider says to a call; an answer's pieces are the caller's to close.

    Args:
        client: What asks.
        provider: Whom to ask.
        call: The call.
        deadlines: How long it may take.
        until: When all of it is to be over, by `time.monotonic`.
        on_failure: Told where a stream breaks off after it has begun.
        access: What the provider lets us in by; None for its first key.

    Raises:
        ForwardingError: The call cannot even be sent: no key of the caller's where that is needed, or no URL.
    """
    first_s = deadlines.first_byte_s if call.is_stream else deadlines.answer_s
    try:
        exchange = await _exchange_with(provider, call)
        attempt = _Attempt(provider, call, exchange, stall_s=deadlines.stall_s, until=until, on_failure=on_failure)
        with anyio.fail_after(max(0.0, min(first_s, until - monotonic()))):
            request = await (access or Access()).request(
                provider, exchange, client_headers=call.client_headers, is_stream=call.is_stream
            )
            return await attempt.make(client, request)
    except TimeoutError:
        kind = FailureKind.TIMEOUT
    except NetworkTimeoutError:
        kind = FailureKind.SATURATED
    except NoConnectionError:
        kind = FailureKind.NO_CONNECTION
    except NoCredentialsError:
        kind = FailureKind.KEY_REFUSED
    except NetworkError:
        kind = FailureKind.BROKEN_OFF
    except (NotTranslatableError, WireFormatError) as error:
        return Outcome(failure=Failure(kind=FailureKind.NOT_TRANSLATABLE), error=error)
    return Outcome(failure=Failure(kind=kind))


async def _exchange_with(provider: ModelProvider, call: OutboundCall) -> Exchange:
    begin = partial(
        exchange_with,
        provider,
        call.api_format,
        call.body,
        request_id=call.request_id,
        is_strict=call.is_strict,
        signers=call.signers,
        cached_from_tokens=call.cached_from_tokens,
        keeping=call.keeping,
    )
    return await off_the_loop(begin, size=len(call.body))


@dataclass(frozen=True, slots=True)
class _Attempt:
    provider: ModelProvider
    call: OutboundCall
    exchange: Exchange
    stall_s: float = field(kw_only=True)
    until: float = field(kw_only=True)
    on_failure: Callable[[], None] = field(kw_only=True)

    async def make(self, client: UpstreamClient, request: HttpRequest) -> Outcome:
        answer = await client.open(request)
        is_kept = False
        try:
            outcome = await self._judged(answer)
            is_kept = bool(outcome.answer and isinstance(outcome.answer.pieces, StreamPieces))
        except UnusableAnswerError:
            outcome = Outcome(failure=Failure(kind=FailureKind.UNUSABLE), status=answer.status)
        finally:
            if not is_kept:
                await answer.aclose()
        return outcome

    async def _judged(self, answer: StreamedAnswer) -> Outcome:
        if answer.status not in _SUCCESSES:
            return await self._refused(answer)
        content_type = answer.headers.get("content-type", "").lower()
        if self.call.is_stream:
            _require(any(kind in content_type for kind in _STREAM_TYPES), "is no stream")
            return await self._streamed(answer)
        _require("json" in content_type, "is no JSON")
        return await self._whole(answer)

    async def _refused(self, answer: StreamedAnswer) -> Outcome:
        body = await read_all(answer, most_bytes=MOST_ERROR_BYTES)
        is_callers_key = self.provider.is_auth_passed_through
        failure = failure_of(answer.status, answer.headers, body, is_callers_key=is_callers_key)
        if not failure.is_of_the_call or repeats_key(self.provider, body):
            return Outcome(failure=failure, status=answer.status)
        is_whole = len(body) <= MOST_ERROR_BYTES
        exchange, is_rewritten = self.exchange, not (is_whole and self.exchange.context.is_native)
        status, body = exchange.error(answer.status, body) if is_whole else exchange.unread_error(answer.status)
        given = self._given(answer, status=status, body=body, usage=Usage(), is_rewritten=is_rewritten)
        return Outcome(failure=failure, answer=given, status=answer.status)

    async def _whole(self, answer: StreamedAnswer) -> Outcome:
        body = await read_all(answer, most_bytes=MOST_ANSWER_BYTES)
        _require(len(body) <= MOST_ANSWER_BYTES, f"has more than {MOST_ANSWER_BYTES} bytes")
        judge = partial(self._judged_whole, answer, body)
        return await off_the_loop(judge, size=len(body), large=LARGE_TO_SCAN_BYTES)

    def _judged_whole(self, answer: StreamedAnswer, body: bytes) -> Outcome:
        told = _told_by(body)
        if error := told.get("error"):
            return self._told_as_success(answer, failure_in_stream(error), body)
        essential, kind = _ESSENTIAL[self.exchange.provider_format]
        _require(isinstance(told.get(essential), kind), "lacks what its API promises")
        usage = Usage().with_news(told.get("usage"))
        given, losses = self.exchange.answer(body)
        losses = (*self.exchange.losses, *losses)
        facts = AnswerFacts().with_news(told)
        whole = self._given(answer, status=answer.status, body=given, usage=usage, losses=losses)
        return Outcome(answer=replace(whole, facts=lambda: facts), status=answer.status)

    def _told_as_success(self, answer: StreamedAnswer, failure: Failure, body: bytes) -> Outcome:
        """Return what an error in a body whose status is no error means; one of the call is the caller's to read."""
        if not failure.is_of_the_call or failure.status is None or repeats_key(self.provider, body):
            return Outcome(failure=failure, status=answer.status)
        status, body = self.exchange.error(failure.status, body)
        given = self._given(answer, status=status, body=body, usage=Usage())
        return Outcome(failure=failure, answer=given, status=failure.status)

    async def _streamed(self, answer: StreamedAnswer) -> Outcome:
        pieces = StreamPieces(
            answer,
            provider_format=self.exchange.provider_format,
            words=self.exchange.stream(),
            stall_s=self.stall_s,
            until=self.until,
            on_failure=self.on_failure,
        )
        failure = await pieces.begin()
        if failure and not failure.is_of_the_call:
            return Outcome(failure=failure, status=answer.status)
        given = ForwardedAnswer(
            model=self.provider.model,
            status=answer.status,
            headers=told_headers(answer.headers),
            pieces=pieces,
            losses=self.exchange.losses,
            facts=pieces.facts,
        )
        return Outcome(failure=failure, answer=given, status=answer.status)

    def _given(  # noqa: PLR0913 - what an answer is
        self,
        answer: StreamedAnswer,
        *,
        status: int,
        body: bytes,
        usage: Usage,
        losses: tuple[str, ...] = (),
        is_rewritten: bool = False,
    ) -> ForwardedAnswer:
        told = dict(told_headers(answer.headers)) | ({"content-type": "application/json"} if is_rewritten else {})
        headers = (*told.items(), ("content-length", str(len(body))))
        pieces = OnePiece(body, usage)
        return ForwardedAnswer(model=self.provider.model, status=status, headers=headers, pieces=pieces, losses=losses)


def repeats_key(provider: ModelProvider, body: bytes) -> bool:
    """Return whether a provider's answer has one of its keys in it."""
    return any(weighted.key.reveal().encode() in body for weighted in provider.keys)


async def read_all(answer: StreamedAnswer, *, most_bytes: int) -> bytes:
    """Return the whole body, or a little more than `most_bytes` of it."""
    body = bytearray()
    while len(body) <= most_bytes and (piece := await answer.read()):
        body += piece
    return bytes(body)


def _told_by(body: bytes) -> Mapping[str, object]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        told = None
    _require(isinstance(told, dict), "is no JSON object")
    return told  # type: ignore[no-any-return]  # just made sure of


def _require(is_so: bool, otherwise: str) -> None:  # noqa: FBT001 - a condition, as of an assertion
    if not is_so:
        raise UnusableAnswerError(f"the provider's answer {otherwise}")
