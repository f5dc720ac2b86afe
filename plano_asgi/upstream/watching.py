"""What watches a provider's stream, by the API that it is in."""

from plano_asgi.conversation import ApiFormat
from plano_asgi.providers import ProviderFormat
from plano_asgi.upstream.converse_streams import WatchedConverseStream
from plano_asgi.upstream.streams import WatchedStream


def watched_stream(provider_format: ProviderFormat) -> WatchedStream | WatchedConverseStream:
    """Return what reads along with a stream of that API."""
    if provider_format is ProviderFormat.BEDROCK_CONVERSE:
        return WatchedConverseStream()
    return WatchedStream(ApiFormat(provider_format.value))
