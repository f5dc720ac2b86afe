"""What of a call a model reads. Pure.

Texts of messages are taken as they are; all else that is not structure, such as tools and their calls and results, as
JSON. Images and files are counted by their number, sealed thoughts by their bytes, but only where an API has them:
among parts of messages and results. What a tool is called with is JSON, whatever it looks like.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Final

import orjson

from plano_asgi.conversation import Conversation

_TURNS: Final = frozenset({"messages", "input"})
_INSTRUCTIONS: Final = frozenset({"system", "instructions"})
_READ: Final = frozenset(
    {
        *(*_TURNS, "tools", "functions", "response_format", "text", "output_format", "output_config", "prompt"),
        "prediction",
    }
)
_DIGEST_BYTES: Final = 16
_FILES: Final = frozenset(
    {
        "image",
        "image_url",
        "input_image",
        "file",
        "input_file",
        "document",
        "audio",
        "input_audio",
        "computer_screenshot",
    }
)
_OF_A_FILE: Final = frozenset(
    {
        *("type", "cache_control", "detail", "source", "image", "image_url", "audio", "input_audio", "url"),
        *("file", "file_data", "file_id", "file_url"),
    }
)
_SEALED: Final[Mapping[str, str]] = {
    "thinking": "signature",
    "redacted_thinking": "data",
    "reasoning": "encrypted_content",
    "compaction": "encrypted_content",
    "web_search_result": "encrypted_content",
}
_PARTS: Final = frozenset({"content", "output"})
_PARTS_OF: Final[Mapping[str, str]] = {"code_interpreter_call": "outputs", "assistant": "images"}
_IMAGES: Final[Mapping[str, str]] = {"image_generation_call": "result"}
_OF_A_TURN: Final = frozenset({"role", "type", "content", "cache_control"})
_OF_A_TEXT: Final = frozenset({"type", "text", "cache_control"})


@dataclass(frozen=True)
class Said:
    """What a model reads of a call; its words are not in its `repr`.

    Attributes:
        texts: The texts, one for each message and one for each thing beside them.
        messages: How many messages there are, at least one.
        files: How many images and files.
        sealed_bytes: How many bytes of thoughts that only their provider can open.
    """

    texts: tuple[str, ...] = field(repr=False)
    messages: int
    files: int = 0
    sealed_bytes: int = 0

    @property
    def characters(self) -> int:
        """How long the texts are together."""
        return sum(map(len, self.texts))

    @cached_property
    def digested(self) -> tuple[tuple[bytes, str], ...]:
        """The texts that say something, each with a digest of it."""
        return tuple([(_digest(text), text) for text in self.texts if text])


def said_in(body: Mapping[str, object]) -> Said:
    """Return what a model reads of a call of any of the APIs, whatever shape it has."""
    reading, messages = _Reading(), 0
    for name, value in body.items():
        if name in _TURNS and isinstance(value, list):
            messages += len(value)
            for turn in value:
                reading.turn(turn)
        elif name in _INSTRUCTIONS:
            reading.turn({"content": value})
        elif name == "prompt" and isinstance(value, dict) and isinstance(variables := value.get("variables"), dict):
            reading.turn({"content": list(variables.values())})
        elif name in _READ and value is not None:
            reading.texts.append(value if isinstance(value, str) else _json(value))
    return Said(tuple(reading.texts), max(1, messages), reading.files, reading.sealed_bytes)


def said_by(conversation: Conversation) -> Said:
    """Return what a model reads of a conversation, as far as a router has read it."""
    texts = tuple(message.text for message in conversation)
    return Said(texts, messages=max(1, len(texts)), files=sum(message.has_image for message in conversation))


class _Reading:
    """One body, as far as it is read."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.texts: list[str] = []
        self.files = 0
        self.sealed_bytes = 0

    def turn(self, turn: object) -> None:
        """Take one message, or another item of the conversation."""
        if not isinstance(turn, dict):
            self.texts.append(turn if isinstance(turn, str) else _json(turn))
            return
        content = turn.get("content")
        if isinstance(content, str) and turn.keys() <= _OF_A_TURN:
            self.texts.append(content)
            return
        said = self._said(content)
        if rest := {name: value for name, value in turn.items() if name not in _OF_A_TURN}:
            kind = turn.get("type", "message")
            said.append(_json(self._readable_members(rest, kind=turn.get("role") if kind == "message" else kind)))
        self.texts.append("\n".join(filter(None, said)))

    def _said(self, content: object) -> list[str]:
        """Return what each part of a message's content says."""
        parts = content if isinstance(content, list) else [] if content is None else [content]
        return [self._part(part) for part in parts]

    def _part(self, part: object) -> str:
        """Return what one part of a message says."""
        if isinstance(part, str):
            return part
        if isinstance(part, dict) and isinstance(text := part.get("text"), str) and part.keys() <= _OF_A_TEXT:
            return text
        readable = self._readable(part)
        return readable if isinstance(readable, str) else _json(readable)

    def _readable(self, part: object) -> object:
        """Return parts without images, files and sealed thoughts, which are counted instead."""
        if isinstance(part, list):
            return [self._readable(inner) for inner in part]
        if not isinstance(part, dict):
            return part
        kind = part.get("type")
        if isinstance(kind, str) and kind in _FILES:
            return self._file(part)
        return self._readable_members(part, kind=kind)

    def _readable_members(self, members: Mapping[str, object], *, kind: object) -> dict[str, object]:
        """Return what a part or a turn of a kind has; only its content or output may have parts of their own."""
        known = kind if isinstance(kind, str) else ""
        return {name: self._readable_member(name, value, known) for name, value in members.items()}

    def _readable_member(self, name: str, value: object, kind: str) -> object:
        if name in _PARTS or name == _PARTS_OF.get(kind):
            return self._readable(value)
        if isinstance(value, str) and name == _IMAGES.get(kind):
            self.files += 1
            return ""
        if isinstance(value, str) and name == _SEALED.get(kind):
            self.sealed_bytes += len(_bytes(value))
            return ""
        return value

    def _file(self, file: Mapping[str, object]) -> str:
        """Return the texts of a file that is sent as text, and what is said beside a file; count any other."""
        match file.get("source"):
            case {"type": "text", "data": str() as text}:
                said = [text]
            case {"type": "content", "content": str() | list() as content}:
                said = self._said(content)
            case _:
                said = []
                self.files += 1
        for beside in (file, file.get("file")):
            if isinstance(beside, dict) and (rest := {k: v for k, v in beside.items() if k not in _OF_A_FILE}):
                said.append(_json(rest))
        return "\n".join(filter(None, said))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _digest(text: str) -> bytes:
    return blake2b(_bytes(text), digest_size=_DIGEST_BYTES).digest()


def _json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # nested deeper than it writes, and less deeply than a body may be
        return repr(value)
