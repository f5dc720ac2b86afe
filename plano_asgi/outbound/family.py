"""The HTTP library that a caller uses, httpx or httpx2; whichever it is, it is loaded already, and not imported here.

The two are alike in everything that is used of them. Their classes are `Any` to a type checker, since a call may be
made of either.
"""

import socket
import sys
from functools import cache
from typing import Any, Final

Family = Any
"""The module `httpx` or `httpx2`."""

MOST_CONNECTIONS: Final = 1_000  # as the official SDKs have it
MOST_IDLE_CONNECTIONS: Final = 100
_NAMES: Final = frozenset({"httpx", "httpx2"})
_KEEP_ALIVE: Final = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),)


def family_of(value: object) -> Family:
    """Return the library that an object is of, by its class or what that is derived from.

    Raises:
        TypeError: It is of neither.
    """
    for kind in type(value).__mro__:
        if (name := kind.__module__.partition(".")[0]) in _NAMES:
            return sys.modules[name]
    raise TypeError(f"expected an object of httpx or httpx2, got {type(value).__qualname__}")


def new_transport(family: Family, *, is_async: bool) -> Any:  # noqa: ANN401 - see Family
    """Return a transport of the library itself, with the limits of the official SDKs."""
    limits = family.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_IDLE_CONNECTIONS)
    make = family.AsyncHTTPTransport if is_async else family.HTTPTransport
    return make(limits=limits, socket_options=_KEEP_ALIVE)


@cache
def joined(own: type, base: type) -> Any:  # noqa: ANN401 - see Family
    """Return a class that does as our own does, and that the library takes for one of its own."""
    return type(own.__name__, (own, base), {})
