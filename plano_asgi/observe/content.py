"""What callers and models say, as OpenTelemetry's conventions write it; only for who has switched that on."""

import json
from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from plano_asgi.conversation import ApiFormat, Conversation, LLMCall, Message, Role
from plano_asgi.observe import conventions as names
from plano_asgi.translate.call import Refusal, Text, Thinking, ToolCall

MOST_CHARS: Final = 16_384
MOST_NAME_CHARS: Final = 256
CUT: Final = "…"
_FRAME_CHARS: Final = 32  # of a part, whatever is in it
_INSTRUCTIONS: Final = {ApiFormat.MESSAGES: "system", ApiFormat.RESPONSES: "instructions"}

Part = dict[str, object]
Said = Text | Refusal | Thinking | ToolCall


class Room:
    """How much may still be told in one attribute: 16,384 characters in all."""

    def __init__(self) -> None:
        """Start with all of it."""
        self._left = MOST_CHARS

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be told."""
        return self._left <= 0

    def fitted(self, text: str) -> str:
        """Return as much of a text as there is room for; one that is cut ends with `…`, half characters become `?`."""
        most, self._left = max(0, self._left), self._left - len(text) - _FRAME_CHARS
        told = text if len(text) <= most else text[:most] + CUT
        return told.encode("utf-8", "replace").decode()


def content_of_call(call: LLMCall, body: Mapping[str, object]) -> names.Attributes:
    """Return what a caller says; instructions by themselves where its API has them apart from the messages.

    Args:
        call: The call.
        body: What the caller sent; where it is empty, instructions stand among the messages.
    """
    conversation, told = call.conversation, dict[str, str]()
    if body.get(_INSTRUCTIONS.get(call.api_format, "")) and conversation and conversation[0].role is Role.SYSTEM:
        instructions, *rest = conversation
        conversation = tuple(rest)
        told[names.SYSTEM_INSTRUCTIONS] = _json([_text(Room().fitted(instructions.text))])
    return {**told, names.INPUT_MESSAGES: _json(_messages(conversation))}


def content_of_answer(said: Iterable[Said], *, finish: str) -> str:
    """Return what a model says as one message, which ended for that reason."""
    room = Room()
    parts = [_said(one, room) for one in said if not room.is_full]
    return _json([{"role": Role.ASSISTANT.value, "parts": parts, "finish_reason": finish}])


def _messages(conversation: Conversation) -> list[Part]:
    """Return as many of the newest messages as there is room for, the oldest of them first."""
    room, told = Room(), list[Part]()
    for message in reversed(conversation):
        if room.is_full:
            break
        told.append({"role": message.role.value, "parts": _parts(message, room)})
    return told[::-1]


def _parts(message: Message, room: Room) -> list[Part]:
    text = room.fitted(message.text)
    if message.role is Role.TOOL:
        return [{"type": "tool_call_response", "response": text}]
    parts = [_text(text)] if text else []
    parts += [{"type": "tool_call", "name": room.fitted(name[:MOST_NAME_CHARS])} for name in message.tool_calls[:64]]
    return [*parts, {"type": "image"}] if message.has_image else parts


def _said(said: Said, room: Room) -> Part:
    if isinstance(said, ToolCall):
        name, id_ = (room.fitted(text[:MOST_NAME_CHARS]) for text in (said.name, said.id))
        return {
            "type": "tool_call",
            "id": id_ or None,
            "name": name,
            "arguments": _arguments(room.fitted(said.arguments)),
        }
    kind = "reasoning" if isinstance(said, Thinking) else "text"
    return {"type": kind, "content": room.fitted(said.text)}


def _arguments(text: str) -> object:
    """Return a tool's arguments as the object that they are; as text where they are none, or were cut."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return found if isinstance(found, dict) else text


def _text(text: str) -> Part:
    return {"type": "text", "content": text}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
