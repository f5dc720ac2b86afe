"""JSON that is read, moved and written again: a number that Python cannot hold keeps its text.

orjson reads an integer beyond 64 bits, and a fraction of more digits than a double has, as the nearest double. Where a
document has a number that long, it is read a second time by the standard library, which hands over each number's text.
"""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import orjson

from plano_asgi.errors import WireFormatError

_LONG_NUMBER: Final = re.compile(rb"[0-9][0-9.]{15}")
_OF_NUMBERS: Final = bytes.maketrans(b"123456789.", b"0" * 10)
_LONG: Final = b"0" * 16  # to find it is ten times as fast as the pattern, which almost no document has
_LONGEST_INTEGER: Final = 18  # digits that surely fit 64 bits


@dataclass(frozen=True, slots=True)
class ExactNumber:
    """A number by its text, because neither a 64-bit integer nor a double is the same number."""

    text: str


def read_json(data: bytes) -> object:
    """Return what the bytes mean; numbers are `int`, `float` or, where neither holds them, `ExactNumber`.

    Raises:
        ValueError: They are not JSON in UTF-8, or nest too deeply.
    """
    value: object = orjson.loads(data)
    return with_exact_numbers(data, value)


def with_exact_numbers(data: bytes, value: object) -> object:
    """Return what `data` means, of which `value` is what orjson read.

    Raises:
        ValueError: It nests too deeply.
    """
    if _LONG not in data.translate(_OF_NUMBERS) or not _LONG_NUMBER.search(data):
        return value
    try:
        return json.loads(data, parse_int=_integer, parse_float=_fraction)
    except RecursionError:
        raise ValueError("the document nests too deeply") from None


def write_json(value: object) -> bytes:
    """Return the value as JSON without spaces; `ExactNumber` and `orjson.Fragment` stand as they are.

    Raises:
        WireFormatError: It nests too deeply.
    """
    try:
        return orjson.dumps(value, default=_as_written, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    except orjson.JSONEncodeError:
        message = "the body nests too deeply to be written in the other API; flatten it"
        raise WireFormatError(message, code="too_deep") from None


def _integer(text: str) -> object:
    return int(text) if len(text) <= _LONGEST_INTEGER else ExactNumber(text)


def _fraction(text: str) -> object:
    value = float(text)
    return value if Decimal(text) == Decimal(repr(value)) else ExactNumber(text)


def _as_written(value: object) -> object:
    if isinstance(value, ExactNumber):
        return orjson.Fragment(value.text)
    raise TypeError
