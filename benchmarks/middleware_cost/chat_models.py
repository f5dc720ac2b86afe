"""Calls to a chat model of LangChain: the model alone, against `ChatPlano` that leads to it, in turn."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

import orjson
from langchain_core.language_models import BaseChatModel, FakeListChatModel

from benchmarks.middleware_cost.adapters import LOGS, row_of
from benchmarks.middleware_cost.cases import Effort
from benchmarks.middleware_cost.figures import Figures
from benchmarks.middleware_cost.logs import logging_as
from plano_asgi_langchain import ChatPlano, Route

ROUTES: Final = {"code_generation": "generating new code", "complex_reasoning": "proofs, multi-step analysis"}


def chat_models(effort: Effort) -> Sequence[Figures]:
    """Return the microseconds that `ChatPlano` adds to a call whose classification is cached."""
    with tempfile.TemporaryDirectory() as folder, logging_as(LOGS):
        config = Path(folder) / "plano.yaml"
        config.write_text("classifier: {deadline_ms: 10000}\n", encoding="utf-8")
        target = FakeListChatModel(responses=["ok"])
        routes = {name: Route(description, target) for name, description in ROUTES.items()}
        adapted = ChatPlano(config=config, routes=routes, default=target)
        bare, led = seconds_of(target, is_led=False), seconds_of(adapted, is_led=True)
        return [row_of("LangChain", "cached call", bare, led, effort)]


def seconds_of(model: BaseChatModel, *, is_led: bool) -> Callable[[str, bytes], float]:
    """Return what times one call to a chat model."""

    def timed(path: str, body: bytes) -> float:
        del path
        messages = orjson.loads(body)["messages"]
        started = perf_counter()
        answer = model.invoke(messages)
        elapsed = perf_counter() - started
        if ("plano" in answer.response_metadata) != is_led:
            raise RuntimeError(f"routed is {not is_led}")
        return elapsed

    return timed
