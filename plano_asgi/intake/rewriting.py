"""What a routed request looks like to the app: its body, its headers, and the headers of the answer."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from plano_asgi.decisions import Reason, RoutingDecision, attempts_told
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
_KEEPS_MODEL: Final = frozenset({Reason.BYPASSED, Reason.NOT_APPLICABLE})


def rewritten_body(
    document: JsonDocument, decision: RoutingDecision, catalog: ModelCatalog, *, qualified: bool
) -> bytes:
    """Return the body with the decided model and without an inline policy; every other byte as it came.

    The model is written as its provider names it, or `qualified`. It stays as it is where the decision leaves it, or
    keeps one that nobody declares; an alias is never left, since only we know it.
    """
    is_kept = decision.reason in _KEEPS_MODEL and document.value.get("model") not in catalog.aliases
    provider = None if is_kept else catalog.provider_of(decision.would_use or "")
    if provider is None:
        return rewrite(document, model=None)
    return rewrite(document, model=provider.model if qualified else bare_model(provider.model))


def rewritten_headers(raw: Iterable[tuple[bytes, bytes]], *, length: int) -> RawHeaders:
    """Return request headers for a body of that length, identity-encoded; a client's own `x-plano-*` are gone."""
    kept = [(name, value) for name, value in raw if not _is_stale(name.lower())]
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


def _is_stale(name: bytes) -> bool:
    return name in _ABOUT_THE_OLD_BYTES or (name.startswith(_OURS) and name != _BYPASS)
