"""examples/langchain_agent: the agent calls its tool and answers, each time by the model of its route."""

import re
import runpy
from pathlib import Path

import pytest
from llmock.pytest_plugin import LLMock

EXAMPLE = Path(__file__).parents[1] / "examples" / "langchain_agent"


ANSWERS = {
    "Write a Python function that reverses a list": ("anthropic/claude-sonnet-4-6", "code_generation"),
    "Good morning, how are you?": ("openai/gpt-4o-mini", "None"),
}


@pytest.mark.parametrize("question", ANSWERS)
def test_agent_says_which_model_has_answered(
    llmock: LLMock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], question: str
) -> None:
    """The real router decides; the tool's result goes to the model that has called the tool."""
    monkeypatch.setenv("PLANO_CLASSIFIER__DEADLINE_MS", "20000")  # on a busy machine
    llmock.call_tool("word_count", {"text": "one two"}).reply("It is done.")

    model, route = ANSWERS[question]

    runpy.run_path(str(EXAMPLE / "agent.py"))["main"](question)

    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith(model)] == [
        f"{model} ({route}, classifier): calls word_count",
        f"{model} ({route}, session): It is done.",
    ]
    assert [request.model for request in llmock.requests] == [model.partition("/")[2]] * 2


def test_readme_starts_what_is_there() -> None:
    """The README's command names the script."""
    (script,) = re.findall(r"^python (\S+)", (EXAMPLE / "README.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert (EXAMPLE.parents[1] / script).is_file()
