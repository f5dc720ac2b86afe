"""The outbound edge: calls that code makes through an SDK are routed on their way out."""

from plano_asgi.outbound.outbound_transport import OutboundTransport, transport
from plano_asgi.outbound.sdk_clients import wrap_client

__all__ = ["OutboundTransport", "transport", "wrap_client"]
