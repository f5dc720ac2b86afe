"""What is asked of a provider, by whom, how long it may take, and what it came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CallError
from plano_asgi.net import HttpRequest, StreamedAnswer
from plano_asgi.translate import Signers
from plano_asgi.upstream.answers import ForwardedAnswer
from plano_asgi.upstream.failures import Failure
from plano_asgi.upstream.requests import RawHeaders


class UpstreamClient(Protocol):
    """What asks a server."""

    async def open(self, request: HttpRequest) -> StreamedAnswer:
        """Return an answer of which the head is read; whoever asks closes it, and bounds the time that it may take.

        Raises:
            NetworkError: There is none.
        """

    async def aclose(self) -> None:
        """Close what this event loop has opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long a provider may take, in seconds.

    Attributes:
        first_byte_s: Until a stream begins.
        answer_s: Until an answer that is not streamed is complete.
        stall_s: Between two pieces of a stream.
        total_s: For the whole call, all attempts and the whole answer included.
    """

    first_byte_s: float = 60.0
    answer_s: float = 300.0
    stall_s: float = 60.0
    total_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundCall:
    """A call that a provider is to serve; neither its body nor its headers are in its `repr`.

    Attributes:
        api_format: The caller's API.
        body: The call as the caller sent it.
        is_stream: Whether the caller asks for a stream.
        client_headers: What the caller sent.
        request_id: What the call is known by.
        is_strict: Whether a model is passed over that cannot be told all of the call.
        keeping: Fields by which a translated Responses answer tells how it is kept, where that is our affair.
        signers: Who has signed the thoughts in it; None where there are none, or nobody knows.
        cached_from_tokens: Fewest tokens of a call that gets marks for Anthropic's cache; None where none does.
    """

    api_format: ApiFormat
    body: bytes = field(repr=False)
    is_stream: bool
    client_headers: RawHeaders = field(repr=False)
    request_id: str
    is_strict: bool = False
    keeping: Mapping[str, object] = field(default_factory=dict)
    signers: Signers | None = None
    cached_from_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an attempt came to.

    Attributes:
        failure: Why the answer is no good; None where it is.
        answer: The answer that may be given to the caller; also that of a call which is at fault itself.
        status: HTTP status of the provider's answer; None where there was none.
        error: Why the provider was not even asked: the call cannot be said in its API.
        has_other_key: Whether it was the key that failed, and the provider has another.
    """

    failure: Failure | None = None
    answer: ForwardedAnswer | None = None
    status: int | None = None
    error: CallError | None = None
    has_other_key: bool = False
