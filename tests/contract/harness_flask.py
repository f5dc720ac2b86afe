"""Flask, under WSGI and, by a bridge, under ASGI."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from wsgiref.validate import validator

from a2wsgi import WSGIMiddleware
from flask import Flask, Response, g, request

from plano_asgi_flask import Plano

if TYPE_CHECKING:
    from tests.contract.conftest import HttpHost, Kit


class Harness:
    """An app with the standard library's validator inside of the extension, and outside of it where it is WSGI."""

    variants: ClassVar = ("wsgi, sync views", "wsgi, async views", "a2wsgi")
    not_claimed: ClassVar[dict[str, str]] = {}

    @contextmanager
    def host(self, variant: str, kit: "Kit") -> "Iterator[HttpHost]":
        """Give the host."""
        app = Flask("contract")
        app.config["PLANO_CONFIG_FILE"] = kit.config

        def chat(path: str) -> dict[str, Any]:
            """Tell of a call."""
            del path
            assert (request.get_json(silent=True) is None) or request.data
            return kit.told(request.get_data(), dict(request.headers), g.plano)

        async def async_chat(path: str) -> dict[str, Any]:
            """Tell of a call."""
            return chat(path)

        @app.post("/stream/<path:path>")
        def stream(path: str) -> Response:
            """Stream an answer."""
            del path
            return Response(kit.words(), mimetype="text/event-stream")

        app.post("/<path:path>")(async_chat if "async" in variant else chat)
        if variant != "a2wsgi":
            inside: Any = validator(app.wsgi_app)
            app.wsgi_app = inside  # type: ignore[method-assign]  # as Flask's own pages do
        Plano(app)
        wsgi_app: Any = app
        yield kit.over_asgi(WSGIMiddleware(wsgi_app)) if variant == "a2wsgi" else kit.over_wsgi(app)
