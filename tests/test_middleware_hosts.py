"""The middleware inside the hosts that tests use, which are strict about ASGI: calls, lifespans, websockets, paths."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest
from asgi_lifespan import LifespanManager
from asgiref.testing import ApplicationCommunicator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

import plano_asgi
from plano_asgi import PlanoMiddleware
from plano_asgi.assembly import build_router
from plano_asgi.errors import ArtifactIntegrityError, PlanoError
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.router import Router
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing code}]
"""
PATH: Final = "/v1/chat/completions"
BODY: Final = b'{"model": "auto", "messages": [{"role": "user", "content": "write a parser"}]}'

Communicator: Final[Any] = ApplicationCommunicator  # it has no types

every_backend = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class DamagedClassifier(FixedClassifier):
    """A classifier whose model cannot be loaded."""

    def prepare(self, policy: RoutingPolicy) -> None:
        """Fail."""
        raise ArtifactIntegrityError(Path("comparer.onnx"), problem="it is damaged")


class ExistingApp:
    """An app as it may have been before: it counts its own life, answers calls, streams, and has a websocket.

    Attributes:
        app: The app, without the middleware.
        life: What happened to it, in order.
    """

    def __init__(self, *, fails: bool = False) -> None:
        """Say whether it fails to start."""
        self._fails = fails
        self.life: list[str] = []
        routes = [Route(PATH, self._call, methods=["POST"]), WebSocketRoute(PATH, self._talk)]
        self.app = Starlette(routes=routes, lifespan=self._live)

    @asynccontextmanager
    async def _live(self, _: Starlette) -> AsyncIterator[Mapping[str, str]]:
        """Start, leave something in the state, and stop."""
        if self._fails:
            raise LookupError("the app's own")
        self.life.append("started")
        yield {"pool": "of the app"}
        self.life.append("stopped")

    async def _call(self, request: Request) -> Response:
        """Tell what was read and what is in the state; stream it where the client likes."""
        decision = plano_asgi.decision(request)
        told = {
            "model": (await request.json())["model"],
            "route": decision and decision.route,
            "pool": getattr(request.state, "pool", None),
        }
        if "stream" not in request.query_params:
            return JSONResponse(told)
        return StreamingResponse(iter([f"{key}={value}\n" for key, value in told.items()]))

    async def _talk(self, websocket: WebSocket) -> None:
        """Say what is heard."""
        await websocket.accept()
        await websocket.send_text((await websocket.receive_text()).upper())
        await websocket.close()


Wrap = Callable[..., tuple[PlanoMiddleware, Router]]


@pytest.fixture
def wrap(settings_of: Callable[[str], Settings]) -> Iterator[Wrap]:
    """Return what puts an app behind the middleware, and gives the router too."""
    routers: list[Router] = []

    def make(app: ASGIApp, more: str = "", classifier: FixedClassifier | None = None) -> tuple[PlanoMiddleware, Router]:
        settings = settings_of(CONFIG + more)
        router = build_router(settings, classifier=classifier or FixedClassifier({"code": 0.9}))
        routers.append(router)
        return PlanoMiddleware(app, settings=settings, router=router), router

    yield make
    for router in routers:
        router.close()


def http_scope(path: str = PATH) -> dict[str, Any]:
    """Return the scope of a POST."""
    return {"type": "http", "asgi": {"version": "3.0"}, "method": "POST", "path": path, "headers": []}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_communicator_has_each_message_as_it_is_sent(wrap: Wrap, *, stream: bool) -> None:
    """In asgiref's communicator a call in two pieces is routed, answered message by message, and ends."""
    wrapped, _ = wrap(ExistingApp().app)
    query = {"query_string": b"stream=yes" if stream else b""}

    async def main() -> list[dict[str, Any]]:
        """Make the call."""
        communicator = Communicator(wrapped, {**http_scope(), **query})
        for piece, more in ((BODY[:9], True), (BODY[9:], False)):
            await communicator.send_input({"type": "http.request", "body": piece, "more_body": more})
        answer = [await communicator.receive_output()]
        while answer[-1]["type"] == "http.response.start" or answer[-1].get("more_body"):
            answer.append(await communicator.receive_output())
        await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait()
        assert await communicator.receive_nothing(timeout=0.01)
        return answer

    start, *pieces = anyio.run(main)

    assert dict(start["headers"])[b"x-plano-route"] == b"code"
    assert b"gpt-4o" in b"".join(piece["body"] for piece in pieces)
    assert len(pieces) == (4 if stream else 1)


