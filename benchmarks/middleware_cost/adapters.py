"""Calls to Django and Flask with no server between: a project bare, against the same one with its adapter, in turn."""

import asyncio
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt
from flask import Flask, Response, request
from rich.console import Console
from rich.progress import track

from benchmarks.middleware_cost.cases import CALL, OTHER, Effort
from benchmarks.middleware_cost.figures import Figures, interval
from benchmarks.middleware_cost.hosts import ANSWER, body_of, head_of
from benchmarks.middleware_cost.in_process import scope_of
from benchmarks.middleware_cost.logs import logging_as
from plano_asgi.settings import STARTING_FILE
from plano_asgi_flask import Plano

LOGS: Final = "WARNING"
PATHS: Final = {"POST, not a call": OTHER, "cached call": CALL}
Host = tuple[Callable[[str, bytes], float], Callable[[str, bytes], float]]
"""What times one call to a bare project, and one to the same with its adapter."""


def adapters(effort: Effort) -> Sequence[Figures]:
    """Return the microseconds that each adapter adds to a request."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, logging_as(LOGS):
        config = Path(folder) / "plano.yaml"
        config.write_text(STARTING_FILE, encoding="utf-8")
        hosts = [stack.enter_context(django_hosts(config)), stack.enter_context(flask_host(config))]
        timers = {name: timer for host in hosts for name, timer in host.items()}
        for name, (bare, adapted) in track(timers.items(), "adapters", console=Console(stderr=True)):
            rows += [row_of(name, case, bare, adapted, effort) for case in PATHS]
    return rows


def row_of(
    name: str,
    case: str,
    bare: Callable[[str, bytes], float],
    adapted: Callable[[str, bytes], float],
    effort: Effort,
) -> Figures:
    """Return the medians of one case in microseconds, and what was added with its interval."""
    path, body, timed = PATHS[case], body_of(0), []
    for _ in range(8):  # to load the model, to fill the cache, and to warm up
        bare(path, body)
        adapted(path, body)
    for pair in range(effort.pairs):
        first, second = (bare, adapted) if pair % 2 else (adapted, bare)
        took = {first: first(path, body), second: second(path, body)}
        timed.append((took[bare], took[adapted]))
    return {
        "adapter": name,
        "case": case,
        "logs": LOGS,
        "bare_us": round(median(one[0] for one in timed) * 1e6, 1),
        "wrapped_us": round(median(one[1] for one in timed) * 1e6, 1),
        "added_us": interval([(one[1] - one[0]) * 1e6 for one in timed]),
    }


@contextmanager
def django_hosts(config: Path) -> Iterator[dict[str, Host]]:
    """Give Django under WSGI with a sync view, and under ASGI with an async one."""
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None, SECRET_KEY="keeps nothing")  # noqa: S106
        django.setup()

    @csrf_exempt
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(ANSWER if request.body else b"", content_type="application/json")

    @csrf_exempt
    async def async_view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(ANSWER if request.body else b"", content_type="application/json")

    loop = asyncio.new_event_loop()

    def over_asgi(app: Any, *, is_adapted: bool) -> Callable[[str, bytes], float]:  # noqa: ANN401 - any ASGI app
        return lambda path, body: loop.run_until_complete(seconds_over_asgi(app, path, body, is_adapted=is_adapted))

    plano = {"config_file": config, "classifier": {"deadline_ms": 10_000}}
    hosts: dict[str, Host] = {}
    with ExitStack() as stack:
        urls = (re_path("^asgi/", async_view), re_path("", view))
        stack.enter_context(override_settings(ROOT_URLCONF=urls, PLANO=plano, MIDDLEWARE=[]))
        bare = WSGIHandler(), ASGIHandler()
        with override_settings(MIDDLEWARE=["plano_asgi_django.PlanoMiddleware"]):
            adapted = WSGIHandler(), ASGIHandler()
        hosts["Django, WSGI"] = over_wsgi(bare[0], is_adapted=False), over_wsgi(adapted[0], is_adapted=True)
        in_async = over_asgi(bare[1], is_adapted=False), over_asgi(adapted[1], is_adapted=True)
        hosts["Django, ASGI"] = at("/asgi", in_async[0]), at("/asgi", in_async[1])
        yield hosts
    loop.close()


async def seconds_over_asgi(app: Any, path: str, body: bytes, *, is_adapted: bool) -> float:  # noqa: ANN401 - any ASGI app
    """Return the seconds of one call to an ASGI app whose client waits for the answer."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError("nobody disconnects")

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = scope_of("POST", path, body)
    started = perf_counter()
    await app(scope, receive, send)
    elapsed = perf_counter() - started
    check(path, [name.decode() for name, _ in sent[0]["headers"]], is_adapted=is_adapted)
    return elapsed


def check(path: str, headers: Sequence[str], *, is_adapted: bool) -> None:
    """Raise where a call was not routed that should have been, or the other way round."""
    is_routed = "x-plano-model" in {name.lower() for name in headers}
    if is_routed != (is_adapted and path.endswith(CALL)):
        raise RuntimeError(f"{path}: routed is {is_routed}")


def at(prefix: str, timer: Callable[[str, bytes], float]) -> Callable[[str, bytes], float]:
    """Return what times calls to paths below a prefix."""
    return lambda path, body: timer(prefix + path, body)


@contextmanager
def flask_host(config: Path) -> Iterator[dict[str, Host]]:
    """Give Flask under WSGI."""

    def app_of() -> Flask:
        app = Flask("benchmark")
        app.config.update(PLANO_CONFIG_FILE=config, PLANO_CLASSIFIER={"deadline_ms": 10_000})

        @app.post("/<path:path>")
        def view(path: str) -> Response:
            del path
            return Response(ANSWER if request.get_data() else b"", mimetype="application/json")

        return app

    bare, adapted = app_of(), app_of()
    Plano(adapted)
    yield {"Flask, WSGI": (over_wsgi(bare, is_adapted=False), over_wsgi(adapted, is_adapted=True))}


def over_wsgi(app: Any, *, is_adapted: bool) -> Callable[[str, bytes], float]:  # noqa: ANN401 - any WSGI app
    """Return what times one call to a WSGI app, with no server between."""

    def timed(path: str, body: bytes) -> float:
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in head_of(body).items()},
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
        }
        told: list[str] = []
        started = perf_counter()
        answer = app(environ, lambda _, headers, *__: told.extend(name for name, _ in headers))
        content = b"".join(answer)
        elapsed = perf_counter() - started
        answer.close()
        check(path, told, is_adapted=is_adapted)
        if content != ANSWER:
            raise RuntimeError(content)
        return elapsed

    return timed
