"""A Chat Completions request, read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from plano_asgi.conversation import Role
from plano_asgi.errors import NotTranslatableError
from plano_asgi.translate.call import (
    Audio,
    Call,
    Choosing,
    Effort,
    File,
    Image,
    Keeper,
    Option,
    OutputFormat,
    Part,
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
from plano_asgi.translate.media import not_carried, read_detail, read_url
from plano_asgi.translate.options import read_numbers, read_options
from plano_asgi.translate.taking import Taking, children
from plano_asgi.wire.fields import a_string, an_array, invalid, place, required, wrong_type
from plano_asgi.wire.inline_policy import INLINE_KEYS

_ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.USER,
}
_CHOOSING: Final = {"auto": Choosing.AUTO, "none": Choosing.NONE, "required": Choosing.REQUIRED}
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
    "user",
    "verbosity",
)
_ONLY_HERE: Final = "only Chat Completions has it"
_DOING_NOTHING: Final[Mapping[str, tuple[object, ...]]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "modalities": (["text"],),
    "seed": (),
    "logit_bias": (),
    "prediction": (),
    "audio": (),
    "web_search_options": (),
}


def read_request(body: Taking) -> Call:
    """Return the call that a body makes.

    Raises:
        WireFormatError: The body does not have this API's shape.
        NotTranslatableError: It holds what no other API has a place for, and the call would be another without.
    """
    for old in ("functions", "function_call"):
        if body.take(old) is not None:
            raise NotTranslatableError(f"{old} is the form before tools and is not translated; send tools", param=old)
    for key, harmless in _DOING_NOTHING.items():
        body.lose(key, _ONLY_HERE, unless=harmless)
    body.ignore("model", *INLINE_KEYS)
    streaming = body.child("stream_options")
    messages = children(
        an_array(required({"messages": body.take("messages")}, "messages"), "messages"), "messages", body.losses
    )
    call = Call(
        turns=tuple(_turn(message) for message in messages),
        tools=tuple(tool for taken in body.children("tools") if (tool := _tool(taken)) is not None),
        tool_choice=_tool_choice(body),
        output=_output(body.child("response_format")),
        effort=_effort(body),
        options=_options(body),
        is_stream=bool(body.flag("stream")),
        wants_usage=bool(streaming and streaming.flag("include_usage")),
    )
    if streaming:
        streaming.ignore("include_obfuscation")
        streaming.rest()
    body.rest()
    return call


def _options(body: Taking) -> dict[str, Option]:
    options = read_options(body, _SHARED) | read_numbers(body, ("temperature", "top_p", "top_k"))
    for key in ("max_tokens", "max_completion_tokens"):  # the second is the newer name, and counts
        limit = body.whole(key)
        if limit is not None:
            options["max_tokens"] = Option(limit, key)
    stop = body.take("stop")
    if stop:
        sequences = [stop] if isinstance(stop, str) else an_array(stop, "stop")
        options["stop"] = Option([a_string(s, place("stop", i)) for i, s in enumerate(sequences)], "stop")
    return options


def _effort(body: Taking) -> Effort | None:
    level = body.text("reasoning_effort")
    return Effort(level, at="reasoning_effort") if level else None


def _output(form: Taking | None) -> OutputFormat | None:
    kind = form and form.required_text("type")
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        form.rest()
        return OutputFormat(None, at=form.at)
    if kind != "json_schema":
        raise invalid(form.place("type"), "expected text, json_object or json_schema")
    schema = form.required_child("json_schema")
    output = OutputFormat(
        schema.fields("schema") or {},
        schema.required_text("name"),
        schema.text("description"),
        schema.flag("strict"),
        at=form.at,
    )
    schema.rest()
    return output


def _tool(tool: Taking) -> Tool | None:
    kind = tool.required_text("type")
    if kind not in {"function", "custom"}:
        tool.losses.add(tool.at, "a tool that its provider runs is not translated")
        return None
    called = tool.required_child(kind)
    is_function = kind == "function"
    read = Tool(
        called.required_text("name"),
        (called.fields("parameters") or {}) if is_function else None,
        called.text("description"),
        called.flag("strict"),
        _flat_format(called.child("format")) if not is_function else None,
        at=tool.at,
    )
    called.rest()
    tool.rest()
    return read


def _flat_format(form: Taking | None) -> dict[str, object] | None:
    """Return a custom tool's format as the Responses API writes it: the grammar's fields beside its type."""
    if form is None:
        return None
    grammar = form.fields("grammar") or {}
    return {"type": form.required_text("type"), **grammar}


def _tool_choice(body: Taking) -> ToolChoice | None:
    value = body.take("tool_choice")
    if value is None:
        return None
    at = "tool_choice"
    if isinstance(value, str):
        if value not in _CHOOSING:
            raise invalid(at, f"expected one of {', '.join(_CHOOSING)}")
        return ToolChoice(_CHOOSING[value], at=at)
    if not isinstance(value, dict):
        raise wrong_type(at, "a string or an object")
    choice = Taking(value, at, body.losses)
    kind = choice.required_text("type")
    if kind in {"function", "custom"}:
        name = choice.required_child(kind).required_text("name")
        return ToolChoice(Choosing.NAMED, (name,), is_custom=kind == "custom", at=at)
    if kind != "allowed_tools":
        raise invalid(choice.place("type"), "expected function, custom or allowed_tools")
    allowed = choice.required_child(kind)
    names = tuple(
        tool.required_child(tool.required_text("type")).required_text("name") for tool in allowed.children("tools")
    )
    return ToolChoice(_CHOOSING[allowed.choice("mode", {"auto", "required"}) or "auto"], names, at=at)


def _turn(message: Taking) -> Turn:
    role_name = message.required_text("role")
    role = _ROLES.get(role_name)
    if role is None:
        raise invalid(message.place("role"), f"expected one of {', '.join(_ROLES)}")
    parts = _content(message, role)
    if role_name == "tool":
        result = tuple(part for part in parts if isinstance(part, Text))
        parts = [ToolResult(message.required_text("tool_call_id"), result, at=message.at)]
        message.ignore("name")
    if role is Role.ASSISTANT:
        parts = [*_thoughts(message), *parts, *_refusal(message), *_tool_calls(message)]
        if message.take("audio") is not None:
            message.losses.add(message.place("audio"), _ONLY_HERE)
    message.rest()
    return Turn(role, tuple(parts), message.at)


def _thoughts(message: Taking) -> Sequence[Part]:
    """Return what providers other than OpenAI call `reasoning_content`."""
    text = message.text("reasoning_content")
    return [Thinking(text, at=message.place("reasoning_content"))] if text else []


def _refusal(message: Taking) -> Sequence[Part]:
    refusal = message.text("refusal")
    return [Refusal(refusal, message.place("refusal"))] if refusal else []


def _tool_calls(message: Taking) -> Sequence[Part]:
    calls: list[Part] = []
    for call in message.children("tool_calls"):
        is_custom = call.text("type") == "custom"
        called = call.required_child("custom" if is_custom else "function")
        arguments = called.text("input" if is_custom else "arguments") or ""
        calls.append(ToolCall(call.required_text("id"), called.required_text("name"), arguments, is_custom, call.at))
        call.ignore("index")
        called.rest()
        call.rest()
    return calls


def _content(message: Taking, role: Role) -> list[Part]:
    value = message.take("content")
    at = message.place("content")
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [Text(value, at)]
    if not isinstance(value, list):
        raise wrong_type(at, "a string or an array of parts")
    return [_part(part, role) for part in children(value, at, message.losses)]


def _part(part: Taking, role: Role) -> Part:
    kind = part.required_text("type")
    read = _PARTS.get(kind)
    if read is None or (role is not Role.USER and kind not in {"text", "refusal"}):
        raise not_carried("a part of this type", part.at)
    result = read(part)
    part.rest()
    return result


def _image(part: Taking) -> Part:
    image = part.required_child("image_url")
    source = read_url(image.required_text("url"), image.place("url"))
    return Image(source, read_detail(image), part.at)


def _file(part: Taking) -> Part:
    file = part.required_child("file")
    name, file_id = file.text("filename"), file.text("file_id")
    if file_id:
        return File(Stored(file_id, Keeper.OPENAI), name, part.at)
    return File(read_url(file.required_text("file_data"), file.place("file_data")), name, part.at)


def _audio(part: Taking) -> Part:
    audio = part.required_child("input_audio")
    return Audio(audio.required_text("format"), audio.required_text("data"), part.at)


_PARTS: Final[Mapping[str, Callable[[Taking], Part]]] = {
    "text": lambda part: Text(part.required_text("text"), part.at),
    "refusal": lambda part: Refusal(part.required_text("refusal"), part.at),
    "image_url": _image,
    "file": _file,
    "input_audio": _audio,
}
