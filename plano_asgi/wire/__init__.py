"""The API formats: recognise a call by its path, read it, rewrite it, answer it with an error.

A format is one module and one line in `FORMATS`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.wire import chat_completions, messages, responses
from plano_asgi.wire.error_bodies import error_body, error_event, error_status
from plano_asgi.wire.fields import Fields
from plano_asgi.wire.inline_policy import INLINE_KEYS
from plano_asgi.wire.json_document import JsonDocument, read_document, splice

__all__ = [
    "FORMATS",
    "JsonDocument",
    "WireFormat",
    "error_body",
    "error_event",
    "error_status",
    "read_call",
    "read_document",
    "recognise",
    "rewrite",
]


@dataclass(frozen=True, slots=True)
class WireFormat:
    """One API format: the end of its path, and how its bodies are read."""

    path: str
    read: Callable[[Fields], LLMCall]


FORMATS: Final[Mapping[ApiFormat, WireFormat]] = MappingProxyType(
    {
        ApiFormat.CHAT_COMPLETIONS: WireFormat(chat_completions.PATH, chat_completions.read),
        ApiFormat.MESSAGES: WireFormat(messages.PATH, messages.read),
        ApiFormat.RESPONSES: WireFormat(responses.PATH, responses.read),
    }
)


def recognise(path: str) -> ApiFormat | None:
    """Return the API format whose calls go to paths that end like this one, or None."""
    return next((api_format for api_format, wire in FORMATS.items() if path.endswith(wire.path)), None)


def read_call(document: JsonDocument, api_format: ApiFormat) -> LLMCall:
    """Return the call that a document makes.

    Raises:
        WireFormatError: The document does not have the API's shape.
    """
    return FORMATS[api_format].read(document.value)


def rewrite(document: JsonDocument, *, model: str | None, cut: Collection[str] = INLINE_KEYS) -> bytes:
    """Return the body with `model` set (None leaves it) and an inline policy cut; every other byte as it came."""
    return splice(document, replace={} if model is None else {"model": model}, cut=cut)
