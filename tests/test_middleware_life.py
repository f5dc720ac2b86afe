"""The middleware's life in its host: lifespan, servers, and the official clients."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from anthropic import Anthropic
from openai import OpenAI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plano_asgi import PlanoMiddleware, Router
from plano_asgi.assembly import build_router
from plano_asgi.errors import ArtifactIntegrityError
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing new code}]
  - model: anthropic/claude-sonnet-4-20250514
    routing_preferences: [{name: prose, description: writing prose}]
"""
EVENTS: Final = [f'data: {{"id": "{n}", "object": "chat.completion.chunk", "choices": []}}\n\n' for n in range(5)]


async def chat(request: Request) -> Response:
    """Answer as a model would, with the model's name as the words."""
    body = await request.json()
    if body.get("stream"):
        return StreamingResponse(iter([*EVENTS, "data: [DONE]\n\n"]), media_type="text/event-stream")
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": body["model"]}}
    return JSONResponse({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})


async def messages(request: Request) -> Response:
    """Answer as a model would, with the model's name as the words."""
    body = await request.json()
    answer = {"id": "1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    words = [{"type": "text", "text": body["model"]}]
    return JSONResponse({**answer, "content": words, "usage": {"input_tokens": 1, "output_tokens": 1}})


def host(settings: Settings, router: Router) -> Starlette:
    """Return an app that existed before, with the middleware added."""
    routes = [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/messages", messages, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(PlanoMiddleware, settings=settings, router=router)])


@pytest.fixture
def routed(settings_of: Callable[[str], Settings]) -> Iterator[Callable[..., tuple[Starlette, Router]]]:
    """Return what makes a host app and its router, with fixed chances."""
    routers: list[Router] = []

    def make(more: str = "", **chances: float) -> tuple[Starlette, Router]:
        settings = settings_of(CONFIG + more)
        routers.append(build_router(settings, classifier=FixedClassifier(chances)))
        return host(settings, routers[-1]), routers[-1]

    yield make
    for router in routers:
        router.close()


Serve = Callable[[Starlette], str]


def test_openai_client_is_routed(routed: Callable[..., tuple[Starlette, Router]], serve: Serve) -> None:
    """The official OpenAI client talks to the host, which serves the decided model, plain and streamed."""
    app, _ = routed(code=0.9)

    with OpenAI(base_url=f"{serve(app)}/v1", api_key="none", max_retries=0) as client:
        ask: Any = {"model": "auto", "messages": [{"role": "user", "content": "write a parser"}]}
        plain = client.chat.completions.with_raw_response.create(**ask)
        streamed = [chunk.id for chunk in client.chat.completions.create(**ask, stream=True)]

    assert plain.parse().choices[0].message.content == "gpt-4o"
    assert plain.headers["x-plano-route"] == "code"
    assert streamed == ["0", "1", "2", "3", "4"]


def test_anthropic_client_is_routed(routed: Callable[..., tuple[Starlette, Router]], serve: Serve) -> None:
    """The official Anthropic client talks to the host, which serves the decided model."""
    app, _ = routed(prose=0.9)

    with Anthropic(base_url=serve(app), api_key="none", max_retries=0) as client:
        answer = client.messages.create(model="auto", max_tokens=5, messages=[{"role": "user", "content": "an ode"}])

    assert json.loads(answer.to_json())["content"][0]["text"] == "claude-sonnet-4-20250514"


def lifespan(app: ASGIApp, said: list[dict[str, Any]]) -> None:
    """Take an app through one start-up and shutdown, and note what it says."""
    heard = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, Any]:
        """Give the next message."""
        return next(heard)

    async def send(message: Any) -> None:
        """Note what the app says."""
        said.append(message)

    anyio.run(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)


def test_router_starts_and_stops_with_its_host_again_and_again(
    routed: Callable[..., tuple[Starlette, Router]],
) -> None:
    """The model is warm when the host says it has started; a host that starts again has a router that decides."""
    app, router = routed(code=0.9)
    said: list[tuple[str, bool]] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        """Note what the app says, and whether the router is ready then."""

        async def send_noted(message: Message) -> None:
            """Note a message and pass it on."""
            said.append((message["type"], router.is_ready))
            await send(message)

        await app(scope, receive, send_noted)

    for _ in range(2):
        lifespan(watched, [])

    assert said == [("lifespan.startup.complete", True), ("lifespan.shutdown.complete", False)] * 2


def test_damaged_model_stops_the_host_with_the_reason(settings_of: Callable[[str], Settings], tmp_path: Path) -> None:
    """A host whose model cannot be loaded does not start, and is told why."""
    from plano_asgi.classify import embedded  # noqa: PLC0415 - only for its folder

    for file in (Path(embedded.__file__).with_name("model")).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "comparer.onnx").write_bytes(b"damaged")
    settings = settings_of(f"{CONFIG}classifier: {{model_path: {tmp_path}}}\n")

    said: list[dict[str, Any]] = []

    with pytest.raises(ArtifactIntegrityError, match="SHA-256"):
        lifespan(PlanoMiddleware(Starlette(), settings=settings), said)

    assert [message["type"] for message in said] == ["lifespan.startup.failed"]
    assert "SHA-256" in said[0]["message"]


@pytest.mark.parametrize(
    "more",
    ["classifier: {model_path: /nowhere}", "classifier: {device: cuda}", "mode: forward"],
    ids=["no model", "no such device", "no such mode"],
)
def test_what_cannot_be_used_can_be_switched_off(
    more: str, settings_of: Callable[[str], Settings], serve: Serve
) -> None:
    """`enabled: false` leaves an app as it was where its model is missing or its settings are not for this version."""
    app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
    app.add_middleware(PlanoMiddleware, settings=settings_of(f"{CONFIG}{more}\nenabled: false\n"))

    with OpenAI(base_url=f"{serve(app)}/v1", api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "hi"}])

    assert answer.choices[0].message.content == "auto"


def test_no_arguments_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """`add_middleware(PlanoMiddleware)` takes its configuration from the environment, and the real model decides."""
    (tmp_path / "mine.yaml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.setenv("PLANO_CONFIG_FILE", str(tmp_path / "mine.yaml"))
    app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
    app.add_middleware(PlanoMiddleware)

    with OpenAI(base_url=f"{serve(app)}/v1", api_key="none", max_retries=0) as client:
        told = client.chat.completions.with_raw_response.create(
            model="auto", messages=[{"role": "user", "content": "Write a C function that trims a string"}]
        )

    assert told.headers["x-plano-route"] == "code"
