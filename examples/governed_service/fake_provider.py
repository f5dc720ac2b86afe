"""A stand-in for OpenAI: it says which model was asked, and that this took 200 tokens to read and 100 to write."""

import json
from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

USAGE = {"prompt_tokens": 200, "completion_tokens": 100, "total_tokens": 300}


async def chat(request: Request) -> Response:
    """Answer a call, whole or as a stream."""
    call = await request.json()
    head = {"id": "chatcmpl-1", "created": 0, "model": call["model"]}
    if call.get("stream"):
        return StreamingResponse(_events(head), media_type="text/event-stream")
    message = {"role": "assistant", "content": f"{call['model']} was asked"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE})


def _events(head: dict[str, object]) -> Iterator[str]:
    head = {**head, "object": "chat.completion.chunk"}
    for word in (f"{head['model']} ", "was asked"):
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        yield f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    yield f"data: {json.dumps({**head, 'choices': [end], 'usage': USAGE})}\n\n"
    yield "data: [DONE]\n\n"


app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
