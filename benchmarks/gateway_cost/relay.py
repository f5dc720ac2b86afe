"""The least that a gateway of httpx and uvicorn can cost: `python -m benchmarks.gateway_cost.relay PROVIDER_PORT PORT`.

It passes calls on to one URL and their answers back, streamed, over kept connections, and does nothing else: nothing is
read, decided, judged, accounted for or logged.
"""

import sys

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route


def relay(url: str) -> Starlette:
    """Return an app that passes calls on to a URL."""
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    client = httpx.AsyncClient(limits=limits, timeout=60.0, trust_env=False)

    async def pass_on(request: Request) -> StreamingResponse:
        headers = {name: request.headers[name] for name in ("authorization", "content-type")}
        asked = client.build_request("POST", url, content=await request.body(), headers=headers)
        answer = await client.send(asked, stream=True)
        told = {name: value for name, value in answer.headers.items() if name in {"content-type", "content-length"}}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, told, background=BackgroundTask(answer.aclose))

    return Starlette(routes=[Route("/v1/chat/completions", pass_on, methods=["POST"])])


if __name__ == "__main__":
    provider_port, port = map(int, sys.argv[1:])
    app = relay(f"http://127.0.0.1:{provider_port}/v1/chat/completions")
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, server_header=False, log_level="warning")
