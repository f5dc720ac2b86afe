"""An Anthropic Messages request, read."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from plano_asgi.conversation import Role
from plano_asgi.translate.call import (
    Call,
    Choosing,
    Effort,
    File,
    Image,
    Inline,
    Keeper,
    Link,
    Option,
    OutputFormat,
    Part,
    PlainText,
    Stored,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from plano_asgi.translate.media import not_carried
from plano_asgi.translate.options import read_numbers, read_options
from plano_asgi.translate.taking import Taking, children
from plano_asgi.translate.thoughts import unmarked
from plano_asgi.translate.tool_calls import as_text
from plano_asgi.wire.fields import an_array, invalid, missing, wrong_type
from plano_asgi.wire.inline_policy import INLINE_KEYS

_ROLES: Final = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}
_CHOOSING: Final = {"auto": Choosing.AUTO, "any": Choosing.REQUIRED, "none": Choosing.NONE, "tool": Choosing.NAMED}
_ONLY_HERE: Final = "only Messages has it"
_RUN_BY_PROVIDER: Final = "a tool that its provider runs is not translated"


def read_request(body: Taking) -> Call:
    """Return the call that a body makes.

    Raises:
        WireFormatError: The body does not have this API's shape.
        NotTranslatableError: It holds what no other API has a place for, and the call would be another without.
    """
    body.ignore("model", *INLINE_KEYS)
    messages = body.take("messages")
    if messages is None:
        raise missing("messages")
    an_array(messages, "messages")
    system = Turn(Role.SYSTEM, tuple(_content(body, "system")), "system")
    turns = [_turn(message) for message in children(messages, "messages", body.losses)]
    config, thinking = body.child("output_config"), body.child("thinking")
    choice = body.child("tool_choice")
    call = Call(
        turns=(*([system] if system.parts else []), *turns),
        tools=tuple(tool for taken in body.children("tools") if (tool := _tool(taken)) is not None),
        tool_choice=_tool_choice(choice),
        output=_output(config.child("format")) if config else None,
        effort=_effort(thinking, config),
        options=_options(body) | _parallel(choice) | _summary(thinking),
        is_stream=bool(body.flag("stream")),
    )
    for child in (config, choice, thinking):
        if child is not None:
            child.rest()
    body.rest(_ONLY_HERE)
    return call


def _options(body: Taking) -> dict[str, Option]:
    limit = body.whole("max_tokens")
    if limit is None:
        raise missing("max_tokens")
    options = {"max_tokens": Option(limit, "max_tokens")}
    options |= read_numbers(body, ("temperature", "top_p", "top_k"))
    stop = read_options(body, ("stop_sequences",)).get("stop_sequences")
    if stop is not None:
        if not isinstance(stop.value, list) or not all(isinstance(text, str) for text in stop.value):
            raise wrong_type("stop_sequences", "an array of strings")
        options["stop"] = stop
    tier = body.choice("service_tier", {"auto", "standard_only"})
    if tier is not None:
        options["service_tier"] = Option("auto" if tier == "auto" else "default", "service_tier")
    metadata = body.child("metadata")
    user = metadata and metadata.text("user_id")
    if metadata is not None:
        metadata.rest()
        if user:
            options["user"] = Option(user, "metadata.user_id")
    return options


def _parallel(choice: Taking | None) -> dict[str, Option]:
    is_off = choice and choice.flag("disable_parallel_tool_use")
    return {"parallel_tool_calls": Option(value=False, at="tool_choice.disable_parallel_tool_use")} if is_off else {}


def _summary(thinking: Taking | None) -> dict[str, Option]:
    if thinking is None:
        return {}
    thinking.lose("display", _ONLY_HERE, unless=("summarized",))
    is_shown = thinking.take("display") == "summarized"
    return {"reasoning_summary": Option("auto", thinking.place("display"))} if is_shown else {}


def _tool_choice(choice: Taking | None) -> ToolChoice | None:
    if choice is None:
        return None
    kind = choice.choice("type", _CHOOSING) or ""
    if kind not in _CHOOSING:
        raise missing(choice.place("type"))
    names = (choice.required_text("name"),) if kind == "tool" else ()
    return ToolChoice(_CHOOSING[kind], names, at=choice.at)


def _output(form: Taking | None) -> OutputFormat | None:
    if form is None:
        return None
    form.choice("type", {"json_schema"})
    output = OutputFormat(form.fields("schema") or {}, is_strict=True, at=form.at)
    form.rest()
    return output


def _effort(thinking: Taking | None, config: Taking | None) -> Effort | None:
    level = config.text("effort") if config else None
    if thinking is None:
        return Effort(level, at="output_config.effort") if level else None
    kind = thinking.required_text("type")
    budget = thinking.whole("budget_tokens")
    if kind == "disabled":
        return Effort("none", at=thinking.at)
    if kind == "enabled" and budget is not None and level is None:
        return Effort(budget=budget, at=thinking.place("budget_tokens"))
    return Effort(level, at="output_config.effort" if level else thinking.at)


def _tool(tool: Taking) -> Tool | None:
    if tool.text("type") not in {None, "custom"}:
        tool.losses.add(tool.at, _RUN_BY_PROVIDER)
        return None
    schema = tool.fields("input_schema")
    if schema is None:
        raise missing(tool.place("input_schema"))
    read = Tool(tool.required_text("name"), schema, tool.text("description"), tool.flag("strict"), at=tool.at)
    tool.lose("allowed_callers", _ONLY_HERE, unless=(["direct"],))
    tool.lose("defer_loading", _ONLY_HERE, unless=(False,))
    tool.ignore("eager_input_streaming")
    tool.rest(_ONLY_HERE)
    return read


def _turn(message: Taking) -> Turn:
    role = _ROLES.get(message.required_text("role"))
    if role is None:
        raise invalid(message.place("role"), f"expected one of {', '.join(_ROLES)}")
    turn = Turn(role, tuple(_content(message, "content")), message.at)
    message.rest()
    return turn


def _content(parent: Taking, key: str) -> list[Part]:
    value = parent.take(key)
    at = parent.place(key)
    if value is None or isinstance(value, str):
        return [Text(value, at)] if value else []
    if not isinstance(value, list):
        raise wrong_type(at, "a string or an array of blocks")
    parts: list[Part] = []
    for block in children(value, at, parent.losses):
        parts += _block(block)
    return parts


def _block(block: Taking) -> list[Part]:
    kind = block.required_text("type")
    read = _BLOCKS.get(kind)
    if read is None:
        if kind in _NEVER_DROPPED:
            raise not_carried("a block of this type", block.at)
        block.losses.add(block.at, _RUN_BY_PROVIDER)
        return []
    parts = read(block)
    block.rest(_ONLY_HERE)
    return parts


def _tool_use(block: Taking) -> list[Part]:
    arguments = as_text(block.fields("input") or {})
    block.ignore("caller")
    return [ToolCall(block.required_text("id"), block.required_text("name"), arguments, at=block.at)]


def _tool_result(block: Taking) -> list[Part]:
    content = _content(block, "content")
    kept = tuple(part for part in content if isinstance(part, Text | Image | File))
    return [ToolResult(block.required_text("tool_use_id"), kept, bool(block.flag("is_error")), at=block.at)]


def _thinking(block: Taking) -> list[Part]:
    thought = unmarked(block.required_text("thinking"), block.text("signature"), Keeper.ANTHROPIC)
    return [replace(thought, at=block.at)]


def _redacted(block: Taking) -> list[Part]:
    thought = unmarked("", block.required_text("data"), Keeper.ANTHROPIC)
    return [replace(thought, is_redacted=thought.maker is Keeper.ANTHROPIC, at=block.at)]


def _image(block: Taking) -> list[Part]:
    source = block.required_child("source")
    kind = source.required_text("type")
    if kind == "base64":
        return [Image(_inline(source), at=block.at)]
    if kind == "url":
        return [Image(Link(source.required_text("url")), at=block.at)]
    if kind == "file":
        return [Image(Stored(source.required_text("file_id"), Keeper.ANTHROPIC), at=block.at)]
    raise invalid(source.place("type"), "expected base64, url or file")


def _document(block: Taking) -> list[Part]:
    name = block.text("title")
    source = block.required_child("source")
    kind = source.required_text("type")
    if kind == "content":
        block.losses.add(source.at, "a document of blocks was sent as those blocks")
        return _content(source, "content")
    sources: Mapping[str, Callable[[], Inline | Link | Stored | PlainText]] = {
        "base64": lambda: _inline(source),
        "url": lambda: Link(source.required_text("url")),
        "file": lambda: Stored(source.required_text("file_id"), Keeper.ANTHROPIC),
        "text": lambda: PlainText(source.required_text("data")),
    }
    if kind not in sources:
        raise invalid(source.place("type"), f"expected content, {', '.join(sources)}")
    return [File(sources[kind](), name, block.at)]


def _inline(source: Taking) -> Inline:
    return Inline(source.required_text("media_type"), source.required_text("data"))


def _search_result(block: Taking) -> list[Part]:
    block.losses.add(block.at, "a search result was sent as its text")
    block.ignore("citations")
    heading = Text(f"{block.text('title') or ''} ({block.text('source') or ''})", block.at)
    return [heading, *_content(block, "content")]


_NEVER_DROPPED: Final = frozenset({"container_upload", "audio", "video"})
_BLOCKS: Final[Mapping[str, Callable[[Taking], list[Part]]]] = {
    "text": lambda block: [Text(block.required_text("text"), block.at)],
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
}
