"""Turns as APIs want them that know two sides which take turns, and instructions apart."""

from dataclasses import replace
from typing import Final

from plano_asgi.conversation import Role
from plano_asgi.translate.call import (
    Call,
    Choosing,
    Keeper,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolResult,
    Turn,
    joined,
)
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.thoughts import Room

MOVED: Final = "instructions in the middle of a conversation were moved to its start"


def system_and_turns(turns: tuple[Turn, ...], losses: Losses) -> tuple[tuple[Text, ...], tuple[Turn, ...]]:
    """Return all instructions that are not blank, and the turns of the two sides; a move is a loss."""
    instructions: list[Text] = []
    others: list[Turn] = []
    for turn in turns:
        if turn.role is not Role.SYSTEM:
            others.append(turn)
            continue
        if others:
            losses.add(turn.at, MOVED)
        instructions += [part for part in turn.parts if isinstance(part, Text) and part.text.strip()]
    return tuple(instructions), tuple(others)


def alternating(turns: tuple[Turn, ...], losses: Losses) -> tuple[Turn, ...]:
    """Return the turns with neighbours of one side made one, tool results first, and without blank texts or turns."""
    spoken = []
    for turn in turns:
        parts = without_blanks(turn.parts)
        if parts:
            spoken.append(replace(turn, parts=parts))
        elif turn.parts:
            losses.add(turn.at, "the other API takes no blank messages")
    merged = joined(tuple(spoken), Role.USER, Role.ASSISTANT)
    return tuple(replace(turn, parts=tuple(sorted(turn.parts, key=_results_first))) for turn in merged)


def room_for_thinking(call: Call, turns: tuple[Turn, ...], *, model: str, max_tokens: int | None) -> Room:
    """Return what a call with these turns leaves of room for thinking."""
    forced = {Choosing.REQUIRED, Choosing.NAMED}
    is_answered = bool(turns) and any(isinstance(part, ToolResult) for part in turns[-1].parts)
    last = next((turn for turn in reversed(turns) if turn.role is Role.ASSISTANT), None)
    thought = (
        any(isinstance(part, Thinking) and part.maker is Keeper.ANTHROPIC for part in last.parts) if last else True
    )
    return Room(
        model=model,
        max_tokens=max_tokens,
        is_tool_forced=bool(call.tools) and call.tool_choice is not None and call.tool_choice.choosing in forced,
        lacks_thoughts=is_answered and not thought,
    )


def without_blanks(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Return the parts but for texts that are only white space."""
    return tuple(part for part in parts if not isinstance(part, Text | Refusal) or part.text.strip())


def named_tools(call: Call, losses: Losses) -> tuple[Tool, ...]:
    """Return the tools with a schema that the call allows; those that take free text are losses."""
    allowed = call.tool_choice.names if call.tool_choice and call.tool_choice.choosing is not Choosing.NAMED else ()
    tools = []
    for tool in call.tools:
        if tool.schema is None:
            losses.add(tool.at, "the other API has no tools that take free text")
        elif not allowed or tool.name in allowed:
            tools.append(tool)
    return tuple(tools)


def _results_first(part: Part) -> bool:
    return not isinstance(part, ToolResult)
