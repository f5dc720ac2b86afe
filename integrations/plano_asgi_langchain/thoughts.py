"""Thoughts in LangChain's messages that nobody but their maker takes back: those that are signed or sealed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage

from plano_asgi.wire.continuity import seal_digest

_WITHIN: Final = ("extras", "value", "reasoning_content")  # where standard blocks and Bedrock's keep the provider's own
_SEALS: Final = ("signature", "encrypted_content")
_REDACTED: Final = "redacted_thinking"


def parts_of(message: BaseMessage) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of a message; text that stands alone is a part too."""
    content = message.content
    for part in [content] if isinstance(content, str) else content:
        yield {"type": "text", "text": part} if isinstance(part, str) else part


def latest_signature(messages: Sequence[BaseMessage]) -> str | None:
    """Return the digest of the latest signed or sealed thought, None where there is none.

    It is the digest that the same thought has in a body of Messages or Responses.
    """
    answers = (message for message in reversed(messages) if isinstance(message, AIMessage))
    seal = next((seal for answer in answers if (seal := seal_of(answer))), None)
    return None if seal is None else seal_digest(seal)


def seal_of(answer: AIMessage) -> str | None:
    """Return the signature or seal of an answer's latest thought, None where it has none."""
    return next((seal for block in reversed(list(_blocks(answer))) if (seal := _seal(block))), None)


def _blocks(answer: AIMessage) -> Iterator[Mapping[str, Any]]:
    """Yield whatever of an answer may bear a seal: OpenAI's reasoning, its parts, and what is within those."""
    if isinstance(reasoning := answer.additional_kwargs.get("reasoning"), Mapping):
        yield reasoning
    for part in parts_of(answer):
        yield part
        yield from (inner for key in _WITHIN if isinstance(inner := part.get(key), Mapping))


def _seal(block: Mapping[str, Any]) -> str | None:
    keys = (*_SEALS, "data") if block.get("type") == _REDACTED else _SEALS
    return next((seal for key in keys if isinstance(seal := block.get(key), str) and seal), None)
