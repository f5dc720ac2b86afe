"""`PlanoDecisionModel`: LangChain's questions answered by the classifier; collected where langchain-core has them."""

from typing import Any

import pytest
from langchain.agents import create_agent, middleware
from langchain_core.decisions import Choice, Noul
from langchain_core.messages import AIMessage, HumanMessage
from llmock.pytest_plugin import LLMock

from plano_asgi.errors import ClassificationError
from plano_asgi.testing import failing, routed_by
from plano_asgi_langchain import PlanoDecisionModel

ROUTE = Choice(instructions="Which fits?", criteria={"code": "writing functions", "proof": "proving theorems"})


@pytest.mark.parametrize(
    "state",
    [
        "Python",
        HumanMessage("Python"),
        [HumanMessage("hi"), AIMessage("hi"), HumanMessage("Python")],
        {"lang": "Python"},
    ],
    ids=["text", "message", "messages", "JSON"],
)
async def test_choice_is_answered(state: Any) -> None:
    """Whatever the state is, the label that fits is chosen, with a probability for each."""
    with routed_by({"python": "code"}):
        answers = [
            PlanoDecisionModel().invoke({"state": state, "questions": {"route": ROUTE}}),
            await PlanoDecisionModel().ainvoke({"state": state, "questions": {"route": ROUTE}}),
        ]

    for answer in answers:
        route = answer.choices["route"]
        assert (route.choice, route.probabilities, route.confidence) == ("code", {"code": 1.0, "proof": 0.0}, 1.0)
        assert answer.usage == {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


def test_none_of_the_labels_is_little_confidence() -> None:
    """Where no label fits, one is chosen nevertheless, as the type has it, with a confidence that says so."""
    with routed_by({}):
        answer = PlanoDecisionModel().invoke({"state": "hello", "questions": {"route": ROUTE}})

    assert answer.choices["route"].confidence == 0.0


def test_label_other_is_none_of_the_others() -> None:
    """A label `other` is chosen where none of the rest fits."""
    choice = Choice(instructions="Which?", criteria={"code": "writing functions", "other": None})

    with routed_by({}):
        answer = PlanoDecisionModel().invoke({"state": "hello", "questions": {"route": choice}}).choices["route"]

    assert (answer.choice, answer.probabilities) == ("other", {"code": 0.0, "other": 1.0})


def test_other_kinds_of_question_are_refused() -> None:
    """Questions that a router does not answer are refused by name."""
    with pytest.raises(ValueError, match=r"answers Choice; .* a Noul was asked"):
        PlanoDecisionModel().invoke({"state": "x", "questions": {"q": Noul(instructions="Is it?")}})


def test_failure_is_the_callers() -> None:
    """A classifier without an answer is an error, since there is no default among labels."""
    with routed_by(failing), pytest.raises(ClassificationError):
        PlanoDecisionModel().invoke({"state": "x", "questions": {"route": ROUTE}})


def test_real_router_answers() -> None:
    """The router that is part of the package reads the question, in this process."""
    model = PlanoDecisionModel()
    model.invoke({"state": "warm up", "questions": {"route": ROUTE}})

    answer = model.invoke({"state": "Write a function that sorts a list", "questions": {"route": ROUTE}})

    route = answer.choices["route"]
    assert (route.choice, answer.model) == ("code", "embedded")
    assert sum(route.probabilities.values()) == pytest.approx(1.0)


@pytest.mark.filterwarnings("ignore:The middleware `ModelRouterMiddleware` is in beta")
def test_langchains_own_router_takes_it(llmock: LLMock) -> None:
    """`ModelRouterMiddleware` routes an agent by it."""
    llmock.tool_mode("off")
    offered: Any = middleware  # of a newer LangChain than the one that types are checked with
    choices = {
        "code": offered.ModelChoice(model="openai:gpt-4o", criteria="writing functions"),
        "talk": offered.ModelChoice(model="openai:gpt-4o-mini", criteria="small talk"),
    }
    router = offered.ModelRouterMiddleware(choices=choices, instructions="Which?", classifier=PlanoDecisionModel())

    with routed_by({"python": "code"}):
        create_agent("openai:gpt-3.5-turbo", [], middleware=[router]).invoke({"messages": [HumanMessage("Python")]})

    assert llmock.last_request.model == "gpt-4o"
