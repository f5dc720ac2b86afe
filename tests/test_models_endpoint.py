"""`GET /v1/models`: what a gateway tells callers they may name, in OpenAI's form and in Anthropic's."""

from collections.abc import Callable
from typing import Final

import anthropic
import httpx
import openai
import pytest
from asgi_lifespan import LifespanManager
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from plano_asgi import PlanoMiddleware
from plano_asgi.testing import FixedClassifier

CONFIG: Final = """
mode: forward
model_providers:
  - {model: openai/gpt-4o-mini, default: true, access_key: k, name: small}
  - {model: openrouter/meta/llama-3, access_key: k}
  - {model: groq/*, access_key: k}
model_aliases:
  fast: {target: faster}
  faster: {target: groq/llama}
routing_preferences:
  - {name: code & more, description: code, models: [fast, openai/gpt-4o-mini]}
"""
IDS: Final = ["openai/gpt-4o-mini", "openrouter/meta/llama-3", "fast", "faster", "code & more"]


@pytest.fixture(scope="module")
def gateway(app_of: Callable[..., Starlette]) -> Callable[[str], Starlette]:
    """Return what makes a gateway, with more settings."""
    return lambda more: app_of(f"{CONFIG}{more}\n", FixedClassifier({"code & more": 0.9}))


@pytest.fixture(scope="module")
def url(gateway: Callable[[str], Starlette], serve: Callable[[Starlette], str]) -> str:
    """Return where a gateway is served."""
    return serve(gateway(""))


def test_openais_client_lists_models_aliases_and_routes(url: str) -> None:
    """The official client reads the list, and every entry by its id, slashes and spaces included."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="mine") as client:
        listed = list(client.models.list())
        again = [client.models.retrieve(model.id) for model in listed]

    assert [model.id for model in listed] == IDS
    assert again == listed
    assert [model.owned_by for model in listed] == ["openai", "openrouter", *["plano-asgi"] * 3]


def test_anthropics_client_lists_the_same(url: str) -> None:
    """The official client reads its own form of the list, all on one page."""
    with anthropic.Anthropic(base_url=url, api_key="mine") as client:
        page = client.models.list()
        assert [model.id for model in page] == IDS
        assert (page.has_more, page.first_id, page.last_id) == (False, IDS[0], IDS[-1])
        assert client.models.retrieve("openai/gpt-4o-mini").display_name == "small"


def test_each_entry_says_what_it_is(gateway: Callable[[str], Starlette], ask: Callable[..., httpx.Response]) -> None:
    """An alias names its model, however long the chain, and a route its models in order; a pattern is not listed."""
    entries = {entry["id"]: entry for entry in ask(gateway(""), "GET", "/v1/models").json()["data"]}

    kinds = {name: entry["kind"] for name, entry in entries.items()}
    assert kinds == dict(zip(IDS, ["model", "model", "alias", "alias", "route"], strict=True))
    assert entries["fast"]["models"] == ["groq/llama"]
    assert entries["code & more"]["models"] == ["groq/llama", "openai/gpt-4o-mini"]


@pytest.mark.parametrize(
    ("headers", "kind"),
    [({}, {"code": "model_not_found"}), ({"anthropic-version": "2023-06-01"}, {"type": "not_found_error"})],
    ids=["openai", "anthropic"],
)
@pytest.mark.parametrize("wanted", ["gpt-9", "openai/gpt-9", "groq/*", "groq/llama", ""])
def test_unknown_entry_is_an_error_of_the_callers_api(
    wanted: str,
    headers: dict[str, str],
    kind: dict[str, str],
    gateway: Callable[[str], Starlette],
    ask: Callable[..., httpx.Response],
) -> None:
    """What is not listed is 404, in the form of who asks, and is not repeated."""
    answer = ask(gateway(""), "GET", f"/v1/models/{wanted}", headers=headers)

    assert answer.status_code == 404
    assert kind.items() <= answer.json()["error"].items()
    assert not wanted or wanted not in answer.text


def test_hidden_models_and_routes_are_not_listed(
    gateway: Callable[[str], Starlette], ask: Callable[..., httpx.Response]
) -> None:
    """Under `response_headers: false` callers learn the aliases made for them, and nothing of what is behind."""
    app = gateway("response_headers: false")

    listed = ask(app, "GET", "/v1/models")
    known, hidden = ask(app, "GET", "/v1/models/fast"), ask(app, "GET", "/v1/models/openai/gpt-4o-mini")

    assert [entry["id"] for entry in listed.json()["data"]] == ["fast", "faster"]
    assert (known.status_code, hidden.status_code) == (200, 404)
    assert not [told for told in ("groq", "openai/", "code") if told in listed.text + known.text]


@pytest.mark.parametrize(
    ("more", "method", "path", "status"),
    [
        ("", "POST", "/v1/models", 405),
        ("", "HEAD", "/v1/models", 200),
        ("", "GET", "/v2/v1/models", 404),
        ("", "GET", "/v1%2Fmodels", 404),
        ("", "GET", "/v1%2Fmodels/fast", 404),
        ("", "GET", "/v1/models/openai%2Fgpt-4o-mini", 200),
        ("forward: {list_models: false}", "GET", "/v1/models", 404),
    ],
)
def test_only_a_get_of_that_path_is_answered(  # noqa: PLR0913, PLR0917 - a table's columns, and where it is tried
    more: str,
    method: str,
    path: str,
    status: int,
    gateway: Callable[[str], Starlette],
    ask: Callable[..., httpx.Response],
) -> None:
    """Neighbours of the path, other methods, and the path itself where it is switched off are no list."""
    assert ask(gateway(more), method, path).status_code == status


def test_decisions_alone_list_nothing(app_of: Callable[..., Starlette], ask: Callable[..., httpx.Response]) -> None:
    """A service that calls no model tells of none."""
    app = app_of("model_providers: [{model: openai/a, default: true}]", FixedClassifier({}))

    assert ask(app, "GET", "/v1/models").status_code == 404


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("more", "root_path", "path", "is_ours"),
    [
        ("", "", "/v1/models", True),
        ("", "/llm", "/llm/v1/models/fast", True),
        ("", "", "/v1/models/openai%2Fgpt-4o-mini", True),
        ("", "", "/v1%2Fmodels/fast", False),
        ("", "", "/registry/v1/models", False),
        ("forward: {list_models: false}", "", "/v1/models", False),
        ("mode: observe", "", "/v1/models", False),
    ],
)
async def test_app_keeps_its_own_paths(
    more: str,
    root_path: str,
    path: str,
    is_ours: bool,  # noqa: FBT001 - same
    behind: Callable[..., PlanoMiddleware],
) -> None:
    """In an app the list is at exactly that path, under `mode: forward` only, and can be left to the app."""

    async def own(_: Request) -> Response:
        """Be the app."""
        return PlainTextResponse("the app's own")

    text = CONFIG.replace("mode: forward", more) if more.startswith("mode") else f"{CONFIG}{more}\n"
    app = behind(Starlette(routes=[Route("/{path:path}", own)]), text, FixedClassifier({}))
    async with LifespanManager(app):
        transport = httpx.ASGITransport(app, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://plano.test") as client:
            answer = await client.get(path)

    assert (answer.text != "the app's own") is is_ours
    assert answer.status_code == 200
