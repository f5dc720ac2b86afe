"""What a caller is given: a provider's answer, whole or in pieces, and no bad end that looks like a good one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, Protocol

import anyio

from plano_asgi.errors import CallError, ForwardingError, NetworkError, UnusableAnswerError
from plano_asgi.net import StreamedAnswer
from plano_asgi.providers import ProviderFormat
from plano_asgi.upstream.exchanges import StreamWords
from plano_asgi.upstream.failures import Failure, FailureKind, failure_in_stream
from plano_asgi.upstream.streams import error_in
from plano_asgi.upstream.watching import watched_stream
from plano_asgi.wire.answer_facts import AnswerFacts
from plano_asgi.wire.usage import Usage

MOST_HELD_BYTES: Final = 1_048_576
LINGER_S: Final = 1.0  # for a connection to be given back once all is said
_TOLD: Final = frozenset(
    {
        "cache-control",
        "content-type",
        "openai-processing-ms",
        "openai-version",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "x-request-id",
        "x-should-retry",
    }
)
_TOLD_BEGIN_WITH: Final = ("anthropic-ratelimit-", "x-ratelimit-")


class Pieces(Protocol):
    """The body of an answer."""

    @property
    def usage(self) -> Usage:
        """The tokens that were counted so far."""

    @property
    def losses(self) -> tuple[str, ...]:
        """What of it could not be said to the caller so far, each with its reason."""

    @property
    def failure(self) -> FailureKind | None:
        """How it broke off after it had begun; None where it has not."""

    async def next(self) -> bytes:
        """Return the next piece, empty at the end; what goes wrong by now is an event of the stream."""

    async def aclose(self) -> None:
        """Let go of the provider's connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardedAnswer:
    """An answer that has begun; whoever asked for it closes its pieces.

    Attributes:
        model: The qualified model that answers.
        status: HTTP status.
        headers: The provider's headers that a caller is told.
        pieces: The body.
        losses: What was lost between the caller's API and the provider's, each with its reason; what a stream loses is
            in its pieces.
        facts: Tells what the provider has said of it so far.
    """

    model: str
    status: int
    headers: tuple[tuple[str, str], ...]
    pieces: Pieces
    losses: tuple[str, ...] = ()
    facts: Callable[[], AnswerFacts] = field(default=AnswerFacts, repr=False)


def told_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return those of a provider's headers that its SDKs read and that tell nothing of whose account it is."""
    return tuple((name, value) for name, value in headers.items() if name in _TOLD or name.startswith(_TOLD_BEGIN_WITH))


class OnePiece:
    """A body that is all there."""

    def __init__(self, body: bytes, usage: Usage | None = None) -> None:
        """Take the whole body."""
        self.usage = usage or Usage()
        self.failure: FailureKind | None = None
        self.losses: tuple[str, ...] = ()
        self._body = body

    async def next(self) -> bytes:
        """Return the body, once."""
        body, self._body = self._body, b""
        return body

    async def aclose(self) -> None:
        """Do nothing."""


class StreamPieces:
    """A stream that passes by; at most one event and what came before the first content is held."""

    def __init__(  # noqa: PLR0913 - what a stream is, and how long it may take
        self,
        answer: StreamedAnswer,
        *,
        provider_format: ProviderFormat,
        words: StreamWords,
        stall_s: float,
        until: float,
        on_failure: Callable[[], None],
    ) -> None:
        """Start before the first byte; `until` is by `time.monotonic`; `on_failure` hears of a stream cut off."""
        self.failure: FailureKind | None = None
        self._answer = answer
        self._watch = watched_stream(provider_format)
        self._words = words
        self._stall_s = stall_s
        self._until = until
        self._on_failure = on_failure
        self._held = bytearray()
        self._problem: CallError | None = None
        self._is_over = False

    @property
    def usage(self) -> Usage:
        """The tokens that were counted so far."""
        return self._watch.usage

    @property
    def losses(self) -> tuple[str, ...]:
        """What of it could not be said to the caller so far."""
        return self._words.losses

    def facts(self) -> AnswerFacts:
        """Return what the provider has said of its answer so far."""
        return self._watch.facts

    async def begin(self) -> Failure | None:
        """Read until something has come that the caller waits for, and return why it is no good where it is not.

        Raises:
            NetworkError: The stream broke off.
        """
        while not self._is_over and len(self._held) <= MOST_HELD_BYTES:
            self._take(await self._answer.read())
            if self._watch.has_begun and not self._words.has_failed:
                return None
            if self._watch.error is not None:
                return failure_in_stream(error_in(self._watch.error))
            if self._problem:
                return Failure(kind=FailureKind.UNUSABLE, status=self._answer.status)
        return None

    async def next(self) -> bytes:
        """Return the next piece, empty at the end; a stream that breaks off ends with its API's own error event."""
        while not self._held and not self._is_over:
            await self._read_on()
        piece = bytes(self._held)
        self._held.clear()
        return piece

    async def aclose(self) -> None:
        """Let go of the provider's connection, closed where it still sends."""
        await self._answer.aclose()

    async def _read_on(self) -> None:
        has_ended = self._watch.has_ended
        patience_s = LINGER_S if has_ended else self._stall_s
        if self._problem:
            self._fail(FailureKind.UNUSABLE, self._problem)
            return
        chunk: bytes | None = None
        try:
            with anyio.move_on_after(max(0.0, min(patience_s, self._until - monotonic()))):  # cheaper than fail_after
                chunk = await self._answer.read()
        except TimeoutError:
            pass
        except NetworkError:
            message = "the provider's stream broke off; try again"
            self._fail(FailureKind.BROKEN_OFF, ForwardingError(message, status=502, code="upstream_failed"))
            return
        if chunk is not None:
            self._take(chunk)
            return
        is_stalled = monotonic() < self._until
        what = "has stalled" if is_stalled else "has taken all the time that a call may take"
        error = ForwardingError(f"the provider's stream {what}; try again", status=504, code="upstream_timeout")
        self._fail(FailureKind.TIMEOUT, error, is_models_fault=is_stalled)

    def _take(self, chunk: bytes) -> None:
        passed, self._problem = self._watch.feed(chunk) if chunk else self._watch.end()
        try:
            self._held += self._words.feed(passed)
            if self._words.has_failed and self._watch.error is None and not self._problem:
                self._problem = UnusableAnswerError("the provider's stream is not what its API allows")
            if not chunk and not self._problem:
                self._held += self._words.end()
                self._is_over = True
        except UnusableAnswerError as error:
            self._problem = error

    def _fail(self, kind: FailureKind, error: CallError, *, is_models_fault: bool = True) -> None:
        """End the stream: by an error of its own API, unless it has told its end already."""
        self._is_over = True
        if self._watch.has_ended or self._watch.error is not None:
            return
        self.failure = kind
        if is_models_fault:
            self._on_failure()
        self._held += self._words.cut_off(error, sequence_number=self._watch.sequence_number)
