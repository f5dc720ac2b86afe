"""Keys that are pressed while a screen is shown, where there is a terminal that tells of them."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from select import select
from time import sleep
from typing import Final

INTERRUPT: Final = b"\x03"  # Ctrl-C, where the terminal makes no signal of it
QUIT: Final = b"qQ" + INTERRUPT
CONTROL_CHARACTERS: Final = 6  # their place in what termios.tcgetattr returns
_MOST_KEYS: Final = 64
_HAS_TERMINALS: Final = find_spec("termios") is not None

Waits = Callable[[float], bool]


@contextmanager
def quit_key() -> Iterator[Waits]:
    """Yield what waits for so many seconds, and returns at once, and that it was, where `q` is pressed meanwhile.

    Ctrl-C is a key like `q`: an exception in the middle of whatever is being drawn or asked may get lost there. Keys
    are neither shown nor held back until a line ends. The terminal is as it was when the context ends, however it does.
    Where stdin is no terminal, or the system has no such, there are no keys.
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
        attributes = termios.tcgetattr(keyboard)
        attributes[CONTROL_CHARACTERS][termios.VINTR] = os.fpathconf(keyboard, "PC_VDISABLE").to_bytes(1, "little")
        termios.tcsetattr(keyboard, termios.TCSADRAIN, attributes)
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
