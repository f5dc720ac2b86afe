"""A FastAPI service that passes Chat Completions calls on to the provider that each of them is routed to.

The service was there before. `add_middleware` routes its calls; `PlanoState` says who serves them, and with which key.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse

import plano_asgi

logger = logging.getLogger("chat")
client = httpx.AsyncClient(timeout=httpx.Timeout(10, read=300))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the connections to the providers at the end."""
    yield
    await client.aclose()


app = FastAPI(lifespan=lifespan)
app.add_middleware(plano_asgi.PlanoMiddleware)


async def provider_answer(
    request: Request, plano: Annotated[plano_asgi.PlanoState | None, Depends(plano_asgi.PlanoState.of)]
) -> AsyncIterator[httpx.Response]:
    """Yield the answer of the provider that serves this call; it is closed when the client has it, or has gone."""
    provider = plano.provider if plano else None
    if provider is None:
        raise HTTPException(400, "this is no Chat Completions call, or its model is not served here")
    if provider.base_url is None or provider.access_key is None:
        raise HTTPException(503, f"{provider.model} is not set up here; its base_url or its key is missing")
    url = f"{provider.base_url.rstrip('/')}/chat/completions"
    headers = {"authorization": f"Bearer {provider.access_key.reveal()}", "content-type": "application/json"}
    async with client.stream("POST", url, content=await request.body(), headers=headers) as answer:
        yield answer


@app.post("/v1/chat/completions")
async def chat(
    answer: Annotated[httpx.Response, Depends(provider_answer)],
    decision: Annotated[plano_asgi.RoutingDecision | None, Depends(plano_asgi.decision)],
) -> StreamingResponse:
    """Pass the provider's answer on as it comes, whole or as a stream."""
    logger.info("route %s, status %d", decision and decision.route, answer.status_code)
    return StreamingResponse(answer.aiter_bytes(), answer.status_code, media_type=answer.headers.get("content-type"))


@app.exception_handler(HTTPException)
async def refused(_: Request, error: HTTPException) -> JSONResponse:
    """Answer in the form that OpenAI's clients read."""
    return error_answer(error.status_code, error.detail)


@app.exception_handler(httpx.HTTPError)
async def provider_unreachable(_: Request, error: httpx.HTTPError) -> JSONResponse:
    """Answer 502 where a provider does not answer at all; its own errors are passed on as they are."""
    return error_answer(502, f"the provider did not answer ({type(error).__name__}); try again")


def error_answer(status: int, message: str) -> JSONResponse:
    """Return an error in OpenAI's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"  # noqa: PLR2004 - where HTTP puts its own
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)


@app.get("/")
async def home() -> dict[str, str]:
    """Tell that the service is up; no LLM call, so the router leaves it alone."""
    return {"status": "ok"}
