"""Requests whose provider speaks the caller's API: bytes as they came, but for the model and foreign signatures."""

import re
from typing import Final

from plano_asgi.conversation import ApiFormat
from plano_asgi.translate.losses import Losses
from plano_asgi.translate.thoughts import FOREIGN, MARK, OUR_REASONING
from plano_asgi.wire import JsonDocument, rewrite
from plano_asgi.wire.exact_json import with_exact_numbers, write_json
from plano_asgi.wire.inline_policy import INLINE_KEYS

_FOREIGN: Final = re.compile(
    rb'"signature"\s*:\s*""|' + re.escape(MARK).encode() + b"|" + re.escape(OUR_REASONING).encode()
)  # where none of this stands, nothing is foreign
_SEALS: Final = ("signature", "data", "encrypted_content")
_THOUGHTS: Final = ("thinking", "redacted_thinking", "reasoning")


def native_request(document: JsonDocument, source: ApiFormat, *, model: str, losses: Losses) -> bytes:
    """Return the body with its model replaced; thoughts that another provider has signed, or nobody, are taken out."""
    if not _FOREIGN.search(document.data):
        return rewrite(document, model=model)
    body = with_exact_numbers(document.data, document.value)
    if not isinstance(body, dict):
        raise TypeError
    kept = {key: value for key, value in body.items() if key not in INLINE_KEYS} | {"model": model}
    if source is ApiFormat.MESSAGES and isinstance(kept.get("messages"), list):
        for index, message in enumerate(kept["messages"]):
            if isinstance(message, dict) and isinstance(message.get("content"), list):
                message["content"] = _own(message["content"], f"messages[{index}].content", losses)
        kept["messages"] = [message for message in kept["messages"] if not _is_empty(message)]
    if source is ApiFormat.RESPONSES and isinstance(kept.get("input"), list):
        kept["input"] = _own(kept["input"], "input", losses)
    return write_json(kept)


def _own(blocks: list[object], at: str, losses: Losses) -> list[object]:
    kept = []
    for index, block in enumerate(blocks):
        if _is_foreign(block):
            losses.add(f"{at}[{index}]", FOREIGN)
        else:
            kept.append(block)
    return kept


def _is_foreign(block: object) -> bool:
    if not isinstance(block, dict) or block.get("type") not in _THOUGHTS:
        return False
    if str(block.get("id")).startswith(OUR_REASONING):
        return True
    seals = [block[key] for key in _SEALS if isinstance(block.get(key), str)]
    return any(seal.startswith(MARK) or not seal for seal in seals)


def _is_empty(message: object) -> bool:
    return isinstance(message, dict) and message.get("content") == []
