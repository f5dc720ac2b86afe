"""A Bedrock Converse request, written; the model is in the path, so not in the body.

Source: the `bedrock-runtime` service model of botocore 1.44.5.
"""

from typing import Final

from plano_asgi.translate.call import (
    Audio,
    Call,
    Choosing,
    File,
    Image,
    Inline,
    Keeper,
    OutputFormat,
    Part,
    PlainText,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.media import not_carried
from plano_asgi.translate.options import Options, without_none
from plano_asgi.translate.thoughts import Room, anthropic_thinking, is_of
from plano_asgi.translate.tool_calls import as_object, fitting_id
from plano_asgi.translate.turns import alternating, named_tools, room_for_thinking, system_and_turns, without_blanks
from plano_asgi.wire.exact_json import write_json

_IMAGES: Final = {f"image/{name}": name for name in ("png", "jpeg", "gif", "webp")}
_WORD: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_SHEET: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_FILES: Final = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    _WORD: "docx",
    _SHEET: "xlsx",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
}
_TIERS: Final = frozenset({"default", "priority", "flex"})


def write_request(call: Call, *, model: str, losses: Losses) -> dict[str, object]:
    """Return the body that makes this call; what it cannot carry is noted.

    Raises:
        NotTranslatableError: The call holds what this API has no place for, and would be another without.
    """
    options = Options(call.options, losses)
    system, turns = system_and_turns(call.turns, losses)
    turns = alternating(turns, losses)
    limit = options.peek("max_tokens")
    room = room_for_thinking(call, turns, model=model, max_tokens=limit if isinstance(limit, int) else None)
    extra = _model_fields(call, options, room, losses)
    body: dict[str, object | None] = {
        "messages": [_message(turn, losses) for turn in turns],
        "system": [{"text": part.text} for part in system] or None,
        "inferenceConfig": _inference(options, is_thinking="thinking" in extra) or None,
        "toolConfig": _tools(call, losses),
        "outputConfig": _output(call.output, losses),
        "additionalModelRequestFields": extra or None,
        "requestMetadata": _metadata(options),
        "serviceTier": _tier(options),
    }
    if not call.tools:
        options.take("parallel_tool_calls")
    options.rest()
    return without_none(body)


def _inference(options: Options, *, is_thinking: bool) -> dict[str, object]:
    if is_thinking:
        for name in ("temperature", "top_p"):
            options.lose(name, "a model that thinks takes no sampling parameters")
    fields = {
        "maxTokens": options.value("max_tokens"),
        "temperature": options.clamped("temperature", most=1),
        "topP": options.value("top_p"),
        "stopSequences": options.value("stop"),
    }
    return without_none(fields)


def _model_fields(call: Call, options: Options, room: Room, losses: Losses) -> dict[str, object]:
    """Return what Converse hands on to the model as it is; only of Claude is it known what that may be."""
    if "claude" not in room.model:
        if call.effort is not None:
            losses.add(call.effort.at, "it is not known how this model is told how much to think")
        return {}
    thinking, effort = anthropic_thinking(call.effort, room, losses)
    if thinking is not None and thinking["type"] == "disabled":
        thinking = None
    config = {"effort": effort} if effort else None
    top_k = options.value("top_k") if thinking is None else None
    return without_none({"thinking": thinking, "output_config": config, "top_k": top_k})


def _metadata(options: Options) -> dict[str, object] | None:
    option = options.take("metadata")
    if option is None:
        return None
    if isinstance(option.value, dict) and all(isinstance(value, str) for value in option.value.values()):
        return option.value
    options.put_back("metadata", option)
    return None


def _tier(options: Options) -> object:
    option = options.take("service_tier")
    if option is None:
        return None
    if option.value in _TIERS:
        return {"type": option.value}
    options.put_back("service_tier", option)
    return None


def _output(output: OutputFormat | None, losses: Losses) -> object:
    if output is None:
        return None
    if output.schema is None:
        losses.add(output.at, "the other API answers in JSON only by a schema")
        return None
    schema = write_json(output.schema).decode()
    definition = {"schema": schema, "name": output.name, "description": output.description}
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": without_none(definition)}}}


def _tools(call: Call, losses: Losses) -> dict[str, object] | None:
    tools = named_tools(call, losses)
    choice = call.tool_choice
    if not tools:
        return None
    if choice is not None and choice.choosing is Choosing.NONE:
        if not any(isinstance(part, ToolCall | ToolResult) for turn in call.turns for part in turn.parts):
            return None
        losses.add(choice.at, "the other API cannot forbid the tools that a conversation has used")
    return without_none({"tools": [_tool(tool) for tool in tools], "toolChoice": _tool_choice(choice, losses)})


def _tool(tool: Tool) -> object:
    schema = {"json": tool.schema or {"type": "object", "properties": {}}}
    fields = {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": schema,
        "strict": tool.is_strict or None,
    }
    return {"toolSpec": without_none(fields)}


def _tool_choice(choice: ToolChoice | None, losses: Losses) -> object:
    if choice is None or choice.choosing is Choosing.NONE:
        return None
    if choice.is_custom:
        losses.add(choice.at, "the custom tool that it names was not sent")
        return None
    if choice.choosing is Choosing.NAMED:
        return {"tool": {"name": choice.names[0]}}
    return {"any": {}} if choice.choosing is Choosing.REQUIRED else {"auto": {}}


def _message(turn: Turn, losses: Losses) -> object:
    content = [block for part in turn.parts if (block := _block(part, losses)) is not None]
    return {"role": turn.role.value, "content": content}


def _block(part: Part, losses: Losses) -> object:
    match part:
        case ToolCall():
            arguments = as_object(part.arguments, part.at, losses)
            return {"toolUse": {"toolUseId": fitting_id(part.id), "name": part.name, "input": arguments}}
        case ToolResult():
            return {"toolResult": _tool_result(part)}
        case Thinking():
            return {"reasoningContent": _thought(part)} if is_of(part, Keeper.ANTHROPIC, losses) else None
        case Audio():
            return {"audio": {"format": part.format, "source": {"bytes": part.data}}}
        case Image():
            if part.detail is not None:
                losses.add(part.at, "how closely to look at an image was left out")
            return _shown(part)
        case _:
            return _shown(part)


def _thought(thinking: Thinking) -> object:
    if thinking.is_redacted:
        return {"redactedContent": thinking.signature}
    return {"reasoningText": {"text": thinking.text, "signature": thinking.signature}}


def _tool_result(result: ToolResult) -> object:
    content = [_shown(part) for part in without_blanks(result.parts)] or [{"text": "(empty)"}]
    status = {"status": "error"} if result.is_error else {}
    return {"toolUseId": fitting_id(result.call_id), "content": content, **status}


def _shown(part: Part) -> object:
    match part:
        case Text() | Refusal():
            return {"text": part.text}
        case Image(Inline(media_type, data)) if media_type in _IMAGES:
            return {"image": {"format": _IMAGES[media_type], "source": {"bytes": data}}}
        case File(PlainText(text)):
            return {"document": {"format": "txt", "name": _name(part), "source": {"text": text}}}
        case File(Inline(media_type, data)) if media_type in _FILES:
            form = _FILES[media_type]
            return {"document": {"format": form, "name": _name(part), "source": {"bytes": data}}}
        case Image() | File():
            raise not_carried("an image or file that is not within the body, or of this media type,", part.at)
        case _:
            raise not_carried("a part of this type", part.at)


def _name(file: File) -> str:
    """Return a document's name in the characters that Converse allows."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in file.name or "")
    return " ".join(kept.split())[:200] or "document"
