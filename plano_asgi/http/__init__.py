"""The inbound edge: ASGI."""