def test_communicator_passes_what_the_app_raises(wrap: Wrap) -> None:
    """What a handler raises comes out as it was raised."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Fail."""
        raise LookupError(scope["path"], receive, send)

    async def main() -> None:
        """Make the call."""
        communicator = Communicator(wrap(app)[0], http_scope())
        await communicator.send_input({"type": "http.request", "body": BODY})
        await communicator.wait()

    with pytest.raises(LookupError, match=PATH):
        anyio.run(main)


@pytest.mark.parametrize("kind", ["websocket", "http.of.the.future"])
def test_other_scopes_are_the_servers_own(kind: str, wrap: Wrap) -> None:
    """A websocket, and a scope of a kind that is not known, reach the app with the server's own objects."""
    given: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Note what is given."""
        given.extend([scope, receive, send])

    async def receive() -> dict[str, Any]:
        """Give nothing."""
        raise AssertionError

    async def send(message: object) -> None:
        """Take nothing."""
        raise AssertionError(message)

    scope = {**http_scope(), "type": kind}
    anyio.run(wrap(app)[0], scope, receive, send)

    assert [id(thing) for thing in given] == [id(scope), id(receive), id(send)]


def in_lifespan(app: ASGIApp, backend: str, then: Callable[[], Awaitable[None]] | None = None) -> None:
    """Start an app as asgi-lifespan does, do something, and stop it."""

    async def main() -> None:
        """Live."""
        async with LifespanManager(app, startup_timeout=5, shutdown_timeout=5):
            if then:
                await then()

    try:
        anyio.run(main, backend=backend)
    except BaseExceptionGroup as group:  # trio's way to tell of one
        (error,) = group.exceptions
        raise error from None


@every_backend
def test_lifespan_manager_starts_and_stops_app_and_router(backend: str, wrap: Wrap) -> None:
    """Within the lifespan app and router are ready and a call is served; after it both have been stopped."""
    existing = ExistingApp()
    wrapped, router = wrap(existing.app)
    read: list[Any] = []

    async def call() -> None:
        """Make a call."""
        assert (router.is_ready, existing.life) == (True, ["started"])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(wrapped), base_url="http://plano.test") as client:
            read.append((await client.post(PATH, content=BODY)).json())

    in_lifespan(wrapped, backend, call)

    assert read == [{"model": "gpt-4o", "route": "code", "pool": None}]
    assert existing.life == ["started", "stopped"]
    assert router.route(plano_asgi.LLMCall.from_text("anything new")).reason.value == "error"


@every_backend
def test_app_that_does_not_start_is_heard_as_without_the_middleware(backend: str, wrap: Wrap) -> None:
    """The app's own failure comes through, and no model is loaded for it."""
    wrapped, router = wrap(ExistingApp(fails=True).app)

    with pytest.raises(LookupError, match="the app's own"):
        in_lifespan(wrapped, backend)

    assert not router.is_ready


@every_backend
def test_router_that_does_not_start_is_heard_and_the_app_is_stopped(backend: str, wrap: Wrap) -> None:
    """A model that cannot be loaded stops the host with the reason, and the app gets to clean up."""
    existing = ExistingApp()
    wrapped, _ = wrap(existing.app, classifier=DamagedClassifier({}))

    with pytest.raises(ArtifactIntegrityError, match="damaged"):
        in_lifespan(wrapped, backend)

    assert existing.life == ["started", "stopped"]


