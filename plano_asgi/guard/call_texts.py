"""The texts of a call: where its body says something that somebody has written, whatever the API."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import orjson

from plano_asgi.wire.exact_json import read_json, write_json

Change = Callable[[str], str]

_HOLDS_TEXTS: Final = ("system", "instructions", "messages", "input", "prompt", "prediction")
_HOLDS_NONE: Final = (
    frozenset(  # names, ids, and what a provider has signed or encoded: it would not be the same changed
        {
            *("type", "role", "id", "name", "call_id", "tool_call_id", "tool_use_id", "status", "phase", "media_type"),
            *("signature", "thinking", "encrypted_content", "data", "file_data", "file_id", "image_url", "url"),
            *("format", "cache_control", "detail", "filename", "previous_response_id"),
        }
    )
)
_HOLDS_JSON: Final = "arguments"
_OF_A_TOOL: Final = frozenset({"input", "arguments", "action", "attributes"})  # their keys are not the API's
_CONVERSATIONS: Final = frozenset({"messages", "input", "prompt"})
_OF_THE_SERVICE: Final = ("system", "developer")
_HEARD_WHOLE: Final = frozenset({"message", "input_text", "text"})
_RESULTS: Final = ("output", "outputs", "results")
_SPEAKERS: Final = ("user", "assistant", "system", "developer")


def texts_of(body: object) -> Iterator[str]:
    """Yield every text of a call's body."""
    seen: list[str] = []

    def note(text: str) -> str:
        seen.append(text)
        return text

    changed_body(body, note)
    yield from seen


def heard_texts(body: object) -> Iterator[str]:
    """Yield every text of a call's body that users have written, or tools have found: not the service, nor a model."""
    if isinstance(body, dict):
        for key in _CONVERSATIONS & body.keys():
            said = body[key]
            for turn in said if isinstance(said, list) else [said]:
                yield from texts_of({"input": _heard(turn)})


def _heard(turn: object) -> object:
    """Return what of a turn is neither the service's nor a model's own."""
    if not isinstance(turn, dict):
        return turn
    role, kind = turn.get("role"), str(turn.get("type", "message"))
    if role in _OF_THE_SERVICE:
        return None
    if role == "assistant":
        parts = turn.get("content")
        return [part for part in parts if _is_result(part)] if isinstance(parts, list) else None
    if role is None and kind not in _HEARD_WHOLE and not kind.endswith("_output"):
        return [turn.get(name) for name in _RESULTS]
    return turn


def _is_result(part: object) -> bool:
    return isinstance(part, dict) and str(part.get("type")).endswith("_result")


def changed_body(body: object, change: Change) -> object:
    """Return a call's body with every text changed; all else is the same value.

    Args:
        body: The parsed body.
        change: Returns what stands in a text's place.
    """
    if not isinstance(body, dict):
        return body
    return {key: _changed(value, change) if key in _HOLDS_TEXTS else value for key, value in body.items()}


def changed_bytes(data: bytes, change: Change) -> bytes:
    """Return a body's bytes with every text changed; the same bytes where nothing has changed.

    Raises:
        ValueError: They are not JSON.
    """
    before = read_json(data)
    after = changed_body(before, change)
    return data if after == before else write_json(after)


def _changed(value: object, change: Change) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(inner, change) for inner in value]
    if isinstance(value, dict):
        return {name: _changed_member(name, inner, change, value) for name, inner in value.items()}
    return value


def _changed_member(name: str, value: object, change: Change, beside: Mapping[str, object]) -> object:
    if isinstance(value, str):
        if name in _HOLDS_NONE and not _says_something(name, beside):
            return value
        return _changed_json(value, change) if name == _HOLDS_JSON else change(value)
    if name in _OF_A_TOOL:
        return _changed_everywhere(value, change)
    if name == "variables" and isinstance(value, dict):
        return {inner_name: _changed(inner, change) for inner_name, inner in value.items()}
    return _changed(value, change)


def _says_something(name: str, beside: Mapping[str, object]) -> bool:
    """Return whether a text stands where else none does: in a document, a thought unsigned, a name of who speaks."""
    match name:
        case "data":
            return beside.get("type") == "text"
        case "thinking":
            return not beside.get("signature")
        case "name":
            return beside.get("role") in _SPEAKERS
        case _:
            return False


def _changed_json(text: str, change: Change) -> str:
    """Return JSON within a text with its own texts changed; what is no JSON is changed as a text."""
    try:
        before = read_json(text.encode())
    except (orjson.JSONDecodeError, ValueError):
        return change(text)
    after = _changed_everywhere(before, change)
    return text if after == before else write_json(after).decode()


def _changed_everywhere(value: object, change: Change) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed_everywhere(inner, change) for inner in value]
    if isinstance(value, dict):
        return {change(name): _changed_everywhere(inner, change) for name, inner in value.items()}
    return value
