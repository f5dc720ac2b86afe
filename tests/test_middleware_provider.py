"""What a handler needs to call the model it was given: address, API and key."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from anthropic import Anthropic
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from plano_asgi import ApiFormat, PlanoMiddleware, PlanoState
from plano_asgi.providers import ModelProvider
from plano_asgi.settings import Settings, load_settings
from plano_asgi.testing import FixedClassifier, routed_by

ROOT: Final = Path(__file__).parents[1]
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true, access_key: sk-small}
  - model: openai/gpt-4o
    access_key: sk-large
    routing_preferences: [{name: proofs, description: hard problems}]
  - model: anthropic/claude-sonnet-4-20250514
    access_key: sk-ant
    routing_preferences: [{name: code, description: writing code}]
"""
CALL: Final = {"model": "auto", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
OPENAI_URL: Final = "https://api.openai.com/v1"

Ask = Callable[..., httpx.Response]


def declared(model: str, **written: str) -> ModelProvider:
    """Return the one provider of a configuration, with every conventional key set to the variable's own name."""
    names = (
        "OPENAI",
        "ANTHROPIC",
        "GROQ",
        "MISTRAL",
        "DEEPSEEK",
        "GEMINI",
        "TOGETHER",
        "XAI",
        "OPENROUTER",
        "MOONSHOT",
    )
    environ = {f"{name}_API_KEY": f"{name}_API_KEY" for name in names}
    overrides = {"model_providers": [{"model": model, "default": True, **written}]}
    (provider,) = load_settings(environ=environ, overrides=overrides).catalog.providers
    return provider


WELL_KNOWN: Final = {
    "openai/gpt-4o": (OPENAI_URL, "OPENAI_API_KEY"),
    "anthropic/claude-sonnet-4-20250514": ("https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    "groq/llama-3.3-70b-versatile": ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral/mistral-large-latest": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "deepseek/deepseek-chat": ("https://api.deepseek.com", "DEEPSEEK_API_KEY"),
    "gemini/gemini-2.5-pro": ("https://generativelanguage.googleapis.com/v1beta/openai/", "GEMINI_API_KEY"),
    "google/gemini-2.5-pro": ("https://generativelanguage.googleapis.com/v1beta/openai/", "GEMINI_API_KEY"),
    "together_ai/meta-llama/Llama-3.3-70B": ("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "xai/grok-4": ("https://api.x.ai/v1", "XAI_API_KEY"),
    "openrouter/z-ai/glm-4.6": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "moonshotai/kimi-k2": ("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
}


@pytest.mark.parametrize(("model", "url", "key"), [(m, *known) for m, known in WELL_KNOWN.items()], ids=WELL_KNOWN)
def test_well_known_provider_needs_no_url(model: str, url: str, key: str) -> None:
    """The URL of a well-known provider is there without a setting, and so is the key in its usual variable."""
    provider = declared(model)

    assert provider.base_url == url
    assert provider.access_key
    assert provider.access_key.reveal() == key
    assert provider.model_name == model.partition("/")[2]


@pytest.mark.parametrize(
    ("model", "sdk", "path"),
    [
        ("openai/gpt-4o", OpenAI, "/v1/chat/completions"),
        ("groq/llama", OpenAI, "/openai/v1/chat/completions"),
        ("gemini/gemini-2.5-pro", OpenAI, "/v1beta/openai/chat/completions"),
        ("anthropic/claude", Anthropic, "/v1/messages"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_official_client_takes_the_url_as_it_is(model: str, sdk: Any, path: str) -> None:
    """The official SDK of the provider's API makes the right address of its URL, and sends it the key."""
    provider = declared(model)
    asked: list[httpx.URL] = []
    keys: list[str] = []
    assert provider.access_key

    with sdk(base_url=provider.base_url, api_key=provider.access_key.reveal()) as client:
        url = client._prepare_url("/v1/messages" if sdk is Anthropic else "/chat/completions")  # noqa: SLF001 - no call
        asked.append(url)
        keys += client.auth_headers.values()

    assert provider.api_format is (ApiFormat.MESSAGES if sdk is Anthropic else ApiFormat.CHAT_COMPLETIONS)
    assert (asked[0].host, asked[0].path) == (httpx.URL(str(provider.base_url)).host, path)
    assert provider.access_key.reveal() in keys[0]


@pytest.mark.parametrize("model", ["openai/gpt-4o", "anthropic/claude", "mine/model"])
def test_written_url_holds(model: str) -> None:
    """A URL in the settings holds for every provider."""
    assert declared(model, base_url="http://10.0.0.1/v1").base_url == "http://10.0.0.1/v1"


@pytest.mark.parametrize("model", ["mine/model", "ollama/llama3.2", "azure_openai/gpt-4o", "amazon_bedrock/nova"])
def test_url_that_nobody_can_know_is_none(model: str) -> None:
    """A provider whose address is its owner's affair has none, and never that of another, which would see its key."""
    assert declared(model).base_url is None
    assert declared(model, provider_interface="openai").base_url is None


@pytest.mark.parametrize(
    ("model", "interface", "url"),
    [
        ("groq/a", "openai", "https://api.groq.com/openai/v1"),
        ("anthropic/a", "anthropic", "https://api.anthropic.com"),
        ("anthropic/a", "openai", None),
        ("openai/a", "anthropic", None),
        ("vercel/a", "anthropic", None),
    ],
)
def test_known_url_is_that_of_the_api_the_provider_is_declared_with(
    model: str, interface: str, url: str | None
) -> None:
    """A provider that is to be spoken to in another API has no known URL: its usual one fits that API's SDK only."""
    assert declared(model, provider_interface=interface).base_url == url


@pytest.mark.parametrize(
    ("model", "interface", "api_format", "speaks"),
    [
        ("openai/a", None, ApiFormat.CHAT_COMPLETIONS, frozenset({ApiFormat.CHAT_COMPLETIONS, ApiFormat.RESPONSES})),
        ("anthropic/a", None, ApiFormat.MESSAGES, frozenset({ApiFormat.MESSAGES})),
        ("vercel/a", None, ApiFormat.CHAT_COMPLETIONS, frozenset(ApiFormat)),
        ("groq/a", None, ApiFormat.CHAT_COMPLETIONS, frozenset({ApiFormat.CHAT_COMPLETIONS})),
        ("mine/a", None, ApiFormat.CHAT_COMPLETIONS, frozenset({ApiFormat.CHAT_COMPLETIONS})),
        ("mine/a", "anthropic", ApiFormat.MESSAGES, frozenset({ApiFormat.MESSAGES})),
        ("openai/a", "anthropic", ApiFormat.MESSAGES, frozenset({ApiFormat.MESSAGES})),
    ],
)
def test_provider_says_which_api_it_speaks(
    model: str, interface: str | None, api_format: ApiFormat, speaks: frozenset[ApiFormat]
) -> None:
    """The API of a provider is its name's, or that of the interface it is declared with."""
    provider = ModelProvider(model=model, interface=interface)

    assert (provider.api_format, provider.api_formats) == (api_format, speaks)


async def tell(request: Request) -> Response:
    """Answer with what a handler would call."""
    state = PlanoState.of(request)
    provider = state.provider if state else None
    key = provider.access_key if provider else None
    told = {
        "model": (await request.json())["model"],
        "url": provider.base_url if provider else None,
        "name": provider.model_name if provider else None,
        "key": key.reveal() if key else None,
        "observed": state.is_observed if state else None,
    }
    return JSONResponse(told)


@pytest.fixture
def told(behind: Callable[..., PlanoMiddleware], ask: Ask) -> Callable[..., dict[str, Any]]:
    """Return what a call's handler is told."""

    def request(
        path: str = CHAT, *, more: str = "", chances: dict[str, float] | None = None, **call: Any
    ) -> dict[str, Any]:
        app = Starlette(routes=[Route("/{path:path}", tell, methods=["POST"])])
        headers = call.pop("headers", None)
        wrapped = behind(app, CONFIG + more, FixedClassifier({"proofs": 0.9} if chances is None else chances))
        found: dict[str, Any] = ask(wrapped, "POST", path, json={**CALL, **call}, headers=headers).json()
        assert found["name"] in {None, found["model"]}
        return found

    return request


@pytest.mark.parametrize(
    ("path", "chances", "url", "key"),
    [
        (CHAT, {"proofs": 0.9}, OPENAI_URL, "sk-large"),
        (CHAT, {}, OPENAI_URL, "sk-small"),
        (CHAT, {"code": 0.9}, OPENAI_URL, "sk-small"),
        (MESSAGES, {"code": 0.9}, "https://api.anthropic.com", "sk-ant"),
    ],
    ids=["matched", "no match", "another API", "messages"],
)
def test_provider_is_that_of_the_model_in_the_body(
    path: str, chances: dict[str, float], url: str, key: str, told: Callable[..., dict[str, Any]]
) -> None:
    """The handler is told where the model it reads is served, and with which key."""
    found = told(path, chances=chances)

    assert (found["url"], found["key"], found["observed"]) == (url, key, False)


@pytest.mark.parametrize("more", ["mode: observe\n", "routing: {sample: 0.0}\n"], ids=["observe", "sampled out"])
def test_provider_of_an_observed_call_is_that_of_the_clients_model(
    more: str, told: Callable[..., dict[str, Any]]
) -> None:
    """Whatever was decided, a handler that reads the client's model is not sent elsewhere with it."""
    assert told(more=more, model="gpt-4o-mini")["key"] == "sk-small"
    assert told(more=more, model="gpt-4o-mini")["observed"] is True
    assert told(more=more, model="gpt-3.5-turbo")["key"] is None


def test_provider_of_a_call_that_keeps_its_model_is_that_of_the_model(told: Callable[..., dict[str, Any]]) -> None:
    """A call that is not to be routed names a model that may be declared, or not."""
    off = {"x-plano-routing": "off"}

    assert told(model="gpt-4o", headers=off)["key"] == "sk-large"
    assert told(model="gpt-3.5-turbo", headers=off)["key"] is None
    assert told(MESSAGES, chances={}, model="claude-sonnet-4-20250514")["key"] == "sk-ant"


def test_example_of_the_page_calls_the_decided_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask, serve: Callable[[Starlette], str]
) -> None:
    """The example of docs/middleware.md calls the decided model where it is served, and hands on the answer."""
    page = (ROOT / "docs" / "middleware.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (example,) = (text for text in examples if "AsyncOpenAI" in text)
    seen: list[tuple[str, str]] = []

    async def upstream(request: Request) -> Response:
        """Be the provider."""
        seen.append(((await request.json())["model"], request.headers["authorization"]))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "QED"}}
        return JSONResponse({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})

    url = serve(Starlette(routes=[Route("/v1/chat/completions", upstream, methods=["POST"])]))
    config = CONFIG.replace("access_key: sk-large", f"base_url: {url}/v1\n    access_key: sk-large")
    (tmp_path / "plano.yaml").write_text(config, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "example"}
    exec(example, names)  # noqa: S102 - a page of ours

    with routed_by({"prove": "proofs"}):
        call = {"model": "auto", "messages": [{"role": "user", "content": "prove it"}]}
        answer = ask(names["app"], "POST", CHAT, json=call)

    assert json.loads(answer.text)["choices"][0]["message"]["content"] == "QED"
    assert seen == [("gpt-4o", "Bearer sk-large")]


def test_settings_show_no_key_beside_the_url(settings_of: Callable[[str], Settings]) -> None:
    """What is written of a provider for people shows its URL and never its key."""
    shown = repr(settings_of(CONFIG).catalog)

    assert OPENAI_URL in shown
    assert "sk-" not in shown
