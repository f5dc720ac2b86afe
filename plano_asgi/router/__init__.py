"""The router: one call in, one decision out."""

from plano_asgi.router.router import OnError, Router

__all__ = ["OnError", "Router"]
