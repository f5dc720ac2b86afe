"""A provider fails in the middle of an agent's work: who goes on, and what of its thoughts is sent to whom."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette

from plano_asgi.testing import FixedClassifier

MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
PROVIDERS = ((MESSAGES, "anthropic", "vercel"), (RESPONSES, "openai", "xai"))


@dataclass
class Agent:
    """A client that goes through a loop of tools, its conversation growing from call to call."""

    app: Starlette
    path: str
    turns: list[Any] = field(default_factory=list)

    def go_on(self, **more: Any) -> httpx.Response:
        """Make the next call."""
        key = "messages" if self.path == MESSAGES else "input"
        body = {"model": "auto", "max_tokens": 2_000, key: self.turns, **more}

        async def send() -> httpx.Response:
            """Send it."""
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(self.app), base_url="http://plano.test"
            ) as client:
                return await client.post(self.path, json=body)

        return anyio.run(send)

    def work(self, seal: str) -> None:
        """Note an answer that has thought, under a seal, and called a tool; and the tool's result."""
        number = str(len(self.turns))
        if self.path == MESSAGES:
            use = {"type": "tool_use", "id": number, "name": "look", "input": {}}
            thought = {"type": "thinking", "thinking": "hm", "signature": seal}
            self.turns.append({"role": "assistant", "content": [thought, use]})
            result = {"type": "tool_result", "tool_use_id": number, "content": "a cat"}
            self.turns.append({"role": "user", "content": [result]})
        else:
            self.turns.append({"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": seal})
            self.turns.append({"type": "function_call", "call_id": number, "name": "look", "arguments": "{}"})
            self.turns.append({"type": "function_call_output", "call_id": number, "output": "a cat"})


@pytest.fixture(params=PROVIDERS, ids=["messages", "responses"])
def agent(request: pytest.FixtureRequest, provider: Any, app_of: Callable[..., Starlette]) -> Agent:
    """Return an agent whose route has two providers of one API, of which the first is out of order at times."""
    path, first, second = request.param
    text = f"""
mode: forward
failover: {{attempts: 3, backoff_s: 0.01}}
model_providers:
  - {{model: {first}/recovering, base_url: "{provider.url}/v1", access_key: a}}
  - {{model: {second}/fine, base_url: "{provider.url}/v1", access_key: b}}
  - {{model: {first}/default, base_url: "{provider.url}/v1", access_key: a, default: true}}
routing_preferences:
  - {{name: work, description: work with tools, models: [{first}/recovering, {second}/fine]}}
"""
    provider.is_down = False
    return Agent(app_of(text, FixedClassifier({"work": 0.9})), path, [{"role": "user", "content": "Look at it"}])


def seals(body: Mapping[str, Any]) -> list[str]:
    """Return the signatures in a body that a provider was sent."""
    text = json.dumps(body)
    return [seal for seal in ("of-first-1", "of-first-2", "of-second-1") if seal in text]


def test_who_stands_in_keeps_the_loop_and_sees_no_foreign_thought(agent: Agent, provider: Any) -> None:
    """Thoughts go to none but their maker; who stood in goes on, though the first is well again; losses are told."""
    agent.go_on()
    agent.work("of-first-1")
    agent.go_on()
    agent.work("of-first-2")
    provider.is_down = True
    moved = agent.go_on()
    agent.work("of-second-1")
    provider.is_down = False
    after = agent.go_on()

    asked = [(heard.call["model"], seals(heard.call)) for heard in provider.heard]
    assert asked[:2] == [("recovering", []), ("recovering", ["of-first-1"])]
    assert asked[-2:] == [("fine", []), ("fine", ["of-second-1"])]
    assert dict(asked[2:-2]) == {"recovering": ["of-first-1", "of-first-2"]}
    assert (moved.status_code, after.status_code) == (200, 200)
    assert "[1]" in moved.headers["x-plano-losses"]
    assert after.headers["x-plano-model"].endswith("/fine")


@pytest.mark.parametrize("agent", [PROVIDERS[0]], indirect=True, ids=["messages"])
def test_model_that_goes_on_without_its_thoughts_is_not_told_to_think(agent: Agent, provider: Any) -> None:
    """Within a loop whose thoughts were taken out, a budget for thinking is taken out as well: providers refuse it."""
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1_024}}
    agent.go_on(**thinking)
    agent.work("of-first-1")
    provider.is_down = True
    agent.go_on(**thinking)

    assert "thinking" in provider.heard[0].call
    assert "thinking" not in provider.heard[-1].call
    assert provider.heard[-1].call["messages"][1]["content"][0]["type"] == "tool_use"
