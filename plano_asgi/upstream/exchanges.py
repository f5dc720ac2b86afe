"""A call in the words of the provider that is asked, and its answers in those of the caller."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError, NotTranslatableError
from plano_asgi.providers import ModelProvider, ProviderFormat
from plano_asgi.translate import (
    Loss,
    Signers,
    StreamTranslation,
    TranslationContext,
    error_without_words,
    own_thoughts,
    translate_answer,
    translate_error,
    translate_request,
    with_cache_marks,
)
from plano_asgi.wire import error_event


class StreamWords(Protocol):
    """Turns a provider's stream, event by event, into the caller's."""

    @property
    def has_failed(self) -> bool: ...  # noqa: D102 - whether the caller has been told of a failure by these words

    @property
    def losses(self) -> tuple[str, ...]: ...  # noqa: D102 - what of the stream could not be said so far

    def feed(self, chunk: bytes) -> bytes:
        """Return what whole events of the provider's are to the caller."""

    def end(self) -> bytes:
        """Return what is left to say at the end of a stream that is complete."""

    def cut_off(self, error: CallError, *, sequence_number: int) -> bytes:
        """Return the event by which the caller's API says that a stream has failed."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call to one provider, and what its answers are to the caller; where both speak one API, bytes pass as such.

    Attributes:
        body: What the provider is sent.
        losses: What of the call it is not told, since its API has no place for it.
        context: What its answers are translated back with.
    """

    body: bytes = field(repr=False)
    losses: tuple[str, ...]
    context: TranslationContext

    @property
    def provider_format(self) -> ProviderFormat:
        """The API in which the provider is asked."""
        return self.context.target

    @property
    def is_translated(self) -> bool:
        """Whether that is another than the caller's."""
        return not self.context.is_native

    def answer(self, body: bytes) -> tuple[bytes, tuple[str, ...]]:
        """Return a whole answer as the caller reads it, and what of it is lost.

        Raises:
            UnusableAnswerError: It is not what the provider's API allows.
        """
        translated = translate_answer(body, self.context)
        return translated.body, tuple(map(str, translated.losses))

    def error(self, status: int, body: bytes) -> tuple[int, bytes]:
        """Return status and body of an error as the caller reads it."""
        return translate_error(status, body, self.context)

    def unread_error(self, status: int) -> tuple[int, bytes]:
        """Return status and body of an error of which nothing but the status is repeated."""
        return error_without_words(status, self.context)

    def stream(self) -> StreamWords:
        """Return what turns a stream into the caller's."""
        if self.context.is_native:
            return _AsItCame(self.context.source, self.context.call_id)
        return _Translated(StreamTranslation(self.context))


def exchange_with(  # noqa: PLR0913 - whom, what, and how it is known and kept
    provider: ModelProvider,
    api_format: ApiFormat,
    body: bytes,
    *,
    request_id: str,
    is_strict: bool,
    keeping: Mapping[str, object],
    signers: Signers | None = None,
    cached_from_tokens: int | None = None,
) -> Exchange:
    """Return a call's exchange with a provider: in the caller's own API where the provider speaks it, else in its own.

    Where it is known who has signed the call's thoughts, the provider gets none but its own. Where it is asked in
    Anthropic's API, calls of at least `cached_from_tokens` get marks for its cache.

    Raises:
        CallError: The call cannot be said in the provider's API, or not without loss where `is_strict`.
    """
    spoken = ProviderFormat(api_format.value) if api_format in provider.api_formats else provider.native_format
    foreign: tuple[Loss, ...] = ()
    if signers:
        body, foreign = own_thoughts(body, api_format, signers, provider=provider.model.partition("/")[0])
    now = int(datetime.now(UTC).timestamp())
    translated = translate_request(
        body,
        api_format,
        spoken,
        model=provider.model_name,
        now=now,
        call_id=request_id,
        keeping=keeping,
    )
    losses = tuple(map(str, (*foreign, *translated.losses)))
    if losses and is_strict:
        raise NotTranslatableError(f"the model's API has no place for all of this call ({losses[0]}); leave that out")
    written = translated.body
    if cached_from_tokens is not None and spoken is ProviderFormat.MESSAGES:
        written = with_cache_marks(written, least_tokens=cached_from_tokens)
    return Exchange(written, losses, translated.context)


class _AsItCame:
    has_failed = False
    losses: tuple[str, ...] = ()

    def __init__(self, api_format: ApiFormat, request_id: str) -> None:
        self._format = api_format
        self._request_id = request_id

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> bytes:
        return b""

    def cut_off(self, error: CallError, *, sequence_number: int) -> bytes:
        return error_event(error, self._format, request_id=self._request_id, sequence_number=sequence_number)


class _Translated:
    def __init__(self, translation: StreamTranslation) -> None:
        self._translation = translation

    @property
    def has_failed(self) -> bool:
        return self._translation.failure is not None

    @property
    def losses(self) -> tuple[str, ...]:
        return tuple(map(str, self._translation.losses))

    def feed(self, chunk: bytes) -> bytes:
        return self._translation.feed(chunk)

    def end(self) -> bytes:
        return self._translation.end()

    def cut_off(self, error: CallError, *, sequence_number: int) -> bytes:
        del sequence_number  # it counts by itself
        return self._translation.break_off(error)
