"""Aliases and `provider/*` where calls come in: decisions, an app's calls, inline policies, and calls served."""

import json
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from plano_asgi import PlanoMiddleware
from plano_asgi.http.state import PlanoState
from plano_asgi.testing import FixedClassifier

ROUTING: Final = "/routing/v1/chat/completions"
TURNS: Final = [{"role": "user", "content": "hi"}]
CONFIG: Final = """
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - {model: openai/gpt-4o}
  - {model: groq/*}
model_aliases:
  fast: {target: groq/llama}
  smart: {target: best}
  best: {target: openai/gpt-4o}
routing_preferences:
  - {name: code, description: code, models: [smart, fast]}
"""
OFF: Final = {"x-plano-routing": "off"}


@pytest.fixture
def decided(app_of: Callable[..., Starlette], ask: Callable[..., httpx.Response]) -> Callable[..., Any]:
    """Return what asks the decision endpoint, and gives its answer."""

    def decide(more: str = "", scores: float = 0.9, headers: dict[str, str] | None = None, **body: Any) -> Any:
        """Ask."""
        app = app_of(f"{CONFIG}{more}\n", FixedClassifier({"code": scores}))
        return ask(app, "POST", ROUTING, json={"messages": TURNS, **body}, headers=headers or {})

    return decide


def test_preference_that_names_aliases_decides_for_their_models(decided: Callable[..., Any]) -> None:
    """A decision names models and no aliases."""
    answer = decided().json()

    assert (answer["models"], answer["would_use"]) == (["openai/gpt-4o", "groq/llama"], "openai/gpt-4o")


@pytest.mark.parametrize(("named", "model"), [("fast", "groq/llama"), ("smart", "openai/gpt-4o"), ("groq/x", "groq/x")])
@pytest.mark.parametrize(
    ("more", "headers"),
    [("", OFF), ("routing: {applies_to: [auto]}", {}), ("routing: {unmatched: requested}", {})],
    ids=["bypassed", "not applicable", "requested"],
)
def test_clients_own_choice_may_be_an_alias(
    named: str, model: str, more: str, headers: dict[str, str], decided: Callable[..., Any]
) -> None:
    """Wherever the client's model stands, an alias stands for its model, and one of `provider/*` for itself."""
    assert decided(more, 0.0, headers, model=named).json()["would_use"] == model


@pytest.mark.parametrize(
    "policy",
    [
        {"routing_policy": [{"model": "fast", "routing_preferences": [{"name": "code", "description": "c"}]}]},
        {"routing_preferences": [{"name": "code", "description": "c", "models": ["fast", "groq/llama"]}]},
        {"routing_preferences": [{"name": "code", "description": "c", "models": ["groq/llama"]}]},
    ],
    ids=["by model", "by route", "one of a provider"],
)
def test_inline_policy_may_name_aliases(policy: dict[str, Any], decided: Callable[..., Any]) -> None:
    """A request's own policy chooses among aliases and a declared provider's models, each model once."""
    answer = decided(**policy).json()

    assert (answer["policy"], answer["models"]) == ("inline", ["groq/llama"])


@pytest.mark.parametrize("name", ["slow", "gpt-4o", "mistral/large", "groq/../x"])
def test_inline_policy_names_nothing_else(name: str, decided: Callable[..., Any]) -> None:
    """What is neither declared nor an alias is refused, and not repeated."""
    answer = decided(routing_preferences=[{"name": "code", "description": "c", "models": [name]}])

    assert answer.status_code == (400 if ".." in name else 403)
    assert name not in answer.text


