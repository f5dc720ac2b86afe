"""`plano-asgi top` as people see it: in a terminal, beside a server that goes on deciding."""

import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from select import select
from time import monotonic, sleep
from typing import Any, Final

import httpx
import pytest

CONFIGURATION: Final = """\
mode: forward
model_providers:
  - {model: openai/gpt-4o-mini, default: true, base_url: "http://127.0.0.1:9/v1", access_key: k}
  - model: openai/gpt-4o
    base_url: "http://127.0.0.1:9/v1"
    access_key: k
    routing_preferences: [{name: code, description: "writing code, functions and programs"}]
failover: {attempts: 1}
"""
ROWS, COLUMNS = 40, 120
IN_ITS_TERMINAL: Final = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "plano_asgi", *sys.argv[1:]])
"""
MARKUP: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ALTERNATE, PLAIN, CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"
PATIENCE_S: Final = 30.0


@dataclass
class Terminal:
    """A terminal, what stands in it, and the program that has it.

    Attributes:
        keyboard: Where keys are pressed, and where what is written comes out.
        program: Who has it.
        written: Everything that was written so far.
    """

    keyboard: int
    program: "subprocess.Popen[bytes]"
    written: str = field(default="", repr=False)

    @property
    def screen(self) -> str:
        """What was drawn last, with single spaces."""
        return re.sub(r"[ \r]+", " ", MARKUP.sub("", self.written.rpartition("\x1b[H")[2]))

    def shows(self, pattern: str) -> bool:
        """Return whether the screen comes to show something."""
        return self._read_until(lambda: re.search(pattern, self.screen) is not None)

    def press(self, keys: bytes) -> int:
        """Press keys, and return the exit code of the program, which ends then."""
        os.write(self.keyboard, keys)
        return self.end()

    def press_while(self, is_so: Callable[[], bool], keys: bytes) -> int:
        """Press keys again and again while something is so, and return the exit code of the program."""
        until = monotonic() + PATIENCE_S
        while is_so() and self.program.poll() is None and monotonic() < until:
            os.write(self.keyboard, keys)
            sleep(0.1)  # two signals that come at once are one
            self._read(within_s=0)
        return self.end()

    def end(self) -> int:
        """Return the exit code of the program, once it has ended."""
        assert self._read_until(lambda: self.program.poll() is not None), self.screen
        while self._read(within_s=0):
            pass
        return self.program.wait(1)

    def _read_until(self, is_so: Callable[[], bool]) -> bool:
        """Take what comes until something is so, and return whether it has come to be."""
        until = monotonic() + PATIENCE_S
        while not is_so():
            if monotonic() > until:
                return False
            self._read(within_s=0.05)
        return True

    def _read(self, *, within_s: float) -> bool:
        """Take what comes within so many seconds, and return whether anything has."""
        is_there = bool(select([self.keyboard], [], [], within_s)[0])
        if is_there:
            self.written += os.read(self.keyboard, 65_536).decode(errors="replace")
        return is_there


@contextmanager
def terminal(*arguments: str, folder: Path) -> Iterator[tuple[Terminal, int]]:
    """Run the command in a terminal of its own; yield that, and the side of it that the command has."""
    keyboard, screen = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    command = [sys.executable, "-c", IN_ITS_TERMINAL, *arguments]
    environ = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd()))}
    program = subprocess.Popen(
        command, stdin=screen, stdout=screen, stderr=screen, start_new_session=True, cwd=folder, env=environ
    )
    try:
        yield Terminal(keyboard, program), screen
    finally:
        program.kill()
        program.wait(10)
        os.close(keyboard)
        os.close(screen)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a configuration in it."""
    folder = tmp_path_factory.mktemp("top")
    (folder / "plano.yaml").write_text(CONFIGURATION, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def url(launch: Callable[..., Any], folder: Path) -> str:
    """Return where a real `plano-asgi serve` listens."""
    command = [sys.executable, "-m", "plano_asgi", "serve", "--port", "{port}"]
    environ = {"PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd()))}
    return str(launch(command, folder=folder, environ=environ).url)


def call(url: str, text: str, path: str = "/routing/v1/chat/completions") -> int:
    """Make a call to the server, and return its status."""
    body = {"messages": [{"role": "user", "content": text}]}
    return httpx.post(f"{url}{path}", json=body, headers={"x-request-id": "mine"}, trust_env=False).status_code


def test_screen_follows_the_server_and_gives_the_terminal_back(url: str, folder: Path) -> None:
    """Routes, shares and times are shown and change with every call, failures come last, and `q` ends it all."""
    assert call(url, "Write a function that sorts a list of numbers") == 200

    with terminal("top", "--url", url, folder=folder) as (shown, screen):
        before = termios.tcgetattr(screen)
        assert shown.shows(r"route share calls conf\. p50 ms p95 ms"), shown.screen
        assert shown.shows(r"code █+ 100% 1 0\.\d\d \d+\.\d \d+\.\d"), shown.screen
        assert "last errors" not in shown.screen
        assert call(url, "Thanks, that was all!") == 200
        assert shown.shows(r"code █+ 50% 1 [^\n]+\nnone of these █+ 50% 1 "), shown.screen
        assert call(url, "Write a function that adds two numbers", "/v1/chat/completions") == 502
        assert shown.shows(r"last errors request what"), shown.screen
        assert shown.shows(r"\d\d:\d\d:\d\d mine openai/gpt-4o: \w+; answered with 502"), shown.screen
        assert shown.shows(r"code █+ 67% 2 "), shown.screen
        assert shown.shows("q quits"), shown.screen

        assert shown.press(b"xq") == 0
        assert termios.tcgetattr(screen) == before
    assert ALTERNATE in shown.written
    assert shown.written.rfind(PLAIN) > shown.written.rfind(ALTERNATE)
    assert CURSOR in shown.written[shown.written.rfind(ALTERNATE) :]
    assert "Traceback" not in shown.written


def test_interrupt_ends_it_as_well(url: str, folder: Path) -> None:
    """Ctrl-C is no failure either, and leaves the terminal as it was."""
    with terminal("top", "--url", url, folder=folder) as (shown, screen):
        before = termios.tcgetattr(screen)
        assert shown.shows(r"q quits"), shown.screen

        assert shown.press(b"\x03") == 0
        assert termios.tcgetattr(screen) == before
    assert shown.written.rfind(PLAIN) > shown.written.rfind(ALTERNATE)
    assert "Traceback" not in shown.written


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["terminate", "hang up"])
def test_signal_that_ends_it_leaves_the_terminal_as_it_was(url: str, folder: Path, number: signal.Signals) -> None:
    """Who ends it from elsewhere finds the terminal as it was before, and in the exit code what ended it."""
    with terminal("top", "--url", url, folder=folder) as (shown, screen):
        before = termios.tcgetattr(screen)
        assert shown.shows(r"q quits"), shown.screen
        assert termios.tcgetattr(screen) != before

        shown.program.send_signal(number)

        assert shown.end() == 128 + number
        assert termios.tcgetattr(screen) == before
    assert shown.written.rfind(PLAIN) > shown.written.rfind(ALTERNATE)
    assert "Traceback" not in shown.written


def test_second_interrupt_waits_for_no_server(folder: Path) -> None:
    """While the server hangs in the middle of an answer, Ctrl-C pressed again ends it, and leaves the terminal well."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(PATIENCE_S)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with listening, terminal("top", "--url", url, folder=folder) as (shown, screen):
        before = termios.tcgetattr(screen)
        with listening.accept()[0] as newest:
            newest.recv(65_536)
            newest.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 28\r\n\r\n{"decisions":[],"next":null}')
        with listening.accept()[0] as hanging:
            hanging.recv(65_536)
            assert shown.shows(r"q quits"), shown.screen

            assert shown.press_while(lambda: termios.tcgetattr(screen) != before, b"\x03") == 0
        assert termios.tcgetattr(screen) == before
    assert shown.written.rfind(PLAIN) > shown.written.rfind(ALTERNATE)
    assert "Traceback" not in shown.written
