"""Reading HTTP requests and writing their answers without any IO, for every framework alike."""

from plano_asgi.intake.answers import Answer, decision_answer, error_answer
from plano_asgi.intake.encodings import decode_body
from plano_asgi.intake.headers import Headers
from plano_asgi.intake.inbound_calls import InboundCalls, PassedCall, RoutedCall
from plano_asgi.intake.routing_requests import RequestReader, RoutingRequest, check_head

__all__ = [
    "Answer",
    "Headers",
    "InboundCalls",
    "PassedCall",
    "RequestReader",
    "RoutedCall",
    "RoutingRequest",
    "check_head",
    "decision_answer",
    "decode_body",
    "error_answer",
]
