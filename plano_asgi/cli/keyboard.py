"""Keys that are pressed while a screen is shown, where there is a terminal that tells of them."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from select import select
from time import sleep
from typing import Final

QUIT: Final = b"qQ"
_MOST_KEYS: Final = 64
_HAS_TERMINALS: Final = find_spec("termios") is not None

Waits = Callable[[float], bool]


@contextmanager
def quit_key() -> Iterator[Waits]:
    """Yield what waits for so many seconds, and returns whether `q` was pressed meanwhile; then it returns at once.

    Keys are neither shown nor held back until a line ends; the terminal is as it was when the context ends, however it
    does. Where stdin is no terminal, or the system has no such, there are no keys.
    """
    if not _HAS_TERMINALS or not sys.stdin.isatty():
        yield slept
        return
    import termios  # noqa: PLC0415 - of POSIX systems
    import tty  # noqa: PLC0415 - same

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield lambda seconds: _is_quit_pressed(keyboard, seconds)
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def slept(seconds: float) -> bool:
    """Wait for so many seconds, and return that no key was pressed."""
    sleep(seconds)
    return False


def _is_quit_pressed(keyboard: int, seconds: float) -> bool:
    ready, _, _ = select([keyboard], [], [], seconds)
    if not ready:
        return False
    keys = os.read(keyboard, _MOST_KEYS)
    return not keys or any(key in QUIT for key in keys)
