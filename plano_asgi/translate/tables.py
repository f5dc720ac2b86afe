"""The formats: how callers' requests are read and answered, and how providers are asked and heard.

A format is one package and one line in `CALLERS`, in `PROVIDERS`, or in both.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from plano_asgi.conversation import ApiFormat
from plano_asgi.providers import ProviderFormat
from plano_asgi.translate import bedrock_converse, chat_completions, messages, responses
from plano_asgi.translate.answer import Answer, StreamEvent
from plano_asgi.translate.call import Call
from plano_asgi.translate.context import TranslationContext
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.sequencing import SequencedEvent
from plano_asgi.translate.taking import Taking


class StreamReader(Protocol):
    """Reads the events of one provider's stream."""

    def read(self, name: str, event: Taking) -> Iterator[StreamEvent]:
        """Yield what an event of that name tells."""

    def done(self) -> Iterator[StreamEvent]:
        """Yield what `[DONE]` tells."""

    def end(self) -> Iterator[StreamEvent]:
        """Yield what the end of the bytes tells, where no event has told the end."""


class StreamWriter(Protocol):
    """Writes one caller's stream.

    Attributes:
        sequence_number: The number of the next event, where the format counts them.
    """

    sequence_number: int

    def write(self, event: SequencedEvent) -> Iterator[bytes]:
        """Yield the bytes that an event becomes."""


class WriteRequest(Protocol):
    """Writes a request's body."""

    def __call__(self, call: Call, *, model: str, losses: Losses) -> dict[str, object]:
        """Return the body that makes the call."""


@dataclass(frozen=True, slots=True)
class CallerSide:
    """How a format is spoken with callers."""

    read_request: Callable[[Taking], Call]
    write_answer: Callable[[Answer, TranslationContext, Losses], dict[str, object]]
    stream_writer: Callable[[TranslationContext, Losses], StreamWriter]


@dataclass(frozen=True, slots=True)
class ProviderSide:
    """How a format is spoken with providers; `is_event_stream` where AWS frames its streams, not SSE."""

    write_request: WriteRequest
    read_answer: Callable[[Taking], Answer]
    stream_reader: Callable[[], StreamReader]
    is_event_stream: bool = False


CALLERS: Final[Mapping[ApiFormat, CallerSide]] = MappingProxyType(
    {
        ApiFormat.CHAT_COMPLETIONS: CallerSide(
            chat_completions.read_request, chat_completions.write_answer, chat_completions.StreamWriter
        ),
        ApiFormat.MESSAGES: CallerSide(messages.read_request, messages.write_answer, messages.StreamWriter),
        ApiFormat.RESPONSES: CallerSide(responses.read_request, responses.write_answer, responses.StreamWriter),
    }
)
PROVIDERS: Final[Mapping[ProviderFormat, ProviderSide]] = MappingProxyType(
    {
        ProviderFormat.CHAT_COMPLETIONS: ProviderSide(
            chat_completions.write_request, chat_completions.read_answer, chat_completions.StreamReader
        ),
        ProviderFormat.MESSAGES: ProviderSide(messages.write_request, messages.read_answer, messages.StreamReader),
        ProviderFormat.RESPONSES: ProviderSide(responses.write_request, responses.read_answer, responses.StreamReader),
        ProviderFormat.BEDROCK_CONVERSE: ProviderSide(
            bedrock_converse.write_request,
            bedrock_converse.read_answer,
            bedrock_converse.StreamReader,
            is_event_stream=True,
        ),
    }
)
