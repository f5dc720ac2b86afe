"""Takes OpenAI Chat Completions calls, plain and streaming, and passes them on to the provider that serves them."""

from collections.abc import AsyncIterator
from http import HTTPStatus

import httpx
from django.http import JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from plano_asgi_django import PlanoRequest

TRUST = httpx.create_ssl_context()
TIMEOUT = httpx.Timeout(10, read=300)


@csrf_exempt
async def chat(request: PlanoRequest) -> HttpResponseBase:
    """Pass the provider's answer on as it comes, whole or as a stream."""
    provider = request.plano.provider if request.plano else None
    if provider is None:
        return refused(400, "this is no Chat Completions call, or its model is not served here")
    if provider.base_url is None or provider.access_key is None:
        return refused(503, f"{provider.model} is not set up here; its base_url or its key is missing")
    client = httpx.AsyncClient(timeout=TIMEOUT, verify=TRUST)
    call = client.build_request(
        "POST",
        f"{provider.base_url.rstrip('/')}/chat/completions",
        content=request.body,
        headers={"authorization": f"Bearer {provider.access_key.reveal()}", "content-type": "application/json"},
    )
    try:
        answer = await client.send(call, stream=True)
    except httpx.HTTPError as error:
        await client.aclose()
        return refused(502, f"the provider did not answer ({type(error).__name__}); try again")
    kind = answer.headers.get("content-type")
    return StreamingHttpResponse(passed_on(client, answer), status=answer.status_code, content_type=kind)


async def passed_on(client: httpx.AsyncClient, answer: httpx.Response) -> AsyncIterator[bytes]:
    """Yield an answer's pieces, and close the connection when they are read or the caller has gone away."""
    try:
        async for piece in answer.aiter_bytes():
            yield piece
    finally:
        await answer.aclose()
        await client.aclose()


def refused(status: int, message: str) -> JsonResponse:
    """Return an error in OpenAI's shape."""
    kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    return JsonResponse({"error": {"message": message, "type": kind, "param": None, "code": None}}, status=status)


urlpatterns = [path("v1/chat/completions", chat)]
