"""Marks by which Anthropic's API keeps a prompt's beginning in its cache, where the caller has set none.

A mark stands on the last block of what is to be kept; tools come before instructions, and those before messages. A call
has at most four. Source: https://docs.claude.com/en/docs/build-with-claude/prompt-caching
"""

from typing import Any, Final

from plano_asgi.wire import read_document
from plano_asgi.wire.exact_json import with_exact_numbers, write_json

BYTES_PER_TOKEN: Final = 4
_MARK: Final = {"type": "ephemeral"}
_UNMARKABLE: Final = ("thinking", "redacted_thinking")


def with_cache_marks(body: bytes, *, least_tokens: int) -> bytes:
    """Return a Messages body with marks after its tools, its instructions and what was said last.

    It is returned as it is where its caller has set marks, or where all of it has fewer than `least_tokens`, at four
    bytes each: so little is not kept.
    """
    if len(body) < least_tokens * BYTES_PER_TOKEN or b'"cache_control"' in body:
        return body
    document = read_document(body)
    value: Any = with_exact_numbers(document.data, document.value)
    if isinstance(value.get("system"), str) and value["system"].strip():
        value["system"] = [{"type": "text", "text": value["system"]}]
    messages = value.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else {}
    if isinstance(last, dict) and isinstance(last.get("content"), str) and last["content"].strip():
        last["content"] = [{"type": "text", "text": last["content"]}]
    said = last.get("content") if isinstance(last, dict) else None
    marked = [_mark(blocks) for blocks in (value.get("tools"), value.get("system"), said)]
    return write_json(value) if any(marked) else body


def _mark(blocks: Any) -> bool:  # noqa: ANN401 - JSON of any shape
    """Mark the last of some blocks, and return whether it could be."""
    if not isinstance(blocks, list) or not blocks or not isinstance(blocks[-1], dict):
        return False
    last = blocks[-1]
    if last.get("type") in _UNMARKABLE or (last.get("type") == "text" and not str(last.get("text")).strip()):
        return False
    last["cache_control"] = dict(_MARK)
    return True
