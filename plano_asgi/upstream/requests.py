"""What a provider is sent: URL, headers and body of one call, with no key but the one that is meant for it."""

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import ForwardingError
from plano_asgi.hops import HOP_HEADER, hops_of
from plano_asgi.net import HttpRequest
from plano_asgi.providers import Convention, ModelProvider, ProviderFormat
from plano_asgi.secret import Secret

ANTHROPIC_VERSION: Final = "2023-06-01"
RawHeaders = Iterable[tuple[bytes, bytes]]

_VERSION_HEADER: Final = "anthropic-version"
_CREDENTIALS: Final = ("x-api-key", "api-key", "authorization")  # the last may be meant for this service's own door
_BEARER: Final = re.compile(r"bearer\s+", re.IGNORECASE)
_FOR_THE_PROVIDER: Final = re.compile(  # what SDKs tell a provider; all else is between the caller and this service
    r"accept|user-agent|idempotency-key|anthropic-(?:version|beta|dangerous-[a-z-]+)|openai-(?:beta|organization|project)"
    r"|traceparent|x-stainless-[a-z-]+"
)
_OF_ANTHROPIC: Final = "anthropic-"
_ABOUT_THE_ACCOUNT: Final = re.compile(r".*(?:organization|project)")  # goes with a key, and only with the same


def upstream_request(  # noqa: PLR0913 - whom, in which API, with what, and how it is asked
    provider: ModelProvider,
    api_format: ApiFormat | ProviderFormat,
    *,
    body: bytes,
    client_headers: RawHeaders,
    key: Secret | None = None,
    is_stream: bool = False,
    is_translated: bool = False,
) -> HttpRequest:
    """Return the request that makes a call of an API to a provider that speaks it; one to be signed is not yet.

    Args:
        provider: Whom to ask.
        api_format: The API.
        body: The call, as it is to be sent.
        client_headers: What the caller sent, by any case; what concerns only the two of us is not sent on.
        key: Which of the provider's keys to send; None for the first.
        is_stream: Whether a stream is asked for, where the URL tells that.
        is_translated: Whether the body is our own words, in the version of Messages that we know.

    Raises:
        ForwardingError: 401 where the caller's own key is to be sent, and there is none.
    """
    spoken = ProviderFormat(api_format.value)
    client_headers = tuple(client_headers)
    client = _by_name(client_headers)
    headers = dict(_passed_on(client, is_account_passed=provider.is_auth_passed_through))
    configured = {name.lower(): value.reveal() for name, value in provider.headers}
    if is_translated:
        headers = {name: value for name, value in headers.items() if not name.startswith(_OF_ANTHROPIC)}
        configured.pop(_VERSION_HEADER, None)
    headers["content-type"] = "application/json"
    if provider.is_elsewhere:  # the known URL of a provider never leads back here, and is told nothing of routers
        headers[HOP_HEADER] = str(hops_of(client_headers) + 1)
    if spoken is ProviderFormat.MESSAGES:
        headers.setdefault(_VERSION_HEADER, ANTHROPIC_VERSION)
    version = configured.get(_VERSION_HEADER) or headers.get(_VERSION_HEADER, "")
    headers |= _credential(provider, client, key, version=version)
    headers |= configured
    if provider.http_host:
        headers["host"] = provider.http_host
    url = url_of(provider, spoken, is_stream=is_stream)
    return HttpRequest(url=url, headers=tuple(headers.items()), body=body)


def url_of(provider: ModelProvider, api_format: ApiFormat | ProviderFormat, *, is_stream: bool = False) -> str:
    """Return where a provider serves an API; its `base_url` is as the SDK of its own API takes it.

    Raises:
        ForwardingError: 503 where the provider has no URL.
    """
    if provider.base_url is None:
        message = f"{provider.model} has no base_url; the service's configuration has to name one"
        raise ForwardingError(message, status=503, code="provider_not_configured")
    base = provider.base_url.rstrip("/")
    path = provider.convention.path_of(ProviderFormat(api_format.value), base_url=base, is_stream=is_stream)
    return base + path.replace("{model}", quote(provider.model_name, safe=""))


def _by_name(raw: RawHeaders) -> dict[str, str]:
    """Return headers by lower-case name, repeated ones joined; what no client should send is left out."""
    headers: dict[str, str] = {}
    for name_bytes, value_bytes in raw:
        name, value = name_bytes.decode("latin-1").lower(), value_bytes.decode("latin-1").strip()
        if value.isprintable():
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _passed_on(client: dict[str, str], *, is_account_passed: bool) -> Iterator[tuple[str, str]]:
    listed = {word.strip().lower() for word in client.get("connection", "").split(",")}
    for name, value in client.items():
        if name in listed or not _FOR_THE_PROVIDER.fullmatch(name):
            continue
        if is_account_passed or not _ABOUT_THE_ACCOUNT.match(name):
            yield name, value


def _credential(
    provider: ModelProvider, client: dict[str, str], chosen: Secret | None, *, version: str
) -> dict[str, str]:
    """Return the one header with the key: the provider's own, or the client's where that is to be passed through."""
    if not provider.is_auth_passed_through:
        own = chosen or provider.access_key
        key = own.reveal() if own else None
    else:
        given = next((found for name in _CREDENTIALS if (found := _key_in(name, client.get(name, "")))), None)
        if given is None:
            message = "this service sends your own key on to the provider, and there is none; send it as usual"
            raise ForwardingError(message, status=401, code="invalid_api_key")
        key = given
    if key is None:
        return {}
    header = _key_header(provider.convention, version=version)
    return {header: key} if header else {"authorization": f"Bearer {key}"}


def _key_header(convention: Convention, *, version: str) -> str | None:
    """Return the header that carries a key as it is; None for a bearer token. Versions are dates: text orders them."""
    is_bearer = convention.bearer_since is not None and version >= convention.bearer_since
    return None if is_bearer else convention.key_header


def _key_in(header: str, value: str) -> str:
    """Return the key in a header, empty where there is none; `authorization` holds one as a bearer token only."""
    if header != "authorization":
        return value
    bearer = _BEARER.match(value)
    return value[bearer.end() :] if bearer else ""
