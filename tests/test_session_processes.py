"""A session is decided the same in one process's memory and by two processes that share a Redis server."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.router import Router

WORKERS: Final = 2
TOLD: Final = """
import json, sys
from plano_asgi.assembly import build_router
from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
from plano_asgi.settings import load_settings
from plano_asgi.testing import FixedClassifier

SETTINGS = {
    "model_providers": [
        {"model": "openai/gpt-4o-mini", "default": True}, {"model": "openai/gpt-5"}, {"model": "anthropic/claude-x"},
    ],
    "routing_preferences": [
        {"name": "code", "description": "writing code", "models": ["anthropic/claude-x", "openai/gpt-5"]},
        {"name": "chat", "description": "small talk", "models": ["openai/gpt-5"]},
    ],
    "prices": {
        "openai/gpt-4o-mini": {"input": 0.15, "output": 0.6, "cache_read": 0.075},
        "openai/gpt-5": {"input": 1.25, "output": 10, "cache_read": 0.125},
        "anthropic/claude-x": {"input": 3, "output": 15, "cache_read": 0.3},
    },
    "cache": {"size": 0},
}

class Swayed(FixedClassifier):
    def classify(self, conversation, policy, **more):
        said = conversation[-1].text
        self._chances = {"code" if "code" in said else "chat": 0.1 if "?" in said else 1.0}
        return super().classify(conversation, policy, **more)

def router_of(more):
    return build_router(load_settings(environ={}, overrides={**SETTINGS, **more}), classifier=Swayed({}))

def call_of(told):
    words = tuple(
        Message(role=Role(role), text=text, tool_calls=tuple(calls)) for role, text, calls in told.pop("conversation")
    )
    return LLMCall(api_format=ApiFormat.MESSAGES, conversation=words, tools=tuple(told.pop("tools")), **told)

def decided(router, told):
    decision = router.route(call_of(told))
    session = decision.session
    return [
        decision.would_use, decision.route, decision.models, decision.source, decision.reason,
        session.is_pinned, session.is_switched, session.lock, session.switch, session.held_by, session.foreign,
        round(session.spent_usd, 12), round(session.baseline_usd, 12),
    ]
"""
WORKER: Final = (
    TOLD
    + """
router = router_of(json.loads(sys.argv[1]))
for line in sys.stdin:
    print(json.dumps(decided(router, json.loads(line))), flush=True)
"""
)
numbers = count()


@pytest.fixture(scope="module")
def workers(redis_url: str) -> Iterator[list["subprocess.Popen[str]"]]:
    """Return processes that decide calls, one a line, and share their sessions."""
    more = {"sessions": {"store": "redis"}, "redis": {"url": redis_url, "timeout_ms": 9_000.0}}
    command = [sys.executable, "-W", "ignore", "-c", WORKER, json.dumps(more)]
    pipe = subprocess.PIPE
    made = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(WORKERS)]
    yield made
    for worker in made:
        worker.communicate(timeout=30)


@pytest.fixture(scope="module")
def here() -> Iterator[tuple[Router, Any]]:
    """Return a router that keeps its sessions in memory, and what decides a call by it as the processes do."""
    told: dict[str, Any] = {}
    exec(TOLD, told)  # noqa: S102 - our own text, which the processes run too
    router = told["router_of"]({})
    yield router, told["decided"]
    router.close()


@dataclass
class Talk:
    """A conversation as it grows."""

    begins: str
    affinity: str | None
    messages: list[tuple[str, str, list[str]]] = field(default_factory=list)
    signed: int = 0

    def call(self, step: str) -> dict[str, Any]:
        """Return the call that a step makes."""
        system, tools = "You are an agent.", ["look"]
        if not self.messages:
            self.messages.append(("user", self.begins, []))
        elif step == "drift":
            system = f"You are an agent. Message {len(self.messages)}."
        elif step == "aside":
            system, tools = "Give it a title.", []
        elif step == "tool":
            self.messages += [("assistant", "", ["look"]), ("tool", "it is done", [])]
        elif step == "think":
            self.messages += [("assistant", "", ["look"]), ("tool", "it is done", [])]
            self.signed += 1
        elif step != "again":
            self.messages += [("assistant", "well", []), ("user", step, [])]
        return {
            "conversation": [("system", system, []), *self.messages],
            "tools": tools,
            "affinity": self.affinity,
            "latest_signature": f"{self.signed:032x}" if self.signed else None,
        }


STEPS: Final = ("tool", "think", "again", "drift", "aside", "more code", "thanks", "which code?")
calls_made = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(STEPS), st.integers(0, WORKERS - 1), st.sampled_from([None, 0.0, 30.0])
    ),
    min_size=1,
    max_size=14,
)


@settings(deadline=None, max_examples=25)
@given(calls=calls_made)
def test_memory_and_processes_decide_the_same(
    calls: list[tuple[int, str, int, float | None]],
    workers: list["subprocess.Popen[str]"],
    here: tuple[Router, Any],
) -> None:
    """Whatever calls come, whichever process takes each, all is decided and told as one process alone would."""
    router, decided = here
    tenant = str(next(numbers))
    talks = [Talk("some code", None), Talk("some code", "a"), Talk("hello", None)]
    for which, step, taken_by, budget in calls:
        call = {**talks[which].call(step), "tenant": tenant, "switch_budget_pct": budget}
        worker = workers[taken_by]
        assert worker.stdin
        assert worker.stdout
        worker.stdin.write(json.dumps(call) + "\n")
        worker.stdin.flush()

        alone = json.loads(json.dumps(decided(router, call)))

        assert json.loads(worker.stdout.readline()) == alone
