"""What of a call a model reads. Pure.

Texts of messages are taken as they are; all else that is not structure, such as tools and their calls and results, as
JSON. Images and files are counted by their number, sealed thoughts by their bytes.
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
_READ: Final = frozenset({*_TURNS, "tools", "functions", "response_format", "text"})
_DIGEST_BYTES: Final = 16
_FILES: Final = frozenset(
    {"image", "image_url", "input_image", "file", "input_file", "document", "audio", "input_audio"}
)
_SEALED: Final = frozenset({"signature", "encrypted_content"})
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
        rest = {name: value for name, value in turn.items() if name not in _OF_A_TURN}
        parts = content if isinstance(content, list) else [] if content is None else [content]
        said = [self._part(part) for part in parts]
        if rest:
            said.append(_json(self._readable(rest)))
        self.texts.append("\n".join(filter(None, said)))

    def _part(self, part: object) -> str:
        """Return what one part of a message says."""
        if isinstance(part, str):
            return part
        if isinstance(part, dict) and isinstance(text := part.get("text"), str) and part.keys() <= _OF_A_TEXT:
            return text
        readable = self._readable(part)
        return readable if isinstance(readable, str) else _json(readable)

    def _readable(self, value: object) -> object:
        """Return a value without images, files and sealed thoughts, which are counted instead."""
        if isinstance(value, list):
            return [self._readable(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        if isinstance(kind := value.get("type"), str) and kind in _FILES:
            return self._file(value)
        return {name: self._member(name, inner) for name, inner in value.items()}

    def _member(self, name: str, value: object) -> object:
        if name in _SEALED and isinstance(value, str):
            self.sealed_bytes += len(value)
            return ""
        return self._readable(value)

    def _file(self, file: Mapping[str, object]) -> str:
        """Return the text of a file that is sent as text; count any other."""
        source = file.get("source")
        if isinstance(source, dict) and source.get("type") == "text" and isinstance(text := source.get("data"), str):
            return text
        self.files += 1
        return ""


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def _json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # nested deeper than it writes, and less deeply than a body may be
        return repr(value)
