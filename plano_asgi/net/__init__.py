"""The network, as a client: one pooled HTTP client with a bound on everything. Home of httpx."""

from plano_asgi.net.http_client import HttpAnswer, HttpClient

__all__ = ["HttpAnswer", "HttpClient"]
