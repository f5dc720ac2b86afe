"""Growth over calls that the gateway serves: streamed, plain, failed over, given up by the caller, broken.

The provider is a process of its own on loopback; the caller is this one, with no server between. Cache and sessions are
small enough to be full after warm-up, and the classifier forgets what it was asked.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import track
from starlette.applications import Starlette

from benchmarks.gateway_cost.contenders import free_port, is_listening
from benchmarks.gateway_cost.provider import LONG
from benchmarks.memory_growth.resident import resident_bytes
from plano_asgi.assembly import build_router
from plano_asgi.http.server import create_app
from plano_asgi.settings import load_settings
from plano_asgi.testing import FixedClassifier

WARM_UP_CALLS: Final = 2_000
PATH: Final = "/v1/chat/completions"
CONFIG: Final = """
mode: forward
model_providers:
  - {{model: local/small, base_url: "http://127.0.0.1:{port}/v1", default: true}}
  - {{model: nobody/small, base_url: "http://127.0.0.1:9/v1"}}
routing_preferences:
  - {{name: databases, description: "writing SQL queries", models: [nobody/small, local/small]}}
failover: {{breaker_failures: 10, backoff_s: 0.001, backoff_max_s: 0.001, breaker_open_s: 0.001}}
"""


async def growth_of_forwarding(calls: int) -> float:
    """Return the growth of resident memory in bytes a call."""
    with _provider() as port:
        app = _app(port)
        for number in range(WARM_UP_CALLS):
            await _call(app, number)
        before = resident_bytes()
        for number in track(range(calls), "forwarded calls", console=Console(stderr=True)):
            await _call(app, number)
        growth = (resident_bytes() - before) / calls
        await app.state.service.aclose()
    return growth


async def bytes_of_slow_readers(readers: int) -> float:
    """Return the memory that a long stream holds whose reader has stopped, in bytes, with so many at a time."""
    with _provider() as port:
        app = _app(port)
        await _call(app, 0)
        before = resident_bytes()
        waiting = [_SlowReader() for _ in range(readers)]
        tasks = [asyncio.create_task(reader.read(app)) for reader in waiting]
        for reader in waiting:
            await reader.has_begun.wait()
        await asyncio.sleep(1.0)
        held = (resident_bytes() - before) / readers
        for reader in waiting:
            reader.may_go_on.set()
        await asyncio.gather(*tasks)
        shortest = min(reader.got for reader in waiting)
        await app.state.service.aclose()
    if shortest < LEAST_BYTES:
        raise RuntimeError(f"a slow reader has got {shortest} bytes")
    return held


LEAST_BYTES: Final = 4_000_000


class _SlowReader:
    """A caller that reads one piece of a stream of 4 MB, stops, and reads the rest when it may."""

    def __init__(self) -> None:
        self.has_begun, self.may_go_on = asyncio.Event(), asyncio.Event()
        self.got = 0

    async def read(self, app: Starlette) -> None:
        async def send(message: Any) -> None:  # noqa: ANN401 - what ASGI sends
            self.got += len(message.get("body", b""))
            if self.got:
                self.has_begun.set()
                await self.may_go_on.wait()

        await app(_scope(), _receive(_body(LONG.decode(), is_stream=True)), send)


async def _call(app: Starlette, number: int) -> None:
    """Make one call: of ten, four are streamed, three plain, one fails over, one is given up, one is broken."""
    kind = number % 10
    body = b"{" if kind == 9 else _body(f"SQL {number}", is_stream=kind < 4 or kind == 8)  # noqa: PLR2004 - as above
    is_given_up = kind == 8  # noqa: PLR2004 - same
    is_gone = asyncio.Event()

    async def send(message: Any) -> None:  # noqa: ANN401 - what ASGI sends
        if is_given_up and message.get("body"):
            is_gone.set()
            await asyncio.sleep(0)

    await app(_scope(), _receive(body, is_gone), send)


def _receive(body: bytes, is_gone: asyncio.Event | None = None) -> Any:  # noqa: ANN401 - as ASGI types it
    is_read = False
    gone = is_gone or asyncio.Event()

    async def receive() -> dict[str, object]:
        nonlocal is_read
        if is_read:
            await gone.wait()
            return {"type": "http.disconnect"}
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _scope() -> dict[str, Any]:
    headers = [(b"content-type", b"application/json")]
    return {"type": "http", "method": "POST", "path": PATH, "root_path": "", "headers": headers, "query_string": b""}


def _body(said: str, *, is_stream: bool) -> bytes:
    return json.dumps(
        {"model": "auto", "stream": is_stream, "messages": [{"role": "user", "content": said}]}, separators=(",", ":")
    ).encode()


def _app(port: int) -> Starlette:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "plano.yaml"
        config.write_text(CONFIG.format(port=port), encoding="utf-8")
        settings = load_settings(config, environ={"PLANO_CACHE__SIZE": "500", "PLANO_SESSIONS__SIZE": "500"})

    def forget() -> None:
        classifier.calls.clear()

    classifier = FixedClassifier({"databases": 0.9}, before=forget)
    router = build_router(settings, classifier=classifier)
    router.start()
    return create_app(settings, router)


@contextmanager
def _provider() -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.gateway_cost.provider", str(port)]
    with subprocess.Popen(command) as process:  # noqa: S603 - our own command
        while not is_listening(port):
            time.sleep(0.02)
        try:
            yield port
        finally:
            process.terminate()
