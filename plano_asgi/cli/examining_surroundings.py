"""What a service needs of others: keys, stores and, where they may be asked, providers and their clocks."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from plano_asgi.assembly import build_service
from plano_asgi.cli.examining_tokenizers import examine_tokenizers
from plano_asgi.cli.findings import Finding, attempted
from plano_asgi.errors import ForwardingError, NetworkError, PlanoError, StoreError
from plano_asgi.net.http_client import HttpAnswer, HttpClient
from plano_asgi.observe.journal import DecisionJournal
from plano_asgi.providers import ModelProvider
from plano_asgi.secret import Secret
from plano_asgi.settings import Settings
from plano_asgi.upstream.requests import upstream_request

TIMEOUT_S: Final = 10.0
MOST_ANSWER_BYTES: Final = 16_777_216
MOST_SKEW_S: Final = 30.0
REJECTED: Final = (401, 403)
BROKEN: Final = 500

_SUCCESSES: Final = range(200, 300)
_CALLS: Final = ("/chat/completions", "/messages", "/responses")


def examine_surroundings(settings: Settings, *, is_online: bool) -> Iterator[Finding]:
    """Yield what is found of keys, stores, tokenizers, and providers where they may be asked; no model is called."""
    yield _keys(settings)
    yield from _stores(settings, is_online=is_online)
    if is_online:
        yield from _providers(settings)


def _stores(settings: Settings, *, is_online: bool) -> Iterator[Finding]:
    try:
        service = build_service(settings)
    except PlanoError as error:
        yield Finding("service", f"cannot be built: {error}", ok=False)
        return
    if redis := service.redis:
        with closing(redis):
            yield attempted("redis", lambda: _answers(redis.ask("PING")))
    if postgres := service.postgres:
        with closing(postgres):
            yield attempted("postgres", lambda: _answers(postgres.ask("SELECT 1")))
    if journal := service.observation.observer.journal:
        yield attempted("decision log", lambda: _readable(journal))
    if receiver := settings.telemetry.otlp:
        yield attempted("telemetry", lambda: _takes_spans(receiver))
    yield from examine_tokenizers(service, is_online=is_online)


def _readable(journal: DecisionJournal) -> str:
    has_some = bool(journal.newest(limit=1).entries)
    return f"{journal.store.kind}, {'has entries' if has_some else 'has no entry yet'}"


def _takes_spans(receiver: str) -> str:
    """Return that a receiver of OTLP takes spans, of which it is sent none."""
    with closing(HttpClient(connections=1)) as client:
        answer = client.post(
            f"{receiver.rstrip('/')}/v1/traces",
            b"",
            headers={"content-type": "application/x-protobuf"},
            timeout_s=TIMEOUT_S,
            most_bytes=MOST_ANSWER_BYTES,
        )
    host = urlsplit(receiver).hostname
    if answer.status not in _SUCCESSES:
        raise NetworkError(f"{host} answers {answer.status} to spans; see telemetry.otlp")
    return f"{host} takes spans"


def _answers(answer: object) -> str:
    if not answer:
        raise StoreError("it answers, and not as it should")
    return "answers"


def _keys(settings: Settings) -> Finding:
    """Return which models have no key; of calls that an app makes itself, that is the app's business."""
    without = [
        provider.model
        for provider in settings.catalog.providers
        if provider.convention.needs_key and not (provider.keys or provider.is_auth_passed_through)
        if not (provider.is_signed and settings.mode == "forward")
    ]
    if not without:
        return Finding("keys", "every model that needs one has one", ok=True)
    return Finding("keys", f"none for {', '.join(without)}; an app with keys of its own needs none here")


def _providers(settings: Settings) -> Iterator[Finding]:
    """Ask each server once for each of its keys what models it has, which costs nothing."""
    asked: set[tuple[str, str]] = set()
    skews: list[float] = []
    client = HttpClient(connections=1)
    with closing(client):
        for provider in settings.catalog.providers:
            url = _models_url(provider)
            if url is None:
                yield Finding(f"provider of {provider.model}", "not asked: it lists no models at a known place")
                continue
            for number, key in enumerate(_keys_of(provider), start=1):
                if (identity := (url, key.reveal() if key else "")) in asked:
                    continue
                asked.add(identity)
                which = f", key {number}" if len(provider.keys) > 1 else ""
                yield _asked(client, provider, url, key, f"{urlsplit(url).hostname}{which}", skews)
    if skews:
        skew = min(skews, key=abs)
        told = f"{abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} what the providers say"
        is_right = abs(skew) <= MOST_SKEW_S
        yield Finding("clock", told if is_right else f"{told}; let it be set by NTP", ok=is_right)


def _keys_of(provider: ModelProvider) -> tuple[Secret | None, ...]:
    return tuple(weighted.key for weighted in provider.keys) or (None,)


def _models_url(provider: ModelProvider) -> str | None:
    """Return where a provider lists its models; None where it is asked otherwise, or with the caller's own key."""
    if provider.is_signed or provider.is_auth_passed_through:
        return None
    try:
        request = upstream_request(provider, provider.native_format, body=b"", client_headers=())
    except ForwardingError:
        return None
    end = next((end for end in _CALLS if request.url.endswith(end)), None)
    return f"{request.url.removesuffix(end)}/models" if end else None


def _asked(  # noqa: PLR0913, PLR0917 - whom, where, as whom, and where what its clock says is kept
    client: HttpClient, provider: ModelProvider, url: str, key: Secret | None, subject: str, skews: list[float]
) -> Finding:
    """Return what a provider says to the key."""
    request = upstream_request(provider, provider.native_format, body=b"", client_headers=(), key=key)
    headers = {name: value for name, value in request.headers if name != "content-type"}
    try:
        answer = client.get(url, headers=headers, timeout_s=TIMEOUT_S, most_bytes=MOST_ANSWER_BYTES)
    except NetworkError as error:
        return Finding(subject, f"{error}; see base_url, the network and its proxies", ok=False)
    if (skew := _skew_s(answer)) is not None:
        skews.append(skew)
    if answer.status in REJECTED:
        what = "the key is rejected" if key else "it wants a key, and there is none"
        return Finding(subject, f"{what} ({answer.status}); see access_key of {provider.model}", ok=False)
    if answer.status >= BROKEN:
        return Finding(subject, f"answers {answer.status}; it has troubles of its own", ok=False)
    return Finding(subject, f"answers {answer.status}", ok=True)


def _skew_s(answer: HttpAnswer) -> float | None:
    """Return by how many seconds our clock is behind the server's; None where it tells no time."""
    try:
        return (parsedate_to_datetime(answer.date) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
