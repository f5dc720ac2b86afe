"""What a provider keeps of its own answers: read or deleted there, with what it lets us in by."""

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

import anyio

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import ForwardingError, NetworkError
from plano_asgi.net import HttpRequest, StreamedAnswer
from plano_asgi.providers import ModelProvider
from plano_asgi.secret import Secret
from plano_asgi.upstream.answers import ForwardedAnswer, OnePiece, told_headers
from plano_asgi.upstream.asking import MOST_ANSWER_BYTES, MOST_ERROR_BYTES, read_all, repeats_key
from plano_asgi.upstream.attempts import UpstreamClient
from plano_asgi.upstream.failures import FailureKind, failure_of
from plano_asgi.upstream.requests import RawHeaders, upstream_request

_SUCCESSES: Final = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResource:
    """Something that a provider of Responses keeps.

    Attributes:
        method: HTTP's, without a body.
        path: The parts of its path below that of the API.
        query: What the URL says behind its path.
    """

    method: str
    path: tuple[str, ...]
    query: str = ""


async def fetch(  # noqa: PLR0913 - whom, what, and how long
    client: UpstreamClient,
    provider: ModelProvider,
    resource: StoredResource,
    *,
    client_headers: RawHeaders,
    key: Secret | None,
    timeout_s: float,
) -> ForwardedAnswer:
    """Return what a provider says of something that it keeps, once and as it is.

    Raises:
        ForwardingError: It gives no answer, or one that is nobody's business but ours.
    """
    request = _request(provider, resource, client_headers=client_headers, key=key)
    try:
        with anyio.fail_after(timeout_s):
            answer = await client.open(request)
            try:
                return await _judged(answer, provider)
            finally:
                await answer.aclose()
    except TimeoutError:
        raise _unanswered("does not answer in time", status=504, code="upstream_timeout") from None
    except NetworkError:
        raise _unanswered("cannot be asked now") from None


def _request(
    provider: ModelProvider, resource: StoredResource, *, client_headers: RawHeaders, key: Secret | None
) -> HttpRequest:
    call = upstream_request(provider, ApiFormat.RESPONSES, body=b"", client_headers=client_headers, key=key)
    url = urlsplit(call.url)
    path = "/".join([url.path, *(quote(part, safe="") for part in resource.path)])
    whole = url._replace(path=path, query="&".join(filter(None, (url.query, resource.query)))).geturl()
    headers = tuple((name, value) for name, value in call.headers if name != "content-type")
    return replace(call, method=resource.method, url=whole, headers=headers)


async def _judged(answer: StreamedAnswer, provider: ModelProvider) -> ForwardedAnswer:
    most_bytes = MOST_ANSWER_BYTES if answer.status in _SUCCESSES else MOST_ERROR_BYTES
    body = await read_all(answer, most_bytes=most_bytes)
    if len(body) > most_bytes:
        raise _unanswered(f"answers with status {answer.status} and more than {most_bytes} bytes")
    if answer.status not in _SUCCESSES:
        failure = failure_of(answer.status, answer.headers, body, is_callers_key=provider.is_auth_passed_through)
        is_callers = failure.is_of_the_call or failure.kind is FailureKind.NOT_FOUND
        if not is_callers or repeats_key(provider, body):
            raise _unanswered(f"answers with status {answer.status}")
    told = (*told_headers(answer.headers), ("content-length", str(len(body))))
    return ForwardedAnswer(model=provider.model, status=answer.status, headers=told, pieces=OnePiece(body))


def _unanswered(what: str, *, status: int = HTTPStatus.BAD_GATEWAY, code: str = "upstream_failed") -> ForwardingError:
    message = f"the provider that keeps this response {what}; try again later"
    return ForwardingError(message, status=status, code=code, retry_after_s=1.0)