@every_backend
@pytest.mark.parametrize("more", ["startup: background\n", "enabled: false\n"], ids=["background", "not enabled"])
def test_host_starts_where_nothing_waits_for_the_model(more: str, backend: str, wrap: Wrap) -> None:
    """With the model loaded beside it, or not at all, a host starts though the model is damaged."""
    existing = ExistingApp()
    wrapped, _ = wrap(existing.app, more, DamagedClassifier({}))

    in_lifespan(wrapped, backend)

    assert existing.life == ["started", "stopped"]


def test_app_without_lifespan_is_heard_as_without_the_middleware(wrap: Wrap) -> None:
    """An app that knows no lifespan refuses it in its own words; its calls are routed all the same."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a lifespan."""
        if scope["type"] != "http":
            raise NotImplementedError("no lifespan here")
        await JSONResponse(plano_asgi.decision(Request(scope, receive)) is not None)(scope, receive, send)

    wrapped, router = wrap(app)

    with pytest.raises(NotImplementedError, match="no lifespan here"), TestClient(wrapped):
        pass

    assert not router.is_ready
    assert TestClient(wrapped).post(PATH, content=BODY).json() is True


@every_backend
def test_test_client_sees_calls_websockets_and_state(backend: Any, wrap: Wrap) -> None:
    """In Starlette's client, twice over: calls are routed, websockets pass, the lifespan's state is there as before."""
    existing = ExistingApp()
    wrapped, router = wrap(existing.app)

    for _ in range(2):
        with TestClient(wrapped, backend=backend) as client:
            answer = client.post(PATH, content=BODY)
            with client.websocket_connect(PATH) as websocket:
                websocket.send_text("hello")
                heard = websocket.receive_text()
            assert router.is_ready
            assert answer.json() == {"model": "gpt-4o", "route": "code", "pool": "of the app"}
            assert answer.headers["x-plano-model"] == "openai/gpt-4o"
            assert heard == "HELLO"

    assert existing.life == ["started", "stopped"] * 2


def test_test_client_is_told_why_the_router_does_not_start(wrap: Wrap) -> None:
    """A test that enters a host with a damaged model fails there, and does not go on without it."""
    existing = ExistingApp()

    with pytest.raises(PlanoError, match="damaged"), TestClient(wrap(existing.app, "", DamagedClassifier({}))[0]):
        pass

    assert existing.life == ["started", "stopped"]


@pytest.mark.parametrize(
    ("root_path", "path", "is_routed"),
    [
        ("", PATH, True),
        ("", f"/gateway{PATH}", True),
        ("/api", f"/api{PATH}", True),
        ("/api", PATH, True),
        ("/v1/chat", PATH, False),
        ("", "/v1%2Fchat/completions", False),
        ("", "/v1/chat%2fcompletions", False),
        ("", f"{PATH}/", False),
        ("", f"/{PATH}", False),
        ("", "/v1//chat/completions", False),
        ("", "/V1/chat/completions", False),
        ("", f"{PATH}?stream=yes", True),
    ],
)
@pytest.mark.parametrize("host", ["transport", "test client"])
def test_only_the_paths_of_calls_are_routed(
    root_path: str, path: str, host: str, wrap: Wrap, *, is_routed: bool
) -> None:
    """Below any prefix or `root_path` a call is a call; a path that is almost one is passed, its body unread."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Tell what is read."""
        await Response((await receive())["body"])(scope, receive, send)

    wrapped, _ = wrap(app)

    async def by_transport() -> httpx.Response:
        """Make the call through httpx."""
        transport = httpx.ASGITransport(wrapped, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://plano.test") as client:
            return await client.post(path, content=BODY)

    if host == "transport":
        answer: Any = anyio.run(by_transport)
    else:
        answer = TestClient(wrapped, root_path=root_path).post(path, content=BODY)

    assert answer.content == (BODY.replace(b"auto", b"gpt-4o") if is_routed else BODY)
    assert ("x-plano-reason" in answer.headers) == is_routed