@pytest.fixture
def seen_by_app(behind: Callable[..., PlanoMiddleware], ask: Callable[..., httpx.Response]) -> Callable[..., Any]:
    """Return what sends a call through the middleware, and gives what the app behind it reads."""

    async def echo(request: Request) -> Response:
        """Tell what came."""
        state = PlanoState.of(request)
        provider = state.provider.model if state and state.provider else None
        return JSONResponse({"body": (await request.body()).decode(), "provider": provider})

    def send(more: str = "", scores: float = 0.0, headers: dict[str, str] | None = None, **body: Any) -> Any:
        """Send it."""
        app = Starlette(routes=[Route("/v1/chat/completions", echo, methods=["POST"])])
        middleware = behind(app, f"{CONFIG}{more}\n", FixedClassifier({"code": scores}))
        return ask(
            middleware, "POST", "/v1/chat/completions", json={"messages": TURNS, **body}, headers=headers or {}
        ).json()

    return send


@pytest.mark.parametrize(("named", "written"), [("fast", "llama"), ("smart", "gpt-4o"), ("other", "other")])
@pytest.mark.parametrize(
    ("more", "headers"),
    [("", OFF), ("routing: {applies_to: [auto]}", {}), ("routing: {unmatched: requested}", {})],
    ids=["bypassed", "not applicable", "requested"],
)
def test_app_never_reads_an_alias(
    named: str, written: str, more: str, headers: dict[str, str], seen_by_app: Callable[..., Any]
) -> None:
    """The app is given the alias's model by its provider's own name, since nobody else knows the alias."""
    assert json.loads(seen_by_app(more, 0.0, headers, model=named)["body"])["model"] == written


def test_observed_call_keeps_its_alias_and_tells_where_its_model_is(seen_by_app: Callable[..., Any]) -> None:
    """Under `observe` the body is untouched, and the state still tells which provider the alias means."""
    told = seen_by_app("mode: observe", model="fast")

    assert (json.loads(told["body"])["model"], told["provider"]) == ("fast", "groq/llama")


@pytest.fixture(scope="module")
def upstream(serve: Callable[[Starlette], str]) -> tuple[str, list[str]]:
    """Return a provider's URL, and the models that it is asked for."""
    asked: list[str] = []

    async def answer(request: Request) -> Response:
        """Note the model, and answer."""
        asked.append((await request.json())["model"])
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
        return JSONResponse({"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})

    return serve(Starlette(routes=[Route("/chat/completions", answer, methods=["POST"])])), asked


@pytest.mark.parametrize(
    ("named", "asked_for"), [("fast", "llama"), ("groq/any:free", "any:free"), ("gpt-4o-mini", "gpt-4o-mini")]
)
def test_call_is_served_by_the_model_that_its_name_stands_for(
    named: str,
    asked_for: str,
    upstream: tuple[str, list[str]],
    app_of: Callable[..., Starlette],
    ask: Callable[..., httpx.Response],
) -> None:
    """A client's own choice of an alias, or of any model of a declared provider, is what its provider is asked for."""
    url, asked = upstream
    asked.clear()
    app = app_of(
        "mode: forward\nmodel_providers:\n"
        f"  - {{model: openai/gpt-4o-mini, default: true, base_url: '{url}', access_key: k}}\n"
        f"  - {{model: groq/*, base_url: '{url}', access_key: k}}\n"
        "model_aliases: {fast: {target: groq/llama}}\n",
        FixedClassifier({}),
    )

    answer = ask(app, "POST", "/v1/chat/completions", json={"model": named, "messages": TURNS}, headers=OFF)

    assert answer.status_code == 200, answer.text
    assert asked == [asked_for]
    assert answer.headers["x-plano-model"].endswith(f"/{asked_for}")


def test_model_of_no_declared_provider_is_not_served(
    app_of: Callable[..., Starlette], ask: Callable[..., httpx.Response]
) -> None:
    """`groq/*` opens no other provider."""
    app = app_of(
        "mode: forward\nmodel_providers:\n  - {model: groq/a, default: true, access_key: k}\n"
        "  - {model: xai/*, access_key: k}\n",
        FixedClassifier({}),
    )

    answer = ask(app, "POST", "/v1/chat/completions", json={"model": "groq/b", "messages": TURNS}, headers=OFF)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
