"""What a session adds to a decision that is cached: microseconds in memory, round trips in Redis."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final, TypedDict

from benchmarks.middleware_cost.cases import Effort
from benchmarks.middleware_cost.figures import quietly
from plano_asgi.assembly import build_router
from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
from plano_asgi.router import Router
from plano_asgi.secret import Secret
from plano_asgi.settings import load_settings
from plano_asgi.stores import MemoryStore
from plano_asgi.stores.redis_server import RedisServer
from plano_asgi.testing import FixedClassifier

TEXT: Final = "Version nine. Write a script that removes the doubled jobs. " * 12
SYSTEM: Final = Message(role=Role.SYSTEM, text="You are the assistant of a small shop. " * 20)
LOOP: Final = (Message(role=Role.ASSISTANT, text="", tool_calls=("look",)), Message(role=Role.TOOL, text="ok " * 200))
LIMIT_US: Final = 30.0
NUMBERS: Final = count()


class Added(TypedDict):
    """Microseconds: the median, and what a tenth of the calls stay below."""

    added_us: float
    quiet_us: float


class SessionFigures(Added):
    """What a session adds to one kind of call: microseconds, those of the fastest tenth too, or questions to Redis."""

    case: str
    round_trips: float


def session_cost(effort: Effort) -> Sequence[SessionFigures]:
    """Return what sessions add, in memory and, where a redis-server can be started, in Redis."""
    figures = [_in_memory(kind, effort) for kind in ("a new turn", "within a loop")]
    if shutil.which("redis-server"):
        with _redis() as url:
            figures += [_in_redis(kind, url) for kind in ("a new turn", "within a loop")]
    return figures


def _in_memory(kind: str, effort: Effort) -> SessionFigures:
    with ExitStack() as routers:
        followed, bare = _router(routers, {}), _router(routers, None)
        times: dict[Router, list[float]] = {followed: [], bare: []}
        for number in range(effort.rounds * effort.pairs):
            call = _call(kind, followed, bare)
            for router in (followed, bare) if number % 2 else (bare, followed):
                started = perf_counter()
                router.route(call)
                times[router].append((perf_counter() - started) * 1e6)
    return {"case": f"{kind}, memory", **_added(times[followed], times[bare]), "round_trips": 0}


def _added(followed: Sequence[float], bare: Sequence[float]) -> Added:
    """Return what is added in general, and in the fastest tenth of the calls of either kind."""
    middle = median(one - other for one, other in zip(followed, bare, strict=True))
    return {"added_us": round(middle, 1), "quiet_us": round(quietly(followed) - quietly(bare), 1)}


def _in_redis(kind: str, url: str) -> SessionFigures:
    shared = {"sessions": {"store": "redis"}, "redis": {"url": url, "timeout_ms": 9_000.0}}
    server = RedisServer(Secret(url), timeout_s=9)
    with ExitStack() as routers:
        followed, bare = _router(routers, shared), _router(routers, None)
        with_it, without, asked = [], [], 0
        for _ in range(50):
            call = _call(kind, followed, bare)
            before, started = _scripts_run(server), perf_counter()
            followed.route(call)
            with_it.append((perf_counter() - started) * 1e6)
            asked += _scripts_run(server) - before
            started = perf_counter()
            bare.route(call)
            without.append((perf_counter() - started) * 1e6)
    server.close()
    return {"case": f"{kind}, Redis", **_added(with_it, without), "round_trips": asked / 50}


def _router(routers: ExitStack, changes: dict[str, object] | None) -> Router:
    """Return a router with sessions, or without where there are no changes to make to them."""
    providers = [{"model": "a/b", "default": True}]
    preferences = [{"name": "code", "description": "writing code", "models": ["a/b"]}]
    told = {"model_providers": providers, "routing_preferences": preferences, **(changes or {})}
    settings = load_settings(environ={}, overrides=told)
    router = build_router(settings, classifier=FixedClassifier({"code": 1.0}))
    if changes is None:
        router = Router(
            classifier=FixedClassifier({"code": 1.0}),
            policy=settings.policy,
            catalog=settings.catalog,
            rules=router.rules,
            cache=MemoryStore(size=10_000),
            deadline_ms=9_000,
            selecting=router.selecting,
        )
    routers.callback(router.close)
    return router


def _call(kind: str, *routers: Router) -> LLMCall:
    """Return a call of which the classifications are cached: the user's second turn, or a loop within the first."""
    number = next(NUMBERS)
    first = (SYSTEM, Message(role=Role.USER, text=f"{number} {TEXT}"))
    said = (*first, *LOOP) if kind == "within a loop" else (*first, *LOOP, Message(role=Role.USER, text="go on"))
    opened, call = (
        LLMCall(api_format=ApiFormat.CHAT_COMPLETIONS, conversation=words, tools=("look",)) for words in (first, said)
    )
    for router in routers:
        router.route(opened)
        router.route(replace(call, affinity="somebody else's"))  # so that what is left to do is the session's alone
    return call


def _scripts_run(server: RedisServer) -> int:
    told = server.ask("INFO", "commandstats")
    stats = [told.get(f"cmdstat_{name}", {}) for name in ("evalsha", "eval")]
    return sum(int(of.get("calls", 0)) - int(of.get("failed_calls", 0)) for of in stats)  # a script is unknown once


@contextmanager
def _redis() -> Iterator[str]:
    with TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(Path(folder))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
        try:
            _wait(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


def _wait(port: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return
        time.sleep(0.02)
