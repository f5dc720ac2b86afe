"""An agent whose every model call is routed: python agent.py "Write a function that reverses a list"."""

import sys
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from plano_asgi_langchain import ChatPlano

CONFIGURATION = Path(__file__).with_name("plano.yaml")


@tool
def word_count(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


def build_agent() -> Any:  # noqa: ANN401 - a compiled graph, whose type has five parameters
    """Return the agent."""
    return create_agent(ChatPlano.from_config(CONFIGURATION), [word_count], system_prompt="Be brief.")


def main(question: str) -> None:
    """Ask the agent, and print each answer with the model that gave it and the route that led there."""
    asked = {"messages": [{"role": "user", "content": question}]}
    for message in build_agent().invoke(asked)["messages"]:
        if isinstance(message, AIMessage):
            told = message.response_metadata["plano"]
            called = ", ".join(call["name"] for call in message.tool_calls)
            print(f"{told['model']} ({told['route']}, {told['source']}): {message.text or f'calls {called}'}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "Write a Python function that reverses a list")
