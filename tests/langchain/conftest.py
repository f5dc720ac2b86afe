"""What LangChain's standard tests need, and chat models behind a router whose answers a rule decides."""

from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction

import pytest
from llmock.pytest_plugin import LLMock

from plano_asgi.testing import routed_by


def pytest_configure(config: pytest.Config) -> None:
    """Make known the mark of a plugin that is switched off."""
    config.addinivalue_line("markers", "benchmark: measured where somebody asks for it")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(obj: object) -> None:
    """Let the coroutines among these tests run, all on one event loop: SDKs keep a client for each."""
    if iscoroutinefunction(obj):
        pytest.mark.asyncio(loop_scope="session")(obj)


@pytest.fixture
def benchmark() -> Callable[[Callable[[], None]], None]:
    """Return what runs a function once, in place of the plugin that would measure it."""
    return lambda run: run()


@pytest.fixture
def provider(llmock: LLMock, monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMock]:
    """Return a real server that plays OpenAI and Anthropic, to which the SDKs are pointed; nothing is classified."""
    monkeypatch.delenv("PLANO_CONFIG_FILE", raising=False)
    with routed_by({"python": "code_generation", "prove": "complex_reasoning"}):
        yield llmock
