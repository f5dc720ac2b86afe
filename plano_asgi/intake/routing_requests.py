"""Requests to the decision endpoints: `POST /routing/v1/...`."""

from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Final, Self

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.errors import WireFormatError
from plano_asgi.intake.encodings import decode_body, too_large
from plano_asgi.intake.headers import AFFINITY_HEADER, SWITCH_BUDGET_HEADER, Headers
from plano_asgi.off_the_loop import LARGE_BYTES, off_the_loop
from plano_asgi.settings import Settings
from plano_asgi.wire import FORMATS, JsonDocument, read_call, read_document

ROUTING_PREFIX: Final = "/routing"
ENDPOINTS: Final = {ROUTING_PREFIX + wire.path: api_format for api_format, wire in FORMATS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRequest:
    """A call to decide on, and how the client asks for it."""

    document: JsonDocument
    call: LLMCall
    bypass: bool


def check_head(method: str, headers: Headers, *, body_bytes: int) -> None:
    """Guarantee that a request is worth reading the body of.

    Raises:
        WireFormatError: 405, 415 or 413.
    """
    if method != "POST":
        raise WireFormatError("this endpoint takes POST only", code="method_not_allowed", status=405)
    if not headers.has_json_content:
        raise WireFormatError(
            "send the body as content-type application/json in UTF-8", code="unsupported_media_type", status=415
        )
    if (headers.content_length or 0) > body_bytes:
        raise too_large(body_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReader:
    """Reads calls out of requests, as the settings have it.

    Attributes:
        body_bytes: Most bytes of a body, as sent and decoded.
        bypass_allowed: Whether a caller may ask not to be routed.
        tenant_headers: The headers, in lower case, that say whose call it is.
    """

    body_bytes: int
    bypass_allowed: bool = True
    tenant_headers: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings, *, body_bytes: int | None = None) -> Self:
        """Return the reader that settings describe; `body_bytes` is for a host that has another bound of its own."""
        return cls(
            body_bytes=settings.limits.body_bytes if body_bytes is None else body_bytes,
            bypass_allowed=settings.routing.bypass_header,
            tenant_headers=settings.tenant_headers,
        )

    def read(self, api_format: ApiFormat, headers: Headers, body: bytes | None) -> RoutingRequest:
        """Return the call that a request makes.

        Args:
            api_format: The API of its body.
            headers: Its headers.
            body: Its body as sent; None where it is larger than `body_bytes`.

        Raises:
            WireFormatError: The body is too large, or is not a call of this API.
        """
        if body is None:
            raise too_large(self.body_bytes)
        document = read_document(decode_body(body, headers.get("content-encoding"), limit=self.body_bytes))
        call = read_call(document, api_format)
        affinity, tenant = headers.told(AFFINITY_HEADER), self._tenant_of(headers)
        percentage = headers.percentage(SWITCH_BUDGET_HEADER)
        if affinity or tenant or percentage is not None:
            call = replace(call, affinity=affinity, tenant=tenant, switch_budget_pct=percentage)
        return RoutingRequest(document=document, call=call, bypass=self.bypass_allowed and headers.asks_for_bypass)

    async def aread(self, api_format: ApiFormat, headers: Headers, body: bytes | None) -> RoutingRequest:
        """Return the same as `read`, without blocking the event loop: large and encoded bodies are read on a thread."""
        read = partial(self.read, api_format, headers, body)
        return await off_the_loop(read, size=LARGE_BYTES if headers.get("content-encoding") else len(body or b""))

    def _tenant_of(self, headers: Headers) -> str | None:
        """Return a digest of what tenants' headers say, which gives no key away; None where none of them is sent."""
        sent = [(name, value) for name in self.tenant_headers if (value := headers.get(name))]
        return blake2b(repr(sent).encode(), digest_size=16, person=b"plano tenant").hexdigest() if sent else None
