"""Whole services for tests: settings out of a YAML text, and real servers on loopback."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Any

import anyio
import httpx
import pytest
import structlog
import uvicorn
from starlette.applications import Starlette

from plano_asgi.assembly import build_router
from plano_asgi.classify import Classifier
from plano_asgi.http.server import create_app
from plano_asgi.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def unconfigured_logging() -> Iterator[None]:
    """Take back what a test or the command has configured of structlog, which is global."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def settings_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Settings]:
    """Return what makes settings of a YAML text, with an empty environment."""

    def load(text: str) -> Settings:
        path = tmp_path_factory.mktemp("settings") / "plano.yaml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path, environ={})

    return load


@pytest.fixture(scope="session")
def app_of(settings_of: Callable[[str], Settings]) -> Iterator[Callable[..., Starlette]]:
    """Return what makes the service of a YAML text, with the classifier it names or the one given."""
    with ExitStack() as routers:

        def make(text: str, classifier: Classifier | None = None) -> Starlette:
            settings = settings_of(text)
            router = build_router(settings, classifier=classifier)
            routers.callback(router.close)
            return create_app(settings, router)

        yield make


@pytest.fixture(scope="session")
def ask() -> Callable[..., httpx.Response]:
    """Return what sends one request straight to an app, with no server between; takes what httpx takes."""

    def send(app: Starlette, method: str, path: str, **request: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            """Send it."""
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://plano.test") as client:
                return await client.request(method, path, **request)

        return anyio.run(run)

    return send


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Starlette], str]]:
    """Return what serves an app on a free port of loopback until the last test is over, and gives its URL."""
    with ExitStack() as servers:
        yield lambda app: servers.enter_context(_running(app))


@contextmanager
def _running(app: Starlette) -> Iterator[str]:
    """Serve an app as a plain uvicorn would, give its URL, and stop it."""
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # named, so that asyncio switches Nagle's algorithm off
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, http="h11", loop="asyncio", lifespan="on", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.005)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive(), "the server did not stop"
