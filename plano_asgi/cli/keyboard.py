"""Keys and signals that come while a screen is shown, where the system has them."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from select import select
from threading import current_thread, main_thread
from time import sleep
from types import FrameType
from typing import Final, NoReturn

QUIT: Final = b"qQ"
_MOST_KEYS: Final = 64
_HAS_TERMINALS: Final = find_spec("termios") is not None

Waits = Callable[[float], bool]


@contextmanager
def quit_key() -> Iterator[Waits]:
    """Yield what waits for so many seconds, and returns at once, and that it was, where `q` is pressed meanwhile.

    Ctrl-C is a key like `q`: an exception in the middle of whatever is being drawn or asked may get lost there. Pressed
    again, it is a `KeyboardInterrupt`, for whoever hangs in the middle of that. SIGTERM and SIGHUP are a `SystemExit`
    of 128 and their number. Keys are neither shown nor held back until a line ends. The terminal is as it was when the
    context ends, however it does. Where stdin is no terminal, there are no keys; signals are heard in the main thread
    alone, and both on POSIX systems only.
    """
    if not _HAS_TERMINALS:
        yield slept
        return
    with ExitStack() as restored:
        sources = [restored.enter_context(_interrupts())]
        if sys.stdin.isatty():
            sources.append(restored.enter_context(_keys(sys.stdin.fileno())))
        yield lambda seconds: _is_quit(sources, seconds)


def slept(seconds: float) -> bool:
    """Wait for so many seconds, and return that no key was pressed."""
    sleep(seconds)
    return False


@contextmanager
def _keys(keyboard: int) -> Iterator[int]:
    """Yield where keys can be read as they are pressed."""
    import termios  # noqa: PLC0415 - of POSIX systems
    import tty  # noqa: PLC0415 - same

    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield keyboard
    finally:
        with suppress(termios.error):  # a terminal that has hung up has nothing to be restored
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextmanager
def _interrupts() -> Iterator[int]:
    """Yield where the first interrupt can be read; the second is raised, and more disturb nobody who tidies up."""
    told, teller = os.pipe()
    presses = count(1)

    def interrupt(number: int, frame: FrameType | None) -> None:
        match next(presses):
            case 1:
                os.write(teller, QUIT)
            case 2:
                signal.default_int_handler(number, frame)

    with ExitStack() as restored:
        restored.callback(os.close, teller)
        restored.callback(os.close, told)
        if current_thread() is main_thread():
            for number, handler in ((signal.SIGINT, interrupt), (signal.SIGTERM, _exit), (signal.SIGHUP, _exit)):
                before = signal.getsignal(number)
                if before not in {None, signal.SIG_IGN}:  # ignored as nohup has it, or somebody else's
                    restored.callback(signal.signal, number, before)
                    signal.signal(number, handler)
        yield told


def _exit(number: int, _: FrameType | None) -> NoReturn:
    for again in (signal.SIGTERM, signal.SIGHUP):  # one more would disturb who tidies up
        signal.signal(again, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _is_quit(sources: list[int], seconds: float) -> bool:
    ready, _, _ = select(sources, [], [], seconds)
    return any(_says_quit(os.read(source, _MOST_KEYS)) for source in ready)


def _says_quit(keys: bytes) -> bool:
    return not keys or any(key in QUIT for key in keys)
