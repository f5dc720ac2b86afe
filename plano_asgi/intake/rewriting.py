"""What a routed request looks like to the app: its body, its headers, and the headers of the answer."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from plano_asgi.decisions import RoutingDecision, attempts_told
from plano_asgi.intake.headers import BYPASS_HEADER
from plano_asgi.providers import ModelCatalog, bare_model
from plano_asgi.wire import JsonDocument, rewrite

RawHeaders = list[tuple[bytes, bytes]]

_ABOUT_THE_OLD_BYTES: Final = frozenset(
    {b"content-length", b"transfer-encoding", b"content-encoding", b"content-md5", b"content-digest", b"digest"}
)
_OURS: Final = b"x-plano-"
_LOSSES: Final = b"x-plano-losses"
_BYPASS: Final = BYPASS_HEADER.encode()


def rewritten_body(
    document: JsonDocument, decision: RoutingDecision, catalog: ModelCatalog, *, qualified: bool
) -> bytes:
    """Return the body with the decided model and without an inline policy; every other byte as it came.

    The model is written as its provider names it, or `qualified`; it stays as it is where `keeps_model` says so.
    """
    provider = None if keeps_model(decision, document, catalog) else catalog.provider_of(decision.would_use or "")
    if provider is None:
        return rewrite(document, model=None)
    return rewrite(document, model=provider.model if qualified else bare_model(provider.model))


def keeps_model(decision: RoutingDecision, document: JsonDocument, catalog: ModelCatalog) -> bool:
    """Return whether a call keeps the model that its client has named.

    So it is where the decision leaves the model to the client, or names one that nobody declares; an alias is never
    kept, since only we know it.
    """
    is_left = decision.is_clients_choice and document.value.get("model") not in catalog.aliases
    return is_left or catalog.provider_of(decision.would_use or "") is None


def rewritten_headers(raw: Iterable[tuple[bytes, bytes]], *, length: int) -> RawHeaders:
    """Return request headers for a body of that length, identity-encoded; a client's own `x-plano-*` are gone."""
    kept = [(name, value) for name, value in raw if not is_stale(name.lower())]
    return [*kept, (b"content-length", str(length).encode())]


def decision_headers(decision: RoutingDecision) -> RawHeaders:
    """Return the headers that tell a caller of the decision, and of what came of it; the route is percent-encoded."""
    told = {"x-plano-model": decision.served_by or decision.would_use, "x-plano-reason": decision.reason.value}
    if decision.attempts:
        told["x-plano-attempts"] = attempts_told(decision.attempts)
    if decision.route is not None:
        told["x-plano-route"] = quote(decision.route, safe="")
    if decision.confidence is not None:
        told["x-plano-confidence"] = f"{decision.confidence:.4f}"
    return [(name.encode(), value.encode("latin-1", "replace")) for name, value in told.items() if value]


def losses_headers(losses: Iterable[str]) -> RawHeaders:
    """Return the header that names what was lost in translation, without the reasons; none where nothing was."""
    lost = ", ".join(loss.partition(":")[0] for loss in losses)
    return [(_LOSSES, lost.encode("latin-1", "replace"))] if lost else []


def is_stale(name: bytes) -> bool:
    """Return whether a request header, in lower case, says what is no longer true, or is not a client's to say."""
    return name in _ABOUT_THE_OLD_BYTES or (name.startswith(_OURS) and name != _BYPASS)
