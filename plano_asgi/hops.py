"""Through how many routers of this kind a call has come: what ends a loop that configurations have made."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from plano_asgi.errors import LoopError

HOP_HEADER: Final = "x-plano-hop"
MOST_HOPS: Final = 1

_NAME: Final = HOP_HEADER.encode()
_COUNT: Final = re.compile(rb"[1-9][0-9]{0,3}")
_of_this_call: ContextVar[int] = ContextVar("plano_asgi_hops", default=0)


def hops_of(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Return how many routers a call has come through, by its raw headers; 0 where they say nothing of use."""
    return max((_count(value) for name, value in headers if name.lower() == _NAME), default=0)


def check_hops(hops: int) -> None:
    """Guarantee that a call may be sent on.

    Raises:
        LoopError: It has come through more than one router already.
    """
    if hops > MOST_HOPS:
        message = "this call goes round in a loop of routers; a base_url leads back to a service that routes it again"
        raise LoopError(message)


@contextmanager
def carrying(hops: int) -> Iterator[None]:
    """Let calls that are made meanwhile, in this context, count as sent on by one that came with so many hops."""
    token = _of_this_call.set(hops)
    try:
        yield
    finally:
        _of_this_call.reset(token)


def current_hops() -> int:
    """Return with how many hops the call came that this context serves; 0 where it serves none."""
    return _of_this_call.get()


def _count(value: bytes) -> int:
    return int(value) if _COUNT.fullmatch(value.strip()) else 0
