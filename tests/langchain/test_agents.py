"""Agents: `create_agent` with `PlanoRouterMiddleware`, or with `ChatPlano` as its model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from llmock.pytest_plugin import LLMock
from pydantic import BaseModel

from plano_asgi import CallError, Role, Settings
from plano_asgi.assembly import build_router
from plano_asgi.testing import FixedClassifier, failing, routed_by
from plano_asgi_langchain import ChatPlano, PlanoRouterMiddleware, Route

pytestmark = pytest.mark.usefixtures("llmock")

CONFIGURATION = """
model_providers:
  - model: openai/gpt-4o-mini
    default: true
    routing_preferences: [{name: chat, description: small talk}]
"""
POLICY = [{"name": "greetings", "description": "saying hello", "models": ["openai/gpt-4o"]}]


@tool
def clock(zone: str) -> str:
    """Tell the time of a zone."""
    return f"noon in {zone}; now prove it"


@dataclass
class Context:
    """What an app knows of a run."""

    routing_preferences: Any = None


@pytest.fixture
def llm(by_rule: None) -> ChatPlano:
    """Return a model with two routes, to providers that a real server plays."""
    del by_rule
    routes = {
        "code_generation": Route("writing code", ["anthropic:claude-sonnet-4-6", "openai:gpt-4.1"]),
        "complex_reasoning": Route("proofs", "openai:gpt-4o"),
    }
    return ChatPlano(routes=routes, default="openai:gpt-4o-mini", max_retries=0)


def agent_of(llm: ChatPlano, **options: Any) -> Any:
    """Return an agent whose own model is another than the router's default."""
    return create_agent("openai:gpt-3.5-turbo", [clock], middleware=[PlanoRouterMiddleware(llm)], **options)


def said(text: str) -> dict[str, Any]:
    """Return the input of an agent."""
    return {"messages": [HumanMessage(text)]}


def answers(result: dict[str, Any]) -> list[AIMessage]:
    """Return what models have said."""
    return [message for message in result["messages"] if isinstance(message, AIMessage)]


@pytest.mark.parametrize(
    ("text", "model"), [("Python please", "claude-sonnet-4-6"), ("prove it", "gpt-4o"), ("hello", "gpt-4o-mini")]
)
async def test_each_call_of_an_agent_is_decided(llm: ChatPlano, llmock: LLMock, text: str, model: str) -> None:
    """The chosen model stands in for the agent's own, sync and async, and its answer says so."""
    llmock.tool_mode("off")
    agent = agent_of(llm)

    for result in (agent.invoke(said(text)), await agent.ainvoke(said(text))):
        (answer,) = answers(result)
        assert answer.response_metadata["plano"]["model"].endswith(f"/{model}")
    assert {request.model for request in llmock.requests} == {model}


def test_model_stays_inside_the_agents_tool_loop(llm: ChatPlano, llmock: LLMock) -> None:
    """The call after a tool's result goes to the model that has called the tool."""
    llmock.call_tool("clock", {"zone": "Oslo"})
    llmock.reply("done")

    result = agent_of(llm).invoke(said("Python please"))

    assert [request.model for request in llmock.requests] == ["claude-sonnet-4-6"] * 2
    assert [answer.response_metadata["plano"]["source"] for answer in answers(result)] == ["classifier", "session"]


def test_whole_conversation_is_decided(settings_of: Callable[[str], Settings], llmock: LLMock) -> None:
    """What the router reads is all that was said, with the agent's instructions before it."""
    llmock.tool_mode("off")
    classifier = FixedClassifier({"chat": 0.9})
    llm = ChatPlano(router=build_router(settings_of(CONFIGURATION), classifier=classifier))
    history = [HumanMessage("hello"), AIMessage("hi"), HumanMessage("do it")]

    agent_of(llm, system_prompt="Be brief").invoke({"messages": history})

    *_, conversation = classifier.calls
    assert [(message.role, message.text) for message in conversation] == [
        (Role.SYSTEM, "Be brief"),
        (Role.USER, "hello"),
        (Role.ASSISTANT, "hi"),
        (Role.USER, "do it"),
    ]


