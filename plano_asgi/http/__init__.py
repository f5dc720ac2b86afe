"""The inbound edge: ASGI."""

from plano_asgi.http.middleware import PlanoMiddleware
from plano_asgi.http.state import PlanoState, decision

__all__ = ["PlanoMiddleware", "PlanoState", "decision"]
