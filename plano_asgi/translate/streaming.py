"""A provider's stream, turned into the caller's while it passes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from plano_asgi.errors import CallError, UnusableAnswerError, WireFormatError
from plano_asgi.translate.answer import Began, Delta, Failed, Finished, StreamEvent, Usage
from plano_asgi.translate.context import TranslationContext
from plano_asgi.translate.failures import call_error
from plano_asgi.translate.losses import Loss, Losses
from plano_asgi.translate.sequencing import Sequencer
from plano_asgi.translate.tables import CALLERS, PROVIDERS
from plano_asgi.translate.taking import Taking
from plano_asgi.wire import error_event
from plano_asgi.wire.aws_event_stream import EventStreamMessage, EventStreamReader
from plano_asgi.wire.exact_json import read_json
from plano_asgi.wire.sse import EventReader

_DONE: Final = b"[DONE]"

Frame = tuple[str, bytes]  # the event's name, and its data


class StreamTranslation:
    """One stream on its way: bytes of the provider's in, however they are cut, and bytes of the caller's out.

    Where both speak the same API the bytes pass as they are, and are only read along with.

    Attributes:
        usage: Tokens, as far as the provider has told them; None before.
        failure: How the stream broke off, None where it has not; the caller is told by an event of its own API.
        is_finished: Whether the answer came to its end.
    """

    def __init__(self, context: TranslationContext) -> None:
        """Start before the first byte."""
        self.usage: Usage | None = None
        self.failure: Failed | None = None
        self.is_finished = False
        self._context = context
        self._losses = Losses()
        provider = PROVIDERS[context.target]
        self._frames = _AwsFrames() if provider.is_event_stream else _SseFrames()
        self._reader = provider.stream_reader()
        self._sequencer = Sequencer()
        self._writer = CALLERS[context.source].stream_writer(context, self._losses)
        self._has_begun = False

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What could not be carried so far."""
        return () if self._context.is_native else self._losses.noted

    def feed(self, chunk: bytes) -> bytes:
        """Return what these bytes become; never raises, a stream that is no good ends with an error of its API."""
        told = b"".join(self._tell(self._read(lambda: self._frames.feed(chunk))))
        return chunk if self._context.is_native else told

    def end(self) -> bytes:
        """Return what is left to say when the provider has closed its stream; an error where that came too early."""
        told = b"".join(self._tell(self._read(self._frames.end)))
        told += b"".join(self._tell(self._reader.end()))
        return told if not self._context.is_native or self._is_cut_off else b""

    def break_off(self, error: CallError) -> bytes:
        """Return the caller's event for a stream that is given up; nothing where it has ended already."""
        return b"" if self._is_over else self._fail(Failed(error.status, error.message, error.code))

    @property
    def _is_over(self) -> bool:
        return self.is_finished or self.failure is not None

    @property
    def _is_cut_off(self) -> bool:
        return self.failure == Failed.cut_off()

    def _read(self, frames: Callable[[], list[Frame]]) -> Iterator[StreamEvent]:
        for name, data in frames():
            if data == _DONE:
                yield from self._reader.done()
            elif data:
                yield from self._reader.read(name, Taking(_object(data), "", self._losses))

    def _tell(self, events: Iterable[StreamEvent]) -> Iterator[bytes]:
        """Yield what the caller is told of events, up to the one that ends the stream."""
        try:
            for event in events:
                if self._is_over:
                    return
                yield from self._tell_one(event)
        except WireFormatError:
            yield self._fail(Failed(502, "the provider's stream is not one of its API", "unusable_answer"))
        except CallError as error:
            yield self._fail(Failed(error.status, error.message, error.code))

    def _tell_one(self, event: StreamEvent) -> Iterator[bytes]:
        if isinstance(event, Failed):
            yield self._fail(event)
            return
        if isinstance(event, Began | Finished):
            self.usage = event.usage or self.usage
        if isinstance(event, Began):
            self._has_begun = True
        elif not self._has_begun and isinstance(event, Delta | Finished):
            yield from self._tell_one(Began())
        for sequenced in self._sequencer.sequence(event):
            yield from self._writer.write(sequenced)
        if isinstance(event, Finished):
            self.is_finished = True

    def _fail(self, failure: Failed) -> bytes:
        self.failure = failure
        return error_event(
            call_error(failure),
            self._context.source,
            request_id=self._context.call_id,
            sequence_number=self._writer.sequence_number,
        )


def _object(data: bytes) -> dict[str, object]:
    try:
        value = read_json(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UnusableAnswerError("the provider's stream has an event that is no JSON object")
    return value


def _is_whole(data: bytes) -> bool:
    try:
        return data == _DONE or isinstance(read_json(data), dict)
    except ValueError:
        return False


class _SseFrames:
    def __init__(self) -> None:
        self._events = EventReader()

    def feed(self, chunk: bytes) -> list[Frame]:
        return [(event.name, event.data) for event in self._events.feed(chunk)]

    def end(self) -> list[Frame]:
        """Return the last event where its blank line is missing; one that was cut off within is as good as none."""
        return [(event.name, event.data) for event in self._events.end() if _is_whole(event.data)]


class _AwsFrames:
    def __init__(self) -> None:
        self._messages = EventStreamReader()

    def feed(self, chunk: bytes) -> list[Frame]:
        return [(_name(message), message.payload) for message in self._messages.feed(chunk)]

    def end(self) -> list[Frame]:
        return []


def _name(message: EventStreamMessage) -> str:
    names = (":exception-type", ":event-type", ":error-code")
    return next((message.headers[name] for name in names if name in message.headers), "")
