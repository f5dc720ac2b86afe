"""Django's requests: the call that one makes, and the same request with another body."""

from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import cast

from django.http import HttpRequest, HttpResponse
from django.http.request import RawPostDataException

from plano_asgi.conversation import ApiFormat
from plano_asgi.intake import Answer, Headers, InboundCalls, PassedCall, RoutedCall
from plano_asgi.intake.environ import headers_of, path_of, path_unless_ambiguous, rewrite_environ


class PlanoRequest(HttpRequest):
    """What views behind the middleware are given, for their annotations.

    Attributes:
        plano: What was decided about the call; None for a request that is no call, or was not routed.
    """

    plano: RoutedCall | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardCall:
    """A call with its body.

    Attributes:
        api_format: The API of its path.
        headers: Its headers.
        body: Its body; None where that is larger than the limit, and is left to the view unread.
    """

    api_format: ApiFormat
    headers: Headers
    body: bytes | None


def call_in(request: HttpRequest, calls: InboundCalls) -> HeardCall | None:
    """Return the call that a request makes, or None where it is none, or somebody has read or routed it before."""
    path = _path_in_project(request)
    if request.method != "POST" or calls.is_decision_path(path) or (api_format := calls.format_of(path)) is None:
        return None
    headers = headers_of(request.META)
    try:
        body = body_of(request, headers, limit=calls.body_bytes)
    except RawPostDataException:  # somebody in front reads the body as a stream
        return None
    return HeardCall(api_format=api_format, headers=headers, body=body)


def body_of(request: HttpRequest, headers: Headers, *, limit: int) -> bytes | None:
    """Return the body, which others may read again; None, with nothing read, where it is larger than the limit.

    Raises:
        RawPostDataException: Somebody has begun to read it as a stream.
        UnreadablePostError: It broke off.
    """
    if (headers.content_length or 0) > limit or _spooled_bytes(request) > limit:
        return None
    return request.body


def pass_on(request: HttpRequest, passed: PassedCall) -> None:
    """Put what was decided into `request.plano`, and the body that the view is to read in the place of the client's."""
    remember(request, passed.routed)
    if passed.body is None:
        return
    rewrite_environ(request.META, length=len(passed.body))
    request._body = passed.body  # noqa: SLF001 - Django has no other way to replace a body
    request._stream = BytesIO(passed.body)  # noqa: SLF001 - what `request.read()` reads
    for derived in ("headers", "_post", "_files"):
        vars(request).pop(derived, None)


def remember(request: HttpRequest, routed: RoutedCall | None) -> None:
    """Let views read `request.plano`."""
    cast("PlanoRequest", request).plano = routed


def routed_before(request: HttpRequest) -> RoutedCall | None:
    """Return what an ASGI middleware in front of Django, or another one of ours, has decided."""
    return getattr(request, "plano", None) or RoutedCall.in_scope(getattr(request, "scope", None))


def response_of(answer: Answer) -> HttpResponse:
    """Return an answer as Django gives it."""
    return HttpResponse(answer.body, status=answer.status, headers=dict(answer.end_to_end_headers))


def _path_in_project(request: HttpRequest) -> str:
    scope = getattr(request, "scope", None)
    if scope is None:
        return path_of(request.META)
    return path_unless_ambiguous(request.path_info, scope.get("raw_path") or b"")


def _spooled_bytes(request: HttpRequest) -> int:
    """Return how much of a body lies in the file that Django under ASGI has read it into; 0 for a stream."""
    if vars(request).get("_read_started") or not request._stream.seekable():  # noqa: SLF001 - as `request.body` does
        return 0
    size = request._stream.seek(0, SEEK_END)  # noqa: SLF001 - same
    request._stream.seek(0)  # noqa: SLF001 - same
    return size
