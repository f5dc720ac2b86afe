"""An Anthropic Messages request, written."""

from typing import Final

from plano_asgi.translate.call import (
    Call,
    Choosing,
    Effort,
    File,
    Image,
    Inline,
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
)
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.media import PDF, file_id_of, not_carried
from plano_asgi.translate.options import Options, without_none
from plano_asgi.translate.thoughts import anthropic_thinking, is_of
from plano_asgi.translate.tool_calls import as_object, fitting_id
from plano_asgi.translate.turns import alternating, named_tools, room_for_thinking, system_and_turns, without_blanks

DEFAULT_MAX_TOKENS: Final = 4096
_CHOOSING: Final = {Choosing.AUTO: "auto", Choosing.NONE: "none", Choosing.REQUIRED: "any", Choosing.NAMED: "tool"}
_TIERS: Final = {"auto": "auto", "default": "standard_only"}
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def write_request(call: Call, *, model: str, losses: Losses) -> dict[str, object]:
    """Return the body that makes this call; what it cannot carry is noted.

    Raises:
        NotTranslatableError: The call holds what this API has no place for, and would be another without.
    """
    options = Options(call.options, losses)
    system, turns = system_and_turns(call.turns, losses)
    limit = _limit(call.effort, options, losses)
    turns = alternating(turns, losses)
    room = room_for_thinking(call, turns, model=model, max_tokens=limit)
    thinking, effort = anthropic_thinking(call.effort, room, losses)
    tools = named_tools(call, losses)
    config = without_none({"effort": effort, "format": _format(call.output, losses)})
    body: dict[str, object | None] = {
        "model": model,
        "max_tokens": limit,
        "system": _system(system),
        "messages": [{"role": turn.role.value, "content": _content(turn.parts, losses)} for turn in turns],
        "tools": [_tool(tool) for tool in tools] or None,
        "tool_choice": _tool_choice(call.tool_choice, options, losses) if tools else None,
        "thinking": _shown(thinking, options),
        "output_config": config or None,
        "metadata": _metadata(options),
        "service_tier": _tier(options),
        "stop_sequences": _stop(options, losses),
        "stream": call.is_stream or None,
        **_sampling(options, is_thinking=bool(thinking and thinking["type"] != "disabled")),
    }
    if not tools:
        options.take("parallel_tool_calls")
    options.rest()
    return without_none(body)


def _shown(thinking: dict[str, object] | None, options: Options) -> dict[str, object] | None:
    """Return how to think, thoughts shown where the call asks for a summary: a model may keep them back by itself."""
    is_wanted = options.take("reasoning_summary") is not None
    if thinking is None or thinking["type"] != "adaptive" or not is_wanted:
        return thinking
    return thinking | {"display": "summarized"}


def _limit(effort: Effort | None, options: Options, losses: Losses) -> int:
    limit = options.value("max_tokens")
    if isinstance(limit, int):
        return limit
    sent = DEFAULT_MAX_TOKENS + (effort.budget or 0 if effort else 0)
    losses.add("max_tokens", f"the call sets no limit and the other API needs one; {sent} was sent")
    return sent


def _sampling(options: Options, *, is_thinking: bool) -> dict[str, object]:
    if is_thinking:
        for name in ("temperature", "top_p", "top_k"):
            options.lose(name, "a model that thinks takes no sampling parameters")
        return {}
    temperature = options.clamped("temperature", most=1)
    if temperature is not None:
        options.lose("top_p", "the other API takes temperature or top_p, and temperature was sent")
    return {"temperature": temperature, "top_p": options.value("top_p"), "top_k": options.value("top_k")}


def _stop(options: Options, losses: Losses) -> list[str] | None:
    option = options.take("stop")
    if option is None or not isinstance(option.value, list):
        return None
    kept = [text for text in option.value if isinstance(text, str) and text.strip()]
    if len(kept) != len(option.value):
        losses.add(option.at, "the other API takes no stop sequence that is only white space")
    return kept or None


def _metadata(options: Options) -> dict[str, object] | None:
    user = options.take("user") or options.take("safety_identifier")
    return None if user is None else {"user_id": user.value}


