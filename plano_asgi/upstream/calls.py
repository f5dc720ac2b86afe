"""A call on its way out."""

from dataclasses import dataclass, field

from plano_asgi.conversation import ApiFormat
from plano_asgi.translate import Signers
from plano_asgi.upstream.requests import RawHeaders


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
        signers: Who has signed the thoughts in it; None where there are none, or nobody knows.
        cached_from_tokens: Fewest tokens of a call that gets marks for Anthropic's cache; None where none does.
    """

    api_format: ApiFormat
    body: bytes = field(repr=False)
    is_stream: bool
    client_headers: RawHeaders = field(repr=False)
    request_id: str
    is_strict: bool = False
    signers: Signers | None = None
    cached_from_tokens: int | None = None
