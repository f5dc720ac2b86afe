"""Stands in for OpenAI and Mistral, so that the example runs without a key; it says which model was asked.

Serve it with `uvicorn fake_provider:app --port 9000`, and point both providers at it as README.md shows.
"""

import json
from collections import deque
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

CALLS_KEPT = 1_000


async def chat(request: Request) -> Response:
    """Answer in the shape of Chat Completions, at once or word by word."""
    body = await request.json()
    request.app.state.calls.append(
        {
            "provider": request.path_params["provider"],
            "model": body["model"],
            "authorization": request.headers["authorization"],
        }
    )
    words = [f"{body['model']} ", "was ", "asked"]
    if body.get("stream"):
        return StreamingResponse(events(words), media_type="text/event-stream")
    message = {"role": "assistant", "content": "".join(words)}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return JSONResponse({**envelope("chat.completion", body["model"]), "choices": [choice]})


async def events(words: list[str]) -> AsyncIterator[str]:
    """Yield the words as server-sent events."""
    for word in words:
        choice = {"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": word}}
        yield f"data: {json.dumps({**envelope('chat.completion.chunk', 'fake'), 'choices': [choice]})}\n\n"
    yield "data: [DONE]\n\n"


def envelope(kind: str, model: str) -> dict[str, object]:
    """Return what every answer begins with."""
    return {"id": "chatcmpl-fake", "object": kind, "created": 0, "model": model}


app = Starlette(routes=[Route("/{provider}/v1/chat/completions", chat, methods=["POST"])])
app.state.calls = deque(maxlen=CALLS_KEPT)
