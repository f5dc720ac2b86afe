"""Serving a call ourselves: decide, find who can serve it, ask them, and account for what came of it."""

from plano_asgi.gateway.account import Account
from plano_asgi.gateway.begun_call import BegunCall
from plano_asgi.gateway.gateway import Gateway
from plano_asgi.gateway.gateway_call import GatewayCall
from plano_asgi.gateway.stored_responses import StoredRequest, StoredResponses

__all__ = ["Account", "BegunCall", "Gateway", "GatewayCall", "StoredRequest", "StoredResponses"]
