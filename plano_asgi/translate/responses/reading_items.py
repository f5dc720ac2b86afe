"""The items of a Responses request or answer, read as turns."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from plano_asgi.conversation import Role
from plano_asgi.translate.call import (
    File,
    Image,
    Keeper,
    Link,
    Part,
    Refusal,
    Stored,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    joined,
)
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.media import not_carried, read_detail, read_url
from plano_asgi.translate.taking import Taking, children
from plano_asgi.translate.thoughts import unmarked
from plano_asgi.wire.fields import a_string, invalid, missing, wrong_type

_ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}
_RUN_BY_PROVIDER: Final = "what its provider did or keeps is not translated"
_ONLY_HERE: Final = "only Responses has it"


def read_items(items: object, losses: Losses, *, at: str = "input") -> tuple[Turn, ...]:
    """Return the turns that the items of an `input` or `output` make; what a model did in a row is one turn."""
    turns = [turn for item in children(items, at, losses) if (turn := _turn(item)) is not None]
    return joined(tuple(turns), Role.ASSISTANT)


def _turn(item: Taking) -> Turn | None:
    kind = item.take("type")
    if kind is None:
        kind = "message" if item.take("role") is not None else "item_reference"
    read = _ITEMS.get(a_string(kind, item.place("type")))
    if read is None:
        item.losses.add(item.at, _RUN_BY_PROVIDER)
        return None
    turn = read(item)
    item.ignore("id", "status", "phase")
    item.rest(_ONLY_HERE)
    return turn


def _message(item: Taking) -> Turn:
    role = _ROLES.get(item.required_text("role"))
    if role is None:
        raise invalid(item.place("role"), f"expected one of {', '.join(_ROLES)}")
    return Turn(role, tuple(read_content(item, "content")), item.at)


def _function_call(item: Taking) -> Turn:
    call = ToolCall(item.required_text("call_id"), item.required_text("name"), item.text("arguments") or "", at=item.at)
    item.ignore("caller", "async")
    return Turn(Role.ASSISTANT, (call,), item.at)


def _custom_call(item: Taking) -> Turn:
    words = item.text("input") or ""
    call = ToolCall(item.required_text("call_id"), item.required_text("name"), words, is_custom=True, at=item.at)
    return Turn(Role.ASSISTANT, (call,), item.at)


def _output(item: Taking, *, is_custom: bool) -> Turn:
    call_id = item.required_text("call_id")
    parts = tuple(part for part in read_content(item, "output") if isinstance(part, Text | Image | File))
    item.ignore("name", "caller")
    return Turn(Role.USER, (ToolResult(call_id, parts, is_custom=is_custom, at=item.at),), item.at)


def read_reasoning(item: Taking) -> Thinking:
    """Return the thoughts of a reasoning item, whoever made them."""
    item_id = item.text("id") or ""
    said = [part.text("text") or "" for key in ("content", "summary") for part in item.children(key)]
    signature = item.text("encrypted_content")
    thought = unmarked("\n".join(said), signature, Keeper.OPENAI)
    own_id = item_id if thought.maker is Keeper.OPENAI else thought.item_id
    return replace(thought, item_id=own_id, at=item.at)


def read_content(item: Taking, key: str) -> list[Part]:
    """Return the parts of a string or of an array of content parts."""
    value = item.take(key)
    at = item.place(key)
    if value is None:
        raise missing(at)
    if isinstance(value, str):
        return [Text(value, at)] if value else []
    if not isinstance(value, list):
        raise wrong_type(at, "a string or an array of parts")
    return [_part(part) for part in children(value, at, item.losses)]


def _part(part: Taking) -> Part:
    kind = part.required_text("type")
    if kind not in _PARTS:
        raise not_carried("a part of this type", part.at)
    read = _PARTS[kind](part)
    part.ignore("logprobs")
    part.rest(_ONLY_HERE)
    return read


def _image(part: Taking) -> Part:
    detail, file_id = read_detail(part), part.text("file_id")
    if file_id:
        return Image(Stored(file_id, Keeper.OPENAI), detail, part.at)
    return Image(read_url(part.required_text("image_url"), part.place("image_url")), detail, part.at)


def _file(part: Taking) -> Part:
    name, file_id, url = part.text("filename"), part.text("file_id"), part.text("file_url")
    part.ignore("detail")
    if file_id:
        return File(Stored(file_id, Keeper.OPENAI), name, part.at)
    if url:
        return File(Link(url), name, part.at)
    return File(read_url(part.required_text("file_data"), part.place("file_data")), name, part.at)


def _text(part: Taking) -> Part:
    return Text(part.required_text("text"), part.at)


_PARTS: Final[Mapping[str, Callable[[Taking], Part]]] = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "summary_text": _text,
    "reasoning_text": _text,
    "refusal": lambda part: Refusal(part.required_text("refusal"), part.at),
    "input_image": _image,
    "input_file": _file,
}
_ITEMS: Final[Mapping[str, Callable[[Taking], Turn]]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": lambda item: _output(item, is_custom=False),
    "custom_tool_call": _custom_call,
    "custom_tool_call_output": lambda item: _output(item, is_custom=True),
    "reasoning": lambda item: Turn(Role.ASSISTANT, (read_reasoning(item),), item.at),
}
