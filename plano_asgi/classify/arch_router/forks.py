"""What a fork leaves behind: a model that was loaded before works in the parent alone.

ONNX Runtime waits for a session's threads when the session is destroyed, and a forked child has none of them. So a
child never destroys what it inherited, not even when it ends, and loads its own. What is left costs no memory: it is
the parent's.
"""

import ctypes
import os
from functools import cache
from typing import Protocol
from weakref import WeakSet


class Inheritable(Protocol):
    """Holds what does not survive a fork."""

    def leave_behind(self) -> object:
        """Start anew in a forked child, and return what must never be destroyed there."""
        ...


_known: WeakSet[Inheritable] = WeakSet()


def watch_forks(who: Inheritable) -> None:
    """Let somebody start anew in each process that is forked from now on."""
    _known.add(who)
    _watch_once()


@cache
def _watch_once() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_start_anew)


def _start_anew() -> None:
    for who in list(_known):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(who.leave_behind()))