def test_agent_that_keeps_texts_alone_has_the_routers_sessions(settings_of: Callable[[str], Settings]) -> None:
    """Where the history does not say who has answered, a tool loop is known by the first words and by the tools."""
    classifier = FixedClassifier({"chat": 0.9})
    llm = ChatPlano(router=build_router(settings_of(CONFIGURATION), classifier=classifier))
    begun = [SystemMessage("It is noon"), HumanMessage("hello")]
    gone_on = [SystemMessage("It is one"), *begun[1:], AIMessage(""), ToolMessage("noon", tool_call_id="1")]

    decisions = [llm.decide(messages, tools=[clock]) for messages in (begun, gone_on)]

    assert [decision.source for decision in decisions] == ["classifier", "session"]
    assert len({decision.would_use for decision in decisions}) == 1


@pytest.mark.parametrize("context", [{"routing_preferences": POLICY}, Context(POLICY)], ids=["mapping", "object"])
def test_policy_of_the_runtime_context_holds_for_its_run(llm: ChatPlano, llmock: LLMock, context: Any) -> None:
    """A run may bring a policy of its own, as a request may."""
    llmock.tool_mode("off")
    agent = agent_of(llm, context_schema=dict if isinstance(context, dict) else Context)

    with routed_by({"hello": "greetings"}):
        agent.invoke(said("hello"), context=context)

    assert llmock.last_request.model == "gpt-4o"


def test_policy_that_is_refused_is_an_error(llm: ChatPlano) -> None:
    """A policy of a run that names a model which nobody declares is refused, not ignored."""
    policy = [{**POLICY[0], "models": ["openai/gpt-9"]}]

    with pytest.raises(CallError, match="does not declare"):
        agent_of(llm, context_schema=Context).invoke(said("hello"), context=Context(policy))


def test_broken_classifier_costs_no_call(llm: ChatPlano, llmock: LLMock) -> None:
    """Where the classifier fails, the default model serves the agent."""
    llmock.tool_mode("off")

    with routed_by(failing):
        agent_of(llm).invoke(said("Python please"))

    assert llmock.last_request.model == "gpt-4o-mini"


@pytest.mark.parametrize(
    ("routing", "rule"), [("on_error: reject", failing), ("unmatched: requested", {})], ids=["reject", "no default"]
)
def test_agents_own_model_serves_where_the_router_has_none(
    llmock: LLMock, monkeypatch: pytest.MonkeyPatch, routing: str, rule: Any
) -> None:
    """No decision under `reject`, or no default: the agent's own model is what is left."""
    llmock.tool_mode("off")
    name, _, value = routing.partition(": ")
    monkeypatch.setenv(f"PLANO_ROUTING__{name.upper()}", value)
    llm = ChatPlano(
        routes={"code_generation": Route("code", "openai:gpt-4o")},
        default=None if name == "unmatched" else "openai:gpt-4o-mini",
    )

    with routed_by(rule):
        agent_of(llm).invoke(said("hello"))

    assert llmock.last_request.model == "gpt-3.5-turbo"


async def test_agent_fails_over(llm: ChatPlano, llmock: LLMock) -> None:
    """Where the chosen model is down, the next one of its route serves the agent."""
    llmock.tool_mode("off").outage(provider="anthropic")

    for result in (agent_of(llm).invoke(said("python")), await agent_of(llm).ainvoke(said("python"))):
        (answer,) = answers(result)
        assert answer.response_metadata["plano"]["model"] == "openai/gpt-4.1"
        assert answer.response_metadata["plano"]["failed"] == {"anthropic/claude-sonnet-4-6": "server_error"}


def test_chat_plano_is_an_agents_model(llm: ChatPlano, llmock: LLMock) -> None:
    """`create_agent` takes a `ChatPlano`: tools reach the chosen provider in its own form, and the loop stays there."""
    llmock.call_tool("clock", {"zone": "Oslo"})
    llmock.reply("done")

    agent: Any = create_agent(llm, [clock])

    result = agent.invoke(said("Python please"))

    assert result["messages"][-1].text == "done"
    assert [(request.provider, request.model) for request in llmock.requests] == [
        ("anthropic", "claude-sonnet-4-6")
    ] * 2


def test_agents_structured_answer_comes_from_the_chosen_model(llm: ChatPlano, llmock: LLMock) -> None:
    """A response format works without knowing which model answers."""

    class Verdict(BaseModel):
        """A verdict."""

        holds: bool

    llmock.call_tool("Verdict", {"holds": True})

    agent: Any = create_agent(llm, [], response_format=Verdict)

    result = agent.invoke(said("prove it"))

    assert result["structured_response"] == Verdict(holds=True)
    assert llmock.last_request.model == "gpt-4o"
