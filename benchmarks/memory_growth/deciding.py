"""Growth over calls through the decision endpoint.

Every text is new, so each good call is classified; cache and sessions are small enough to be full after warm-up; a
tenth of the calls brings its own policy, a twentieth is broken. The baseline is as many calls that are refused before
they are read.
"""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track

from benchmarks.memory_growth.resident import resident_bytes
from plano_asgi.assembly import build_router
from plano_asgi.http.server import create_app
from plano_asgi.settings import STARTING_FILE, load_settings

WARM_UP_CALLS: Final = 2_000
PATH: Final = "/routing/v1/chat/completions"
WORDS: Final = (
    "write",
    "explain",
    "fix",
    "translate",
    "plan",
    "draft",
    "sum",
    "draw",
    "test",
    "letter",
    "garden",
    "engine",
    "poem",
)


async def growth_of_decisions(calls: int) -> tuple[float, float]:
    """Return the growth of resident memory in bytes a call: of mixed calls, and of refused ones."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "plano.yaml"
        config.write_text(STARTING_FILE, encoding="utf-8")
        settings = load_settings(config, environ={"PLANO_CACHE__SIZE": "500", "PLANO_SESSIONS__SIZE": "500"})
    router = build_router(settings)
    router.start()
    app = create_app(settings, router)
    numbers = count()
    for body in bodies(WARM_UP_CALLS, numbers):
        await post(app, body)
    before = resident_bytes()
    for body in track(bodies(calls, numbers), "mixed calls", total=calls, console=Console(stderr=True)):
        await post(app, body)
    between = resident_bytes()
    for _ in range(calls):
        await post(app, b"{")
    after = resident_bytes()
    router.close()
    return (between - before) / calls, (after - between) / calls


def bodies(calls: int, numbers: Iterator[int]) -> Iterator[bytes]:
    """Yield bodies that differ: every tenth brings a policy of its own, every twentieth is broken."""
    for _ in range(calls):
        number = next(numbers)
        said = " ".join(WORDS[(number * step) % len(WORDS)] for step in (1, 3, 7)) + f" {number}"
        body: dict[str, object] = {"model": "auto", "messages": [{"role": "user", "content": said}]}
        if number % 10 == 0:
            route = {
                "name": f"route {number % 50}",
                "description": "all kinds of letters",
                "models": ["openai/gpt-4o-mini"],
            }
            body["routing_preferences"] = [route]
        data = json.dumps(body).encode()
        yield data[:-1] if number % 20 == 1 else data


async def post(app: object, body: bytes) -> None:
    """Send one call to the app, without a server between."""

    async def receive() -> dict[str, object]:
        await asyncio.sleep(0)  # as a server does; the event loop forgets cancelled timers only when it gets a turn
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: object) -> None:
        del message

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": PATH, "root_path": "", "headers": headers, "query_string": b""}
    await app(scope, receive, send)  # type: ignore[operator]  # any ASGI app
