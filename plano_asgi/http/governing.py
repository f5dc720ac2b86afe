"""Limits at the inbound edge: where calls come from."""

from starlette.types import Scope


def client_address(scope: Scope) -> str:
    """Return the address that a request comes from; empty where the server does not know it."""
    client = scope.get("client")
    return str(client[0]) if client else ""
