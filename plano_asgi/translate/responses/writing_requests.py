"""An OpenAI Responses request, written."""

import re
from collections.abc import Iterator
from typing import Final

from plano_asgi.conversation import Role
from plano_asgi.translate.call import (
    Call,
    Choosing,
    File,
    Image,
    Keeper,
    Link,
    OutputFormat,
    Part,
    PlainText,
    Refusal,
    Stored,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.media import as_url, data_url, file_id_of, not_carried
from plano_asgi.translate.options import Options, without_none
from plano_asgi.translate.thoughts import is_of, level_of
from plano_asgi.translate.tool_calls import fitting_id

_ROLES: Final = {Role.SYSTEM: "developer", Role.USER: "user", Role.ASSISTANT: "assistant"}
_REASONS: Final = re.compile(r"(?:o\d|gpt-(?:[5-9]|\d\d))")  # models whose encrypted thoughts can be asked for
_SHARED: Final = (
    "metadata",
    "moderation",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "temperature",
    "top_p",
    "user",
)


def write_request(call: Call, *, model: str, losses: Losses) -> dict[str, object]:
    """Return the body that makes this call; what it cannot carry is noted.

    The answer is not stored unless the call asks for it, as it is with the other APIs.

    Raises:
        NotTranslatableError: The call holds what this API has no place for, and would be another without.
    """
    options = Options(call.options, losses)
    instructions, turns = _instructions(call.turns)
    reasoning = without_none({"effort": level_of(call.effort, losses), "summary": options.value("reasoning_summary")})
    text = without_none({"format": _format(call.output), "verbosity": options.value("verbosity")})
    body: dict[str, object | None] = {
        "model": model,
        "instructions": instructions,
        "input": [item for turn in turns for item in _items(turn, losses)],
        "tools": [_tool(tool) for tool in call.tools] or None,
        "tool_choice": _tool_choice(call.tool_choice) if call.tools else None,
        "text": text or None,
        "reasoning": reasoning or None,
        "include": ["reasoning.encrypted_content"] if _REASONS.match(model) else None,
        "max_output_tokens": options.value("max_tokens"),
        "store": options.value("store") or False,
        "stream": call.is_stream or None,
    }
    if not call.tools:
        options.take("parallel_tool_calls")
    body |= {name: options.value(name) for name in _SHARED}
    options.rest()
    return without_none(body)


def _instructions(turns: tuple[Turn, ...]) -> tuple[str | None, tuple[Turn, ...]]:
    """Return the words of a first turn that is one instruction, and the turns after it."""
    if turns and turns[0].role is Role.SYSTEM and len(turns[0].parts) == 1 and isinstance(turns[0].parts[0], Text):
        return turns[0].parts[0].text, turns[1:]
    return None, turns


def _format(output: OutputFormat | None) -> object:
    if output is None:
        return None
    if output.schema is None:
        return {"type": "json_object"}
    fields = {
        "type": "json_schema",
        "name": output.name or "answer",
        "schema": output.schema,
        "description": output.description,
        "strict": output.is_strict,
    }
    return without_none(fields)


def _tool(tool: Tool) -> dict[str, object]:
    fields: dict[str, object] = without_none({"name": tool.name, "description": tool.description})
    if tool.schema is None:
        return {"type": "custom", **fields, **({"format": tool.custom_format} if tool.custom_format else {})}
    schema = tool.schema or {"type": "object", "properties": {}}
    return {"type": "function", **fields, "parameters": schema, "strict": bool(tool.is_strict)}


def _tool_choice(choice: ToolChoice | None) -> object:
    if choice is None:
        return None
    if choice.choosing is Choosing.NAMED:
        return {"type": "custom" if choice.is_custom else "function", "name": choice.names[0]}
    if choice.names:
        tools = [{"type": "function", "name": name} for name in choice.names]
        return {"type": "allowed_tools", "mode": choice.choosing.value, "tools": tools}
    return choice.choosing.value


def _items(turn: Turn, losses: Losses) -> Iterator[object]:
    """Yield the items of a turn in its order; what is said in a row is one message."""
    said: list[Part] = []
    for part in turn.parts:
        item = _item(part, losses)
        if item is None:
            said.append(part)
            continue
        if said:
            yield _message(said, turn)
        said = []
        yield from item
    if said:
        yield _message(said, turn)


def _message(said: list[Part], turn: Turn) -> object:
    """Return what is said as a message; a model's own is an output item where it holds more than words."""
    message: dict[str, object] = {"type": "message", "role": _ROLES[turn.role]}
    if turn.role is not Role.ASSISTANT:
        return message | {"content": [_shown(part) for part in said]}
    if all(isinstance(part, Text) for part in said):
        return message | {"content": "".join(part.text for part in said if isinstance(part, Text))}
    item_id = "msg_plano_" + "".join(letter for letter in turn.at if letter.isalnum())
    return message | {"id": item_id, "status": "completed", "content": [_said(part) for part in said]}


def _item(part: Part, losses: Losses) -> list[object] | None:
    """Return the item that a part is, in a list that is empty where it is lost; None where it is said in a message."""
    match part:
        case ToolCall():
            return [_tool_call(part)]
        case ToolResult():
            return [_tool_result(part, losses)]
        case Thinking() if is_of(part, Keeper.OPENAI, losses):
            summary = [{"type": "summary_text", "text": part.text}] if part.text else []
            fields = {"id": part.item_id or None, "summary": summary, "encrypted_content": part.signature}
            return [{"type": "reasoning", **without_none(fields)}]
        case Thinking():
            return []
        case _:
            return None


def _tool_call(call: ToolCall) -> object:
    named = {"call_id": fitting_id(call.id), "name": call.name}
    if call.is_custom:
        return {"type": "custom_tool_call", **named, "input": call.arguments}
    return {"type": "function_call", **named, "arguments": call.arguments or "{}"}


def _tool_result(result: ToolResult, losses: Losses) -> object:
    if result.is_error:
        losses.add(result.at, "that a tool failed is told by its words alone")
    kind = "custom_tool_call_output" if result.is_custom else "function_call_output"
    parts = result.parts
    output: object = [_shown(part) for part in parts]
    if len(parts) <= 1 and all(isinstance(part, Text) for part in parts):
        output = "".join(part.text for part in parts if isinstance(part, Text))
    return {"type": kind, "call_id": fitting_id(result.call_id), "output": output}


def _said(part: Part) -> object:
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    if isinstance(part, Text):
        return {"type": "output_text", "text": part.text, "annotations": []}
    raise not_carried("what a model shows", part.at)


def _shown(part: Part) -> object:
    match part:
        case Text() | Refusal():
            return {"type": "input_text", "text": part.text}
        case Image():
            return _image(part)
        case File():
            return {"type": "input_file", **_file(part)}
        case _:
            raise not_carried("a part of this type", part.at)


def _image(image: Image) -> dict[str, object]:
    fields: dict[str, object] = {"type": "input_image", "detail": image.detail or "auto"}
    if isinstance(image.source, Stored):
        return fields | {"file_id": file_id_of(image.source, Keeper.OPENAI, what="an image", at=image.at)}
    return fields | {"image_url": as_url(image.source)}


def _file(file: File) -> dict[str, object]:
    source = file.source
    match source:
        case Stored():
            return {"file_id": file_id_of(source, Keeper.OPENAI, what="a file", at=file.at)}
        case Link():
            return {"file_url": source.url}
        case PlainText():
            return {"filename": file.name or "file.txt", "file_data": data_url(source.as_inline())}
        case _:
            return {"filename": file.name or "file", "file_data": data_url(source)}
