"""How a caller wants its answer made, as OpenTelemetry's conventions name it."""

import math
from collections.abc import Mapping
from typing import Final

from plano_asgi.observe import conventions as names

MOST_STOP_SEQUENCES: Final = 16
MOST_STOP_CHARS: Final = 64
_INTEGERS: Final = range(-(2**63), 2**63)  # what OTLP carries
_WHOLE: Final[Mapping[str, tuple[str, ...]]] = {
    names.REQUEST_MAX_TOKENS: ("max_completion_tokens", "max_output_tokens", "max_tokens"),
    names.REQUEST_TOP_K: ("top_k",),
    names.REQUEST_SEED: ("seed",),
    names.REQUEST_CHOICES: ("n",),
}
_FRACTIONS: Final = {
    names.REQUEST_TEMPERATURE: "temperature",
    names.REQUEST_TOP_P: "top_p",
    names.REQUEST_FREQUENCY_PENALTY: "frequency_penalty",
    names.REQUEST_PRESENCE_PENALTY: "presence_penalty",
}
_JSON: Final = frozenset({"json_object", "json_schema"})

Body = Mapping[str, object]


def request_parameters(body: Body, *, has_content: bool) -> names.Attributes:
    """Return the parameters of a call in any of the three APIs; one that is no such value is left out.

    Args:
        body: What the caller sent.
        has_content: Whether words of the caller's are told, which stop sequences are: 16 of them, of 64 characters.
    """
    told: dict[str, str | bool | int | float | tuple[str, ...] | None] = {}
    for name, keys in _WHOLE.items():
        told[name] = next((number for key in keys if (number := _whole(body.get(key))) is not None), None)
    for name, key in _FRACTIONS.items():
        told[name] = _fraction(body.get(key))
    if told[names.REQUEST_CHOICES] == 1:
        told[names.REQUEST_CHOICES] = None
    told[names.OUTPUT_TYPE] = _output_type(body)
    told[names.REQUEST_STOP_SEQUENCES] = _stop_sequences(body) if has_content else None
    return {name: value for name, value in told.items() if value is not None}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value in _INTEGERS else None


def _fraction(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]  # a number, then


def _output_type(body: Body) -> str | None:
    """Return `json` where the caller asks for that."""
    text = body.get("text")
    wanted = body.get("response_format") or (text.get("format") if isinstance(text, Mapping) else None)
    return "json" if isinstance(wanted, Mapping) and wanted.get("type") in _JSON else None


def _stop_sequences(body: Body) -> tuple[str, ...] | None:
    value = body.get("stop_sequences") or body.get("stop")
    found = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    words = (word[:MOST_STOP_CHARS] for word in found[:MOST_STOP_SEQUENCES] if isinstance(word, str))
    return tuple(words) or None
