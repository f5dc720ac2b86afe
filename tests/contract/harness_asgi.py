"""The ASGI middleware, around a Starlette app."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from plano_asgi import PlanoMiddleware, PlanoState

if TYPE_CHECKING:
    from tests.contract.conftest import HttpHost, Kit


class Harness:
    """One app, served by uvicorn."""

    variants: ClassVar = ("",)
    not_claimed: ClassVar[dict[str, str]] = {}

    @contextmanager
    def host(self, variant: str, kit: "Kit") -> "Iterator[HttpHost]":
        """Give the host."""
        del variant

        async def chat(request: Request) -> Response:
            """Tell of a call."""
            return JSONResponse(kit.told(await request.body(), request.headers, PlanoState.of(request)))

        async def stream(request: Request) -> Response:
            """Stream an answer."""
            await request.body()
            return StreamingResponse(kit.words(), media_type="text/event-stream")

        routes = [
            Route("/stream/{path:path}", stream, methods=["POST"]),
            Route("/{path:path}", chat, methods=["POST"]),
        ]
        app = Starlette(routes=routes)
        app.add_middleware(PlanoMiddleware, config=kit.config)
        yield kit.over_asgi(app)
