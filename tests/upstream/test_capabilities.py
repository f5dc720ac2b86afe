"""Models that cannot serve a call are not asked: what calls need, what models can, and what becomes of the rest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from starlette.applications import Starlette

from plano_asgi.assembly import build_router
from plano_asgi.conversation import ApiFormat
from plano_asgi.http.server import create_app
from plano_asgi.policy import Needs, capabilities_of, needs_of
from plano_asgi.providers import Capabilities, ModelProvider
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier
from plano_asgi.wire import read_call, read_document

WORDS: Final = "words " * 100
TEXT: Final = {"type": "text", "text": "?"}


def said(*parts: Any) -> dict[str, Any]:
    """Return a user's turn."""
    return {"role": "user", "content": [*parts, TEXT]}


IMAGE: Final = [said({"type": "image_url", "image_url": {"url": "data:,"}})]
AUDIO: Final = [said({"type": "input_audio", "input_audio": {}})]
TOOLS: Final = [{"type": "function", "function": {"name": "f"}}]
LONG: Final = [{"role": "user", "content": WORDS}]


@pytest.mark.parametrize(
    ("api_format", "body", "needs"),
    [
        (ApiFormat.CHAT_COMPLETIONS, {"messages": [said()]}, Needs()),
        (ApiFormat.CHAT_COMPLETIONS, {"messages": IMAGE}, Needs(vision=True)),
        (ApiFormat.CHAT_COMPLETIONS, {"messages": AUDIO}, Needs(audio=True)),
        (ApiFormat.CHAT_COMPLETIONS, {"messages": [said()], "modalities": ["text", "audio"]}, Needs(audio=True)),
        (ApiFormat.CHAT_COMPLETIONS, {"messages": [said()], "tools": TOOLS}, Needs(tools=True)),
        (ApiFormat.CHAT_COMPLETIONS, {"messages": [said()], "functions": [{"name": "f"}]}, Needs(tools=True)),
        (ApiFormat.CHAT_COMPLETIONS, {"messages": [said()], "tools": []}, Needs()),
        (ApiFormat.CHAT_COMPLETIONS, {"messages": LONG}, Needs(tokens=75)),
        (
            ApiFormat.MESSAGES,
            {"max_tokens": 1, "messages": [said({"type": "image", "source": {}})]},
            Needs(vision=True),
        ),
        (ApiFormat.RESPONSES, {"input": [said({"type": "input_image"})]}, Needs(vision=True)),
        (ApiFormat.RESPONSES, {"input": WORDS, "tools": TOOLS}, Needs(tools=True, tokens=75)),
        (ApiFormat.RESPONSES, {"input": [said({"type": "input_audio"})]}, Needs(audio=True)),
    ],
)
def test_needs_of_a_call_are_read(api_format: ApiFormat, body: dict[str, Any], needs: Needs) -> None:
    """Images, tools, audio and length, in every API's own words."""
    document = read_document(orjson.dumps(body))

    assert needs_of(read_call(document, api_format), document.value) == needs


@pytest.mark.parametrize(
    ("model", "capabilities"),
    [
        ("openai/gpt-4o-mini", Capabilities(vision=True, tools=True, audio=False, window=128_000)),
        ("openrouter/openai/gpt-4o", Capabilities()),
        ("azure_openai/gpt-4", Capabilities(vision=False, audio=False, window=8_192)),
        ("openai/o3-mini", Capabilities(vision=False, audio=False, window=200_000)),
        ("anthropic/claude-sonnet-4-20250514", Capabilities(vision=True, tools=True, audio=False, window=1_000_000)),
        ("anthropic/claude-of-tomorrow", Capabilities(vision=True, tools=True, audio=False)),
        ("gemini/gemini-2.5-flash", Capabilities(vision=True, tools=True, audio=True, window=1_048_576)),
        ("own/llama", Capabilities()),
    ],
)
def test_well_known_models_are_known(model: str, capabilities: Capabilities) -> None:
    """What is certain is known by a model's name; of others nothing is."""
    assert capabilities_of(ModelProvider(model=model)) == capabilities


def test_configuration_knows_better() -> None:
    """What a provider's own settings say counts; what they leave out is as it is known."""
    provider = ModelProvider(model="openai/gpt-4o", capabilities=Capabilities(vision=False, window=9))

    assert capabilities_of(provider) == Capabilities(vision=False, tools=True, audio=False, window=9)


@pytest.fixture
def ask_of(app_of: Callable[..., Starlette], provider: Any, ask_chat: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes a chat call to a route of these models, of which only `able` can do everything."""

    def make(*models: str, default: str, lacks: str, **more: Any) -> Any:
        lines = ["mode: forward", "model_providers:"]
        for name in dict.fromkeys((*models, default)):
            lack = "" if name == "able" else f", capabilities: {{{lacks}}}"
            mark = ", default: true" if name == default else ""
            lines += [f"  - {{model: openai/{name}, base_url: '{provider.url}/v1'{mark}{lack}}}"]
        listed = ", ".join(f"openai/{name}" for name in models)
        lines += [f"routing_preferences: [{{name: code, description: code, models: [{listed}]}}]"]
        return ask_chat(app_of("\n".join([*lines, ""]), FixedClassifier({"code": 0.9})), **more)

    return make


def test_window_is_judged_by_the_models_own_tokenizer(
    settings_of: Callable[[str], Settings], tokenizer_json: Path, provider: Any, ask_chat: Callable[..., Any]
) -> None:
    """200 characters are 25 tokens at the least, and by the model's own count more than the 100 that it reads."""
    text = f"""\
mode: forward
model_providers:
  - {{model: openai/exact, base_url: '{provider.url}/v1', tokenizer: '{tokenizer_json}', capabilities: {{window: 100}}}}
  - {{model: openai/vague, base_url: '{provider.url}/v1', default: true, capabilities: {{window: 100}}}}
routing_preferences: [{{name: code, description: code, models: [openai/exact, openai/vague]}}]
"""
    settings = settings_of(text)
    router = build_router(settings, classifier=FixedClassifier({"code": 0.9}))
    router.start()
    app = create_app(settings, router)
    served = [
        ask_chat(app, messages=[{"role": "user", "content": said}]).headers["x-plano-model"]
        for said in ("日本" * 10, "日本" * 100)
    ]
    router.close()

    assert served == ["openai/exact", "openai/vague"]


@pytest.mark.parametrize(
    ("lacks", "more"),
    [
        ("vision: false", {"messages": IMAGE}),
        ("audio: false", {"messages": AUDIO}),
        ("tools: false", {"tools": TOOLS}),
        ("window: 10", {"messages": LONG}),
    ],
    ids=["images", "audio", "tools", "length"],
)
def test_call_goes_to_a_model_that_can(
    lacks: str, more: dict[str, Any], ask_of: Callable[..., Any], provider: Any
) -> None:
    """The first of the route that can serves it; the default where the route has none; where that cannot, it is 422."""
    routed = ask_of("weak", "able", default="rest", lacks=lacks, **more)
    fallen = ask_of("weak", "weaker", default="able", lacks=lacks, **more)
    refused = ask_of("weak", default="rest", lacks=lacks, **more)

    assert (routed.headers["x-plano-model"], routed.headers["x-plano-reason"]) == ("openai/able", "matched")
    assert (fallen.headers["x-plano-model"], fallen.headers["x-plano-reason"]) == ("openai/able", "capability")
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "no_capable_model")
    assert refused.headers["x-should-retry"] == "false"
    assert {heard.call["model"] for heard in provider.heard} == {"able"}
