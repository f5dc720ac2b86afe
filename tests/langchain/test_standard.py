"""LangChain's own tests of chat models, over `ChatPlano`."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from llmock.pytest_plugin import LLMock

from plano_asgi_langchain import ChatPlano, Route

ROUTES = {
    "code_generation": Route("writing code", "anthropic:claude-sonnet-4-6"),
    "complex_reasoning": Route("proofs", "openai:gpt-4o"),
}
SCRIPTS: dict[str, list[Callable[[LLMock], object]]] = {
    "test_json_mode": [lambda llm: llm.reply('{"setup": "Knock knock", "punchline": "Plano"}', times=None)],
    "test_tool_calling": [lambda llm: llm.call_tool("magic_function", {"input": 3}, times=None)],
    "test_tool_calling_async": [lambda llm: llm.call_tool("magic_function", {"input": 3}, times=None)],
    "test_unicode_tool_call_integration": [
        lambda llm: llm.call_tool("unicode_customer", {"customer_name": "你好啊集团", "description": "x"}),
        lambda llm: llm.call_tool("unicode_customer", {"customer_name": "こんにちは株式会社", "description": "x"}),
    ],
}
PARAMETERS = {"routes": ROUTES, "default": "openai:gpt-4o-mini"}


class TestUnit(ChatModelUnitTests):
    """What holds of a chat model without a provider."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        """The class under test."""
        return ChatPlano

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """How it is made."""
        return PARAMETERS

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        """What every chat model takes, but for one key for all providers: each of ours has its own."""
        return {name: value for name, value in super().standard_chat_model_params.items() if name != "api_key"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        """An environment that is a whole configuration."""
        return {"PLANO_MODEL_PROVIDERS": '[{"model": "openai/gpt-4o-mini", "default": true}]'}, {}, {"failover": True}


@pytest.mark.filterwarnings("ignore:OpenAI may require a filename")  # it is told of none by these tests
@pytest.mark.usefixtures("by_rule")
class TestOverOpenAI(ChatModelIntegrationTests):
    """What holds of a chat model with a provider, by a real server that plays one."""

    @pytest.fixture(autouse=True)
    def scripted(self, llmock: LLMock, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the server answer what a test wants to hear of it, and let a test's media not come from the network."""
        for script in SCRIPTS.get(request.node.originalname, ()):
            script(llmock)
        monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, content=b"not much of a picture"))

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        """The class under test."""
        return ChatPlano

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """How it is made."""
        return {**PARAMETERS, "target_options": {"stream_usage": True}}  # which OpenAI's own URL does not need

    @property
    def supports_json_mode(self) -> bool:
        """OpenAI has it."""
        return True

    @property
    def supports_image_inputs(self) -> bool:
        """All models of the routes read images."""
        return True

    @property
    def supports_pdf_inputs(self) -> bool:
        """OpenAI's integration, which the default model has, passes documents on."""
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        """So it does with images of tools."""
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        """And with their documents."""
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        """It reads Anthropic's blocks."""
        return True

    @property
    def supports_model_override(self) -> bool:
        """A call may name a model that is declared."""
        return True

    @property
    def model_override_value(self) -> str:
        """One that is declared."""
        return "gpt-4o"


class TestOverAnthropic(TestOverOpenAI):
    """The same where the calls of these tests go to another integration."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """How it is made."""
        return {**PARAMETERS, "default": "anthropic:claude-sonnet-4-6"}

    @property
    def supports_json_mode(self) -> bool:
        """Anthropic has none."""
        return False
