"""Typed access to the fields of a JSON body; a wrong one is a `WireFormatError` that names its place."""

from collections.abc import Mapping, Sequence

from plano_asgi.errors import WireFormatError
from plano_asgi.providers import MAX_MODEL_CHARS

Fields = Mapping[str, object]


def place(parent: str, key: str | int) -> str:
    """Return the place of a child: `messages[0].role`."""
    if isinstance(key, int):
        return f"{parent}[{key}]"
    return f"{parent}.{key}" if parent else key


def wrong_type(at: str, expected: str) -> WireFormatError:
    """Return the error for a value of the wrong JSON type."""
    return WireFormatError(f"{at} has the wrong type; expected {expected}", code="invalid_type", param=at)


def missing(at: str) -> WireFormatError:
    """Return the error for a field that must be there."""
    return WireFormatError(f"{at}: Field required", code="missing_required_parameter", param=at)


def invalid(at: str, why: str) -> WireFormatError:
    """Return the error for a value that is of the right type and still not allowed."""
    return WireFormatError(f"{at}: {why}", code="invalid_value", param=at)


def an_object(value: object, at: str) -> Fields:
    """Return the value as an object."""
    if not isinstance(value, dict):
        raise wrong_type(at, "an object")
    return value


def an_array(value: object, at: str, *, allow_empty: bool = False) -> Sequence[object]:
    """Return the value as an array, which is not empty unless that is allowed."""
    if not isinstance(value, list):
        raise wrong_type(at, "an array")
    if not value and not allow_empty:
        raise WireFormatError(f"{at} is empty; send at least one element", code="empty_array", param=at)
    return value


def a_string(value: object, at: str) -> str:
    """Return the value as a string."""
    if not isinstance(value, str):
        raise wrong_type(at, "a string")
    return value


def required(fields: Fields, key: str, at: str = "") -> object:
    """Return a field's value; a missing or null one is an error."""
    value = fields.get(key)
    if value is None:
        raise missing(place(at, key))
    return value


def required_string(fields: Fields, key: str, at: str = "") -> str:
    """Return a field's value as a string; a missing or null one is an error."""
    value = required(fields, key, at)
    if not isinstance(value, str):
        raise wrong_type(place(at, key), "a string")
    return value


def model(fields: Fields) -> str | None:
    """Return the model the client names, None where it names none; fit to stand in a log line or header."""
    value = fields.get("model")
    if value is None:
        return None
    name = a_string(value, "model")
    if not 1 <= len(name) <= MAX_MODEL_CHARS:
        raise invalid("model", f"a model name has 1 to {MAX_MODEL_CHARS} characters")
    if not name.isascii() or not name.isprintable() or " " in name or ".." in name:
        raise invalid("model", "a model name is printable ASCII without spaces or '..'")
    return name


def is_stream(fields: Fields) -> bool:
    """Return whether the client asks for a stream."""
    value = fields.get("stream")
    if value is not None and not isinstance(value, bool):
        raise wrong_type("stream", "true or false")
    return bool(value)
