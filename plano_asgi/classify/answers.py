"""What a generative router wrote, read as a route. Pure.

Theory of operation: the model was trained to write `{"route": "name"}`; it writes single quotes too, and puts words or
a code fence around it. Wherever a key `route` stands, the value behind it is read as JSON, then as one of the policy's
names in quotes as it is, so that `{'route': 'it's fine'}` has an answer, then as text in quotes up to the first that a
bracket, a comma or the end follows. The first key with a value that can be read counts.
"""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from plano_asgi.errors import UnreadableAnswerError
from plano_asgi.preferences import NO_ROUTE_NAME

MOST_CHARS: Final = 4_096  # an answer is some 30 characters; words around it are forgiven up to here

_KEY = re.compile(r"""(?:\{\s*|(?P<quote>["'`]))route(?(quote)(?P=quote))\s*[:=]\s*""", re.IGNORECASE)
_QUOTED = re.compile(r"""(?P<quote>["'])(?P<text>.*?)(?P=quote)\s*(?:[},`]|$)""", re.DOTALL)
_NOTHING = re.compile(r"(?:null|none|nil)\b", re.IGNORECASE)
_ESCAPED_CHARACTER = re.compile(r"\\(['\"\\])")
_JSON: Final = json.JSONDecoder(strict=False)
_NO_ROUTE: Final = frozenset({"", NO_ROUTE_NAME})


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """What a generative router decided.

    Attributes:
        route: A route of the policy, or None for none of them.
        is_unknown: Whether it named a route that the policy does not have, which counts as none.
    """

    route: str | None
    is_unknown: bool = False


def read_answer(text: str, routes: Collection[str]) -> RouteAnswer:
    """Return the route that an answer names; nothing at all, `null`, the empty name and `other` are none of them.

    Args:
        text: What the model wrote; what is beyond its first 4,096 characters is not read.
        routes: The policy's routes. A name must be one of them to the letter, but for white space around it.

    Raises:
        UnreadableAnswerError: The text names no route and does not say that there is none; it is not quoted.
    """
    text = text[:MOST_CHARS].strip()
    if (bare := text.strip("`\"' \n")) in _NO_ROUTE or bare in routes:
        return RouteAnswer(None if bare in _NO_ROUTE else bare)
    for key in _KEY.finditer(text):
        readings = list(_readings(text[key.end() :], routes))
        for name in readings:
            if name in _NO_ROUTE or name in routes:
                return RouteAnswer(None if name in _NO_ROUTE else name)
        if readings:
            return RouteAnswer(None, is_unknown=True)
    raise UnreadableAnswerError("the router model's answer names no route; is it the model that the settings mean?")


def _readings(value: str, routes: Collection[str]) -> Iterator[str]:
    """Yield what the name at the start of a text may be, the likeliest first; nothing where it is no name."""
    try:
        read, _ = _JSON.raw_decode(value)
    except (ValueError, RecursionError):
        if _NOTHING.match(value):
            yield ""
    else:
        if read is None or isinstance(read, str):
            yield from (read, read.strip()) if read else ("",)
    if value[:1] not in {"'", '"'}:
        return
    as_it_is = (name for name in routes if value.startswith(name + value[0], 1))
    yield from sorted(as_it_is, key=len, reverse=True)
    if quoted := _QUOTED.match(value):
        yield _ESCAPED_CHARACTER.sub(r"\1", quoted["text"]).strip()
