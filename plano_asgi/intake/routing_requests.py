"""Requests to the decision endpoints: `POST /routing/v1/...`."""

from dataclasses import dataclass, replace
from typing import Final

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.errors import WireFormatError
from plano_asgi.intake.encodings import decode_body, too_large
from plano_asgi.intake.headers import AFFINITY_HEADER, SWITCH_BUDGET_HEADER, Headers
from plano_asgi.wire import FORMATS, JsonDocument, read_call, read_document

ROUTING_PREFIX: Final = "/routing"
LARGE_BODY_BYTES: Final = 65_536  # below, reading takes less time than handing over to a thread
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


def read_routing_request(  # noqa: PLR0913 - what is read, and by which settings
    api_format: ApiFormat,
    headers: Headers,
    body: bytes,
    *,
    body_bytes: int,
    bypass_allowed: bool,
    tenant_header: str | None = None,
) -> RoutingRequest:
    """Return the call that a request makes.

    Args:
        api_format: The API of its body.
        headers: Its headers.
        body: Its body as sent.
        body_bytes: Most bytes of the body once it is decoded.
        bypass_allowed: Whether the caller may ask not to be routed.
        tenant_header: The header that says whose call it is, where one does.

    Raises:
        WireFormatError: The body is not a call of this API.
    """
    document = read_document(decode_body(body, headers.get("content-encoding"), limit=body_bytes))
    call = read_call(document, api_format)
    affinity, tenant = headers.told(AFFINITY_HEADER), headers.told(tenant_header) if tenant_header else None
    percentage = headers.percentage(SWITCH_BUDGET_HEADER)
    if affinity or tenant or percentage is not None:
        call = replace(call, affinity=affinity, tenant=tenant, switch_budget_pct=percentage)
    return RoutingRequest(document=document, call=call, bypass=bypass_allowed and headers.asks_for_bypass)
