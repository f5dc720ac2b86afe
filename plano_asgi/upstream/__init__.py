"""Calling model providers ourselves: one call to one of them, and failover over several."""

from plano_asgi.upstream.access import Sign
from plano_asgi.upstream.answers import ForwardedAnswer, OnePiece, Pieces
from plano_asgi.upstream.attempts import Deadlines, OutboundCall, UpstreamClient
from plano_asgi.upstream.breaker import BreakerRules, Breakers
from plano_asgi.upstream.course import Candidate, FailoverRules
from plano_asgi.upstream.failures import FailureKind
from plano_asgi.upstream.forwarder import Admit, Forwarder, server_of
from plano_asgi.upstream.keys import Keys
from plano_asgi.upstream.resources import StoredResource

__all__ = [
    "Admit",
    "BreakerRules",
    "Breakers",
    "Candidate",
    "Deadlines",
    "FailoverRules",
    "FailureKind",
    "ForwardedAnswer",
    "Forwarder",
    "Keys",
    "OnePiece",
    "OutboundCall",
    "Pieces",
    "Sign",
    "StoredResource",
    "UpstreamClient",
    "server_of",
]
