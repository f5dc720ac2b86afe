"""A service that is in production already, and logs what routing would change, and what it changed.

Its own log is structlog's JSON on stdout; as soon as that is configured, the events of plano-asgi go there too.
"""

from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import plano_asgi

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(),
    ],
    cache_logger_on_first_use=True,
)
log = structlog.get_logger("chat")


async def chat(request: Request) -> JSONResponse:
    """Answer a call with the model that its body names, and log it beside the decision."""
    body = await request.json()
    answer = await complete(body)
    decision = plano_asgi.decision(request)
    log.info(
        "chat.answered",
        model=body["model"],
        would_use=decision and decision.would_use,
        route=decision and decision.route,
        reason=decision.reason.value if decision else "not_routed",
    )
    return JSONResponse(answer)


async def complete(body: dict[str, Any]) -> dict[str, object]:
    """Return an answer in the shape of Chat Completions; a real service asks a provider here."""
    message = {"role": "assistant", "content": f"{body['model']} was asked"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice]}


app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
app.add_middleware(plano_asgi.PlanoMiddleware)
