"""Ids and arguments of tool calls, as the formats want them."""

import re
from hashlib import blake2b
from typing import Final

import orjson

from plano_asgi.translate.losses import Losses
from plano_asgi.wire.exact_json import write_json
from plano_asgi.wire.fields import Fields

_CHARACTERS: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_MOST_CHARACTERS: Final = 40  # the least of what the APIs are known to allow
WRAPPED: Final = "input"  # the one property in which free text becomes an object


def fitting_id(call_id: str) -> str:
    """Return an id that every API takes: this one where it is, else one that is derived from it and always the same.

    A call and its results keep each other, since both are derived from the same id. Nothing maps back, as an id that a
    provider makes is never changed on its way to the caller.
    """
    if len(call_id) <= _MOST_CHARACTERS and _CHARACTERS.fullmatch(call_id):
        return call_id
    return "call_" + blake2b(call_id.encode(), digest_size=16).hexdigest()


def as_object(arguments: str, at: str, losses: Losses) -> object:
    """Return arguments that are JSON text as JSON, number for number; what is no object is wrapped, and a loss."""
    text = arguments.strip()
    if not text:
        return {}
    if is_object(text):
        return orjson.Fragment(text)
    losses.add(at, f"arguments that are no JSON object were sent as the text of `{WRAPPED}`")
    return {WRAPPED: arguments}


def is_object(text: str) -> bool:
    """Return whether a text is a JSON object."""
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def as_text(arguments: Fields) -> str:
    """Return arguments that are a JSON object as JSON text."""
    return write_json(arguments).decode()
