"""Responses calls that go on from an answer: what they name, and the whole conversation in their stead."""

from collections.abc import Sequence
from typing import Final

from plano_asgi.wire.exact_json import with_exact_numbers, write_json
from plano_asgi.wire.fields import Fields, a_string, invalid, wrong_type
from plano_asgi.wire.json_document import JsonDocument, read_document

PREVIOUS: Final = "previous_response_id"
MOST_ID_CHARS: Final = 512


def previous_id(body: Fields) -> str | None:
    """Return the id of the answer that a call goes on from, or None.

    Raises:
        WireFormatError: It is no id.
    """
    value = body.get(PREVIOUS)
    if value is None:
        return None
    if not 1 <= len(found := a_string(value, PREVIOUS)) <= MOST_ID_CHARS:
        raise invalid(PREVIOUS, f"an id has 1 to {MOST_ID_CHARS} characters")
    return found


def is_to_be_kept(body: Fields) -> bool:
    """Return whether a call's answer may be gone on from, which is so unless the call forbids it.

    Raises:
        WireFormatError: `store` is neither true nor false.
    """
    value = body.get("store")
    if value is not None and not isinstance(value, bool):
        raise wrong_type("store", "true or false")
    return value is not False


def items_of(document: JsonDocument) -> list[object]:
    """Return a call's input as items; words alone are a user's message."""
    said = _exactly(document).get("input")
    if isinstance(said, str):
        return [{"type": "message", "role": "user", "content": said}]
    return list(said) if isinstance(said, list) else []


def resumed(document: JsonDocument, items: Sequence[object]) -> JsonDocument:
    """Return a call with what was said before ahead of its input, and no id of it.

    Raises:
        WireFormatError: It nests too deeply.
    """
    body = {key: value for key, value in _exactly(document).items() if key != PREVIOUS}
    return read_document(write_json(body | {"input": [*items, *items_of(document)]}))


def _exactly(document: JsonDocument) -> dict[str, object]:
    value = with_exact_numbers(document.data, document.value)
    if not isinstance(value, dict):
        raise TypeError
    return value
