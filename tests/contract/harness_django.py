"""Django under WSGI and ASGI, with views of both kinds under each."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt

if TYPE_CHECKING:
    from plano_asgi_django import PlanoRequest
    from tests.contract.conftest import HttpHost, Kit


class Harness:
    """A project with the middleware among Django's own."""

    variants: ClassVar = ("wsgi, sync views", "wsgi, async views", "asgi, sync views", "asgi, async views")
    not_claimed: ClassVar[dict[str, str]] = {}

    @contextmanager
    def host(self, variant: str, kit: "Kit") -> "Iterator[HttpHost]":
        """Give the host."""
        is_asgi, is_async = variant.startswith("asgi"), variant.endswith("async views")

        def told(request: "PlanoRequest") -> JsonResponse:
            """Tell of a call, which reads the same in both ways that Django has."""
            body = request.body
            assert request.read() == body
            return JsonResponse(kit.told(body, request.headers, request.plano))

        @csrf_exempt
        def chat(request: "PlanoRequest") -> JsonResponse:
            """Tell of a call."""
            return told(request)

        @csrf_exempt
        async def async_chat(request: "PlanoRequest") -> JsonResponse:
            """Tell of a call."""
            return told(request)

        @csrf_exempt
        def stream(_: HttpRequest) -> StreamingHttpResponse:
            """Stream an answer, by an iterator of the kind that the server consumes piece by piece."""
            words = later(kit.words()) if is_asgi else kit.words()
            return StreamingHttpResponse(words, content_type="text/event-stream")

        urls = (re_path("^stream/", stream), re_path("", async_chat if is_async else chat))
        middleware = [
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            "plano_asgi_django.PlanoMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
        ]
        with kit.fixture("django_project")(urls, MIDDLEWARE=middleware, PLANO={"config_file": kit.config}):
            yield kit.over_asgi(without_lifespan(ASGIHandler())) if is_asgi else kit.over_wsgi(WSGIHandler())


async def later(words: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield words that are waited for on a thread."""

    def next_word() -> bytes:
        """Wait for it."""
        return next(words, b"")

    while word := await sync_to_async(next_word, thread_sensitive=False)():
        yield word


def without_lifespan(app: Any) -> Any:
    """Return an ASGI app whose lifespan is answered here, since Django's refuses it."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        """Serve one scope."""
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for moment in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{moment}.complete"})

    return wrapped
