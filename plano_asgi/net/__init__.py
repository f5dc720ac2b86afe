"""The network, as a client: pooled HTTP clients with a bound on everything. Home of httpx."""

from plano_asgi.net.http_client import HttpAnswer, HttpClient
from plano_asgi.net.streamed_answer import RawBytes, StreamedAnswer, innermost
from plano_asgi.net.streaming_client import HttpRequest, StreamingClient

__all__ = ["HttpAnswer", "HttpClient", "HttpRequest", "RawBytes", "StreamedAnswer", "StreamingClient", "innermost"]
