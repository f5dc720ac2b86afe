"""In a FastAPI app: what was decided, as a dependency of its handlers."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from starlette.testclient import TestClient
from starlette.types import ASGIApp

import plano_asgi
from plano_asgi import PlanoMiddleware, PlanoState, RoutingDecision
from plano_asgi.testing import FixedClassifier

CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing code}]
"""
PATH: Final = "/v1/chat/completions"
CALL: Final = {"model": "auto", "messages": [{"role": "user", "content": "write a parser"}]}
POSTPONED: Final = '''\
"""An app whose annotations are text until somebody evaluates them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI

import plano_asgi

api = FastAPI()


@api.post("/async/v1/chat/completions")
async def on_the_loop(
    body: dict[str, Any],
    decision: Annotated[plano_asgi.RoutingDecision | None, Depends(plano_asgi.decision)],
    state: Annotated[plano_asgi.PlanoState | None, Depends(plano_asgi.PlanoState.of)],
) -> list[str | None]:
    """Tell what was decided."""
    provider = state.provider if state else None
    return [body["model"], decision.route if decision else None, provider.model if provider else None]


@api.post("/sync/v1/chat/completions")
def on_a_thread(
    body: dict[str, Any],
    decision: Annotated[plano_asgi.RoutingDecision | None, Depends(plano_asgi.decision)],
    state: Annotated[plano_asgi.PlanoState | None, Depends(plano_asgi.PlanoState.of)],
) -> list[str | None]:
    """Tell what was decided."""
    provider = state.provider if state else None
    return [body["model"], decision.route if decision else None, provider.model if provider else None]
'''

api = FastAPI()

Decided = Annotated[RoutingDecision | None, Depends(plano_asgi.decision)]
Stated = Annotated[PlanoState | None, Depends(PlanoState.of)]


def told(body: dict[str, Any], decision: RoutingDecision | None, state: PlanoState | None) -> list[str | None]:
    """Return the model of a body, the route, and the model of the provider."""
    provider = state.provider if state else None
    return [body["model"], decision.route if decision else None, provider.model if provider else None]


@api.post(f"/async{PATH}")
async def on_the_loop(body: dict[str, Any], decision: Decided, state: Stated) -> list[str | None]:
    """Tell what was decided."""
    return told(body, decision, state)


@api.post(f"/sync{PATH}")
def on_a_thread(body: dict[str, Any], decision: Decided, state: Stated) -> list[str | None]:
    """Tell what was decided."""
    return told(body, decision, state)


@api.post(f"/request{PATH}")
async def with_the_request(request: Request) -> list[str | None]:
    """Tell what was decided, without a dependency."""
    return told(await request.json(), plano_asgi.decision(request), PlanoState.of(request))


@api.post("/elsewhere")
async def elsewhere(decision: Decided, state: Stated) -> list[None]:
    """Tell that nothing was decided."""
    assert (decision, state) == (None, None)
    return []


@api.websocket("/socket")
async def socket(websocket: WebSocket, decision: Decided) -> None:
    """Tell that nothing was decided."""
    await websocket.accept()
    await websocket.send_json(decision)
    await websocket.close()


@pytest.fixture(scope="module")
def postponed(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """Return the app of a module with `from __future__ import annotations`."""
    names: dict[str, Any] = {"__name__": "postponed"}
    file = tmp_path_factory.mktemp("postponed") / "postponed.py"
    exec(compile(POSTPONED, file, "exec"), names)  # noqa: S102 - the text above
    app: FastAPI = names["api"]
    return app


@pytest.fixture(params=["annotations", "postponed annotations"])
def routed(request: pytest.FixtureRequest, postponed: FastAPI, behind: Callable[..., PlanoMiddleware]) -> ASGIApp:
    """Return an app behind the middleware."""
    app = api if request.param == "annotations" else postponed
    return behind(app, CONFIG, FixedClassifier({"code": 0.9}))


@pytest.mark.parametrize("handler", ["/async", "/sync"])
def test_handler_depends_on_the_decision(handler: str, routed: ASGIApp, ask: Callable[..., httpx.Response]) -> None:
    """A handler, on the event loop or on a thread, is given the decision and the provider it declares."""
    answer = ask(routed, "POST", handler + PATH, json=CALL)

    assert answer.json() == ["gpt-4o", "code", "openai/gpt-4o"], answer.text


def test_handler_asks_with_its_request(
    behind: Callable[..., PlanoMiddleware], ask: Callable[..., httpx.Response]
) -> None:
    """FastAPI's own request is asked as Starlette's is."""
    routed = behind(api, CONFIG, FixedClassifier({"code": 0.9}))

    assert ask(routed, "POST", f"/request{PATH}", json=CALL).json() == ["gpt-4o", "code", "openai/gpt-4o"]


@pytest.mark.parametrize("app", [api, "behind"], ids=["without the middleware", "behind the middleware"])
def test_what_is_no_call_has_no_decision(
    app: Any, behind: Callable[..., PlanoMiddleware], ask: Callable[..., httpx.Response]
) -> None:
    """A handler of something else is given None, and so is every handler of an app without the middleware."""
    app = behind(api, CONFIG, FixedClassifier({})) if app == "behind" else app

    assert ask(app, "POST", "/elsewhere", json={}).json() == []


def test_websocket_has_no_decision() -> None:
    """A websocket's handler may declare the same dependency."""
    with TestClient(api).websocket_connect("/socket") as connected:
        assert connected.receive_json() is None


def test_dependencies_are_no_parameters_of_the_api() -> None:
    """Neither the decision nor the state is in the app's documentation as something that clients send."""
    schema = json.dumps(api.openapi()["paths"])

    assert "decision" not in schema
    assert "state" not in schema


def test_fastapi_is_not_needed() -> None:
    """The middleware and its state are imported without FastAPI."""
    code = "import sys, plano_asgi; plano_asgi.decision, plano_asgi.PlanoMiddleware; sys.exit('fastapi' in sys.modules)"

    assert subprocess.run([sys.executable, "-Ic", code], check=False, cwd=Path.home()).returncode == 0
