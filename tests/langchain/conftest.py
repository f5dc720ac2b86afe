"""What LangChain's standard tests need, and chat models that say who they are."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from importlib.util import find_spec
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from plano_asgi.testing import routed_by

collect_ignore = [] if find_spec("langchain_core.decisions") else ["test_decision_model.py"]  # langchain-core 1.8


def pytest_configure(config: pytest.Config) -> None:
    """Make known the mark of a plugin that is switched off."""
    config.addinivalue_line("markers", "benchmark: measured where somebody asks for it")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(obj: object) -> None:
    """Let the coroutines among these tests run, all on one event loop: SDKs keep a client for each."""
    if iscoroutinefunction(obj):
        pytest.mark.asyncio(loop_scope="session")(obj)


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave no configuration of this machine in sight, and time to a classifier whose machine is busy."""
    monkeypatch.delenv("PLANO_CONFIG_FILE", raising=False)
    monkeypatch.setenv("PLANO_CLASSIFIER__DEADLINE_MS", "20000")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def benchmark() -> Callable[[Callable[[], None]], None]:
    """Return what runs a function once, in place of the plugin that would measure it."""
    return lambda run: run()


@pytest.fixture
def by_rule() -> Iterator[None]:
    """Let a rule decide: Python is code, proofs are complex."""
    with routed_by({"python": "code_generation", "prove": "complex_reasoning"}):
        yield


class Says(BaseChatModel):
    """A chat model that says its name, in two pieces where it streams, or raises."""

    model: str
    error: Exception | None = None
    fails_after: int = 0
    calls: list[dict[str, Any]] = []  # noqa: RUF012 - pydantic copies it

    @property
    def _llm_type(self) -> str:
        """Say what it is."""
        return "says"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """Return this model with tools, in a form that is nobody else's."""
        return self.bind(native_tools=[tool["function"]["name"] for tool in tools], **kwargs)

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        """Say its name."""
        self.calls.append({"messages": messages, "stop": stop, **kwargs})
        if self.error:
            raise self.error
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.model))])

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        """Say its name in two pieces, of which the last says what OpenAI's says."""
        self.calls.append({"messages": messages, "stop": stop, **kwargs})
        for number, piece in enumerate((self.model[:2], self.model[2:])):
            if self.error and number == self.fails_after:
                raise self.error
            last: dict[str, Any] = {"chunk_position": "last", "response_metadata": {"model_name": self.model}}
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece, **(last if number else {})))

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        """Say its name in two pieces."""
        for chunk in self._stream(messages, stop, run_manager, **kwargs):
            yield chunk


@pytest.fixture
def says() -> type[BaseChatModel]:
    """Return the chat model that says its name."""
    return Says