def _tier(options: Options) -> str | None:
    option = options.take("service_tier")
    if option is None:
        return None
    tier = _TIERS.get(str(option.value))
    if tier is None:
        options.put_back("service_tier", option)
    return tier


def _format(output: OutputFormat | None, losses: Losses) -> object:
    if output is None:
        return None
    if output.schema is None:
        losses.add(output.at, "the other API answers in JSON only by a schema")
        return None
    if output.description:
        losses.add(output.at, "the schema's description was left out")
    return {"type": "json_schema", "schema": output.schema}


def _system(parts: tuple[Text, ...]) -> object:
    if len(parts) == 1:
        return parts[0].text
    return [{"type": "text", "text": part.text} for part in parts] or None


def _tool(tool: Tool) -> dict[str, object]:
    schema = tool.schema or {"type": "object", "properties": {}}
    fields = {
        "name": tool.name,
        "description": tool.description,
        "input_schema": schema,
        "strict": tool.is_strict or None,
    }
    return without_none(fields)


def _tool_choice(choice: ToolChoice | None, options: Options, losses: Losses) -> dict[str, object] | None:
    is_serial = options.value("parallel_tool_calls") is False
    if choice is None:
        return {"type": "auto", "disable_parallel_tool_use": True} if is_serial else None
    if choice.is_custom:
        losses.add(choice.at, "the custom tool that it names was not sent")
        return None
    fields: dict[str, object] = {"type": _CHOOSING[choice.choosing]}
    if choice.choosing is Choosing.NAMED:
        fields["name"] = choice.names[0]
    if is_serial and choice.choosing is not Choosing.NONE:
        fields["disable_parallel_tool_use"] = True
    return fields


def _content(parts: tuple[Part, ...], losses: Losses) -> object:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [block for part in parts if (block := _block(part, losses)) is not None]


def _block(part: Part, losses: Losses) -> object:
    match part:
        case Text() | Refusal():
            return {"type": "text", "text": part.text}
        case Image():
            return {"type": "image", "source": _image(part, losses)}
        case File():
            return without_none({"type": "document", "source": _document(part), "title": part.name})
        case ToolCall():
            arguments = as_object(part.arguments, part.at, losses)
            return {"type": "tool_use", "id": fitting_id(part.id), "name": part.name, "input": arguments}
        case ToolResult():
            return _tool_result(part, losses)
        case Thinking():
            return _thought(part) if is_of(part, Keeper.ANTHROPIC, losses) else None
        case _:
            raise not_carried("a part of this type", part.at)


def _thought(thinking: Thinking) -> object:
    if thinking.is_redacted:
        return {"type": "redacted_thinking", "data": thinking.signature}
    return {"type": "thinking", "thinking": thinking.text, "signature": thinking.signature}


def _tool_result(result: ToolResult, losses: Losses) -> object:
    fields = {
        "type": "tool_result",
        "tool_use_id": fitting_id(result.call_id),
        "content": _content(without_blanks(result.parts), losses) or None,
        "is_error": result.is_error or None,
    }
    return without_none(fields)


def _image(image: Image, losses: Losses) -> object:
    if image.detail is not None:
        losses.add(image.at, "how closely to look at an image was left out")
    if isinstance(image.source, Link):
        return {"type": "url", "url": image.source.url}
    if isinstance(image.source, Stored):
        file_id = file_id_of(image.source, Keeper.ANTHROPIC, what="an image", at=image.at)
        return {"type": "file", "file_id": file_id}
    if image.source.media_type not in _IMAGES:
        raise not_carried("an image of this media type", image.at)
    return {"type": "base64", "media_type": image.source.media_type, "data": image.source.data}


def _document(file: File) -> object:
    source = file.source
    match source:
        case Link():
            return {"type": "url", "url": source.url}
        case Stored():
            file_id = file_id_of(source, Keeper.ANTHROPIC, what="a file", at=file.at)
            return {"type": "file", "file_id": file_id}
        case PlainText():
            return {"type": "text", "media_type": "text/plain", "data": source.text}
        case Inline() if source.media_type == PDF:
            return {"type": "base64", "media_type": PDF, "data": source.data}
        case _:
            raise not_carried("a file that is no PDF", file.at)
