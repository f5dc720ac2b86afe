"""Stands in for OpenAI and Anthropic, so that the example runs without a key; `gpt-4o` is always out of order.

Serve it with `uvicorn fake_providers:app --port 9000`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

OUT_OF_ORDER = "gpt-4o"


async def chat(request: Request) -> Response:
    """Answer in the shape of Chat Completions, at once or word by word."""
    body = await request.json()
    if body["model"] == OUT_OF_ORDER:
        error = {"message": "out of order", "type": "server_error", "param": None, "code": None}
        return JSONResponse({"error": error}, status_code=503)
    words = words_of(body)
    if body.get("stream"):
        return StreamingResponse(chat_events(body["model"], words), media_type="text/event-stream")
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "".join(words)}}
    usage = {"prompt_tokens": 1, "completion_tokens": len(words), "total_tokens": 1 + len(words)}
    return JSONResponse(
        {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }
    )


async def messages(request: Request) -> Response:
    """Answer in the shape of Messages, at once or word by word."""
    body = await request.json()
    words = words_of(body)
    message = {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": "".join(words)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": len(words)},
    }
    if body.get("stream"):
        return StreamingResponse(messages_events(message, words), media_type="text/event-stream")
    return JSONResponse(message)


def words_of(body: Mapping[str, Any]) -> list[str]:
    """Return what every model here says: its name."""
    return [f"{body['model']} ", "was ", "asked"]


def chat_events(model: str, words: Iterable[str]) -> Iterator[str]:
    """Yield the words as events of Chat Completions."""
    head = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": model}
    for word in words:
        choice = {"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": word}}
        yield f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"
    yield f"data: {json.dumps({**head, 'choices': [{'index': 0, 'finish_reason': 'stop', 'delta': {}}]})}\n\n"
    yield "data: [DONE]\n\n"


def messages_events(message: Mapping[str, Any], words: Iterable[str]) -> Iterator[str]:
    """Yield the words as events of Messages."""
    events: list[Mapping[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": w}} for w in words),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": message["usage"]},
        {"type": "message_stop"},
    ]
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


app = Starlette(
    routes=[
        Route("/openai/v1/chat/completions", chat, methods=["POST"]),
        Route("/anthropic/v1/messages", messages, methods=["POST"]),
    ]
)
