"""A Chat Completions request, written."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from plano_asgi.conversation import Role
from plano_asgi.translate.call import (
    Audio,
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
    joined,
)
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.media import as_url, data_url, file_id_of, not_carried
from plano_asgi.translate.options import Options, without_none
from plano_asgi.translate.thoughts import FOREIGN, level_of
from plano_asgi.translate.tool_calls import fitting_id

_ROLES: Final = {Role.SYSTEM: "system", Role.USER: "user", Role.ASSISTANT: "assistant"}
_NEWER_LIMIT: Final = re.compile(r"(?:o\d|gpt-)")  # OpenAI's own models, whose newer ones refuse `max_tokens`
_MOST_STOPS: Final = 4
_SHARED: Final = (
    "metadata",
    "moderation",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "top_p",
    "user",
    "verbosity",
)


def write_request(call: Call, *, model: str, losses: Losses) -> dict[str, object]:
    """Return the body that makes this call; what it cannot carry is noted.

    Raises:
        NotTranslatableError: The call holds what this API has no place for, and would be another without.
    """
    options = Options(call.options, losses)
    limit = "max_completion_tokens" if _NEWER_LIMIT.match(model) else "max_tokens"
    turns = joined(call.turns, Role.ASSISTANT)
    _note_prefill(turns, losses)
    body: dict[str, object | None] = {
        "model": model,
        "messages": [message for turn in turns for message in _messages(turn, losses)],
        "tools": [_tool(tool) for tool in call.tools] or None,
        "tool_choice": _tool_choice(call.tool_choice) if call.tools else None,
        "response_format": _response_format(call.output),
        "reasoning_effort": level_of(call.effort, losses),
        limit: options.value("max_tokens"),
        "stop": _stop(options, losses),
        "stream": call.is_stream or None,
        "stream_options": {"include_usage": True} if call.is_stream else None,
    }
    options.take("reasoning_summary")  # where a provider has thoughts to show, it does
    if not call.tools:
        options.take("parallel_tool_calls")
    body |= {name: options.value(name) for name in _SHARED}
    options.rest()
    return without_none(body)


def _stop(options: Options, losses: Losses) -> list[object] | None:
    option = options.take("stop")
    if option is None or not isinstance(option.value, list):
        return None
    if len(option.value) > _MOST_STOPS:
        losses.add(option.at, f"the other API takes {_MOST_STOPS} at most, the first ones were sent")
    return option.value[:_MOST_STOPS]


def _note_prefill(turns: tuple[Turn, ...], losses: Losses) -> None:
    if turns and turns[-1].role is Role.ASSISTANT:
        losses.add(turns[-1].at, "the model answers after these words instead of going on with them")


def _tool(tool: Tool) -> object:
    if tool.schema is None:
        form = tool.custom_format
        nested = form and ({"type": form["type"]} | _grammar(form))
        called = without_none({"name": tool.name, "description": tool.description, "format": nested})
        return {"type": "custom", "custom": called}
    parameters = tool.schema or {"type": "object", "properties": {}}
    fields = {
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
        "strict": tool.is_strict or None,
    }
    return {"type": "function", "function": without_none(fields)}


def _grammar(form: Mapping[str, object]) -> dict[str, object]:
    grammar = {key: value for key, value in form.items() if key != "type"}
    return {"grammar": grammar} if grammar else {}


def _tool_choice(choice: ToolChoice | None) -> object:
    if choice is None:
        return None
    if choice.choosing is Choosing.NAMED:
        kind = "custom" if choice.is_custom else "function"
        return {"type": kind, kind: {"name": choice.names[0]}}
    if choice.names:
        tools = [{"type": "function", "function": {"name": name}} for name in choice.names]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.choosing.value, "tools": tools}}
    return choice.choosing.value


def _response_format(output: OutputFormat | None) -> object:
    if output is None:
        return None
    if output.schema is None:
        return {"type": "json_object"}
    fields = {
        "name": output.name or "answer",
        "schema": output.schema,
        "description": output.description,
        "strict": output.is_strict,
    }
    return {"type": "json_schema", "json_schema": without_none(fields)}


def _messages(turn: Turn, losses: Losses) -> Iterator[object]:
    """Yield a message for every tool result of a turn, then one for what it says itself."""
    if turn.role is Role.ASSISTANT:
        yield from _assistant(turn, losses)
        return
    said: list[Part] = []
    shown: list[Part] = []
    for part in turn.parts:
        if isinstance(part, ToolResult):
            yield _tool_message(part, losses)
            shown += [inner for inner in part.parts if not isinstance(inner, Text)]
        else:
            said.append(part)
    for part in shown:
        losses.add(part.at, "a tool's image or file was sent as the user's")
    parts = [*shown, *said]
    if turn.role is Role.SYSTEM:
        yield {"role": "system", "content": "\n".join(_words(parts))}
    elif parts:
        yield {"role": _ROLES[turn.role], "content": _content(parts, losses)}


def _words(parts: list[Part]) -> list[str]:
    return [part.text for part in parts if isinstance(part, Text | Refusal)]


def _tool_message(result: ToolResult, losses: Losses) -> object:
    if result.is_error:
        losses.add(result.at, "that a tool failed is told by its words alone")
    text = "\n".join(part.text for part in result.parts if isinstance(part, Text))
    return {"role": "tool", "tool_call_id": fitting_id(result.call_id), "content": text}


def _assistant(turn: Turn, losses: Losses) -> Iterator[object]:
    text = "".join(part.text for part in turn.parts if isinstance(part, Text))
    refusal = "".join(part.text for part in turn.parts if isinstance(part, Refusal))
    calls = [_tool_call(part) for part in turn.parts if isinstance(part, ToolCall)]
    for part in turn.parts:
        if isinstance(part, Thinking):
            losses.add(part.at, FOREIGN)
        elif not isinstance(part, Text | Refusal | ToolCall):
            raise not_carried("what a model shows", part.at)
    if text or refusal or calls:
        optional = without_none({"refusal": refusal or None, "tool_calls": calls or None})
        yield {"role": "assistant", "content": text or None, **optional}


def _tool_call(call: ToolCall) -> object:
    call_id = fitting_id(call.id)
    if call.is_custom:
        return {"id": call_id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}


def _content(parts: list[Part], losses: Losses) -> object:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_part(part, losses) for part in parts]


def _part(part: Part, losses: Losses) -> object:
    match part:
        case Text() | Refusal():
            return {"type": "text", "text": part.text}
        case Image():
            return {"type": "image_url", "image_url": _image(part)}
        case File(PlainText(text)):
            losses.add(part.at, "a document that is text was sent as text")
            return {"type": "text", "text": _titled(part.name, text)}
        case File():
            return {"type": "file", "file": _file(part)}
        case Audio():
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
        case _:
            raise not_carried("a part of this type", part.at)


def _titled(name: str | None, text: str) -> str:
    return f"{name}\n\n{text}" if name else text


def _image(image: Image) -> dict[str, object]:
    if isinstance(image.source, Stored):
        raise not_carried("an image that a provider keeps", image.at)
    return without_none({"url": as_url(image.source), "detail": image.detail})


def _file(file: File) -> dict[str, object]:
    if isinstance(file.source, Link):
        raise not_carried("a file by its URL", file.at)
    if isinstance(file.source, Stored):
        return {"file_id": file_id_of(file.source, Keeper.OPENAI, what="a file", at=file.at)}
    if isinstance(file.source, PlainText):
        raise TypeError
    return {"filename": file.name or "file", "file_data": data_url(file.source)}
