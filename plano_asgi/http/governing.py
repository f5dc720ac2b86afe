"""Limits at the inbound edge: where calls come from, and headers of ours in the place of others'."""

from starlette.types import Scope

from plano_asgi.intake.rewriting import RawHeaders


def client_address(scope: Scope) -> str:
    """Return the address that a request comes from; empty where the server does not know it."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def told_instead(headers: RawHeaders, ours: RawHeaders) -> RawHeaders:
    """Return headers with ours in place of those of the same name."""
    names = {name for name, _ in ours}
    return [*((name, value) for name, value in headers if name.lower() not in names), *ours]
