"""The playground: a page on which operators try conversations and routes, and watch what is decided."""

from plano_asgi.http.playground.endpoints import PLAYGROUND_PATH, playground_endpoints

__all__ = ["PLAYGROUND_PATH", "playground_endpoints"]
