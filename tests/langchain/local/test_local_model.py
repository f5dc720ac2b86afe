"""LangChain's own tests of chat models over `ChatPlano`, where a real model answers and the real router decides.

The model calls no tools, keeps to no schema and reads nothing but text. The properties of the classes say so, and tests
that need it are skipped with LangChain's own words. One more asks for a recording of HTTP.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests

from plano_asgi import Settings
from plano_asgi.assembly import build_router
from plano_asgi.router import Router
from plano_asgi_langchain import ChatPlano

EXAMPLE: Final = Path(__file__).parents[3] / "examples" / "local_llm"
LOADING: Final = 503
CONFIGURATION: Final = """\
model_providers:
  - {{model: {provider}/greeter, default: true, base_url: "{url}", access_key: any, capabilities: &few {few}}}
  - {{model: {provider}/smollm2, base_url: "{url}", access_key: any, capabilities: *few}}
routing_preferences:
  - {{name: small_talk, description: greetings and small talk, models: [{provider}/greeter]}}
classifier: {{deadline_ms: 20000}}
"""
FEW: Final = "{vision: false, tools: false, audio: false, window: 4096}"


@pytest.fixture(scope="module")
def local_model(launch: Callable[..., Any]) -> str:
    """Return the URL of SmolLM2, served by llama.cpp as the example's page says."""
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^python local_model.py 9001$", page, re.MULTILINE)
    started = launch(command.replace("9001", "{port}").split(), folder=EXAMPLE, environ={})
    with httpx.Client(base_url=started.url, trust_env=False, timeout=60) as client:
        while client.get("/health").status_code == LOADING:
            assert started.process.poll() is None, started.complained
            time.sleep(0.1)
    url: str = started.url
    return url


class TestOverOpenAI(ChatModelIntegrationTests):
    """Over OpenAI's client, in Chat Completions."""

    provider = "local"
    path = "/v1"

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls, local_model: str, settings_of: Callable[[str], Settings]) -> Router:
        """Return the router of a configuration that declares the local model, under two names."""
        url = local_model + cls.path
        return build_router(settings_of(CONFIGURATION.format(provider=cls.provider, url=url, few=FEW)))

    @pytest.fixture(autouse=True)
    def routed(self, shared: Router) -> None:
        """Let one router decide all of these tests, so that it is loaded once."""
        self.router = shared

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        """The class under test."""
        return ChatPlano

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """How it is made."""
        return {
            "router": self.router,
            "max_tokens": 8,
            "temperature": 0,
            "max_retries": 0,
            "target_options": {"stream_usage": True},
        }

    @property
    def has_tool_calling(self) -> bool:
        """It calls none."""
        return False

    @property
    def has_tool_choice(self) -> bool:
        """So it chooses none."""
        return False

    @property
    def has_structured_output(self) -> bool:
        """Nor has it any other way to keep to a schema."""
        return False

    @property
    def supports_model_override(self) -> bool:
        """A call may name a model that is declared."""
        return True

    @property
    def model_override_value(self) -> str:
        """One that is declared."""
        return "smollm2"

    def test_router_decides(self, model: BaseChatModel) -> None:
        """The models of these calls are decided: a greeting goes to its route, with an answer of the real model."""
        answer = model.invoke("Good morning! How are you today?")

        told = answer.response_metadata["plano"]
        assert (told["route"], told["model"], told["reason"]) == ("small_talk", f"{self.provider}/greeter", "matched")
        assert answer.text
        assert answer.usage_metadata
        assert 0 < answer.usage_metadata["output_tokens"] <= 9


class TestOverAnthropic(TestOverOpenAI):
    """Over Anthropic's client, in Messages, which the same server speaks."""

    provider = "anthropic"
    path = ""
