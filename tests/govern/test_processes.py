"""One limit over many processes: never exceeded, whatever is killed or restarted. With a real redis-server."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from plano_asgi.assembly.governing import build_governor
from plano_asgi.catalogues import WrittenPrices
from plano_asgi.errors import CallError
from plano_asgi.govern import Admission, Caller, Governor
from plano_asgi.secret import Secret
from plano_asgi.settings import Settings
from plano_asgi.stores.redis_server import RedisServer
from plano_asgi.wire import read_document
from plano_asgi.wire.usage import Usage

PROCESSES, CALLS, LIMIT = 8, 125, 20_000
CONFIG = """\
mode: forward
model_providers: [{{model: openai/small, default: true, access_key: sk-x}}]
ratelimits: [{{name: shared, per: [api_key], limit: {{output_tokens: {limit}, unit: day}}}}]
redis: {{url: "{url}", prefix: "{prefix}", timeout_ms: 10000}}
governance: {{store: redis, on_store_failure: {stance}}}
forward: {{total_s: {total_s}}}
"""
WORKER = """
import json, os, random, sys
from pathlib import Path
import anyio
from plano_asgi.assembly.governing import build_governor
from plano_asgi.catalogues import WrittenPrices
from plano_asgi.govern import Caller
from plano_asgi.settings import load_settings
from plano_asgi.stores.redis_server import RedisServer
from plano_asgi.wire import read_document
from plano_asgi.wire.usage import Usage

settings = load_settings(Path(sys.argv[1]), environ={})
for seed in range(int(sys.argv[2])):
    if os.fork() == 0:
        break
else:
    while True:
        try:
            os.wait()
        except ChildProcessError:
            sys.exit()
chance = random.Random(seed)
told = {"reserved": 0, "really": 0, "beyond": 0, "refused": 0}

async def call(governor):
    estimate = chance.randrange(1, 200)
    document = read_document(json.dumps({"messages": [], "max_tokens": estimate}).encode())
    caller = Caller([(b"authorization", b"Bearer sk-canary-tenant")])
    admission = await governor.admission(caller, document, route=None, models=["openai/small"])
    if await admission.admit("openai/small"):
        told["refused"] += 1
        return
    really = max(0, estimate + chance.randrange(-50, 21))
    told["reserved"] += estimate
    told["really"] += really
    told["beyond"] += max(0, really - estimate)
    if sys.argv[4] == "settle":
        await anyio.sleep(chance.random() / 20)
        await admission.settle(Usage(input_tokens=1, output_tokens=really))

async def work():
    redis = RedisServer(settings.redis.url, timeout_s=10, connections=256)
    governor = build_governor(settings, prices=WrittenPrices({}, otherwise=None), redis=redis)
    async with anyio.create_task_group() as calls:
        for _ in range(int(sys.argv[3])):
            calls.start_soon(call, governor)
    os.write(1, f"{json.dumps(told)}\\n".encode())  # in one piece: all of them write to one pipe
    if sys.argv[4] != "settle":
        sys.stdin.read()
    await redis.aclose()

anyio.run(work)
"""


class Workers:
    """Processes that share a limit, forked from one that has imported all they need."""

    def __init__(self, config: Path) -> None:
        """Start none yet."""
        self._config = config

    @contextmanager
    def running(self, number: int, *, calls: int, does: str, end_by: int | None = None) -> Iterator[dict[str, int]]:
        """Give what so many tell together once each has made its calls, all at once; then end them."""
        command = [sys.executable, "-c", WORKER, str(self._config), str(number), str(calls), does]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as nursery:
            assert nursery.stdout
            told = [json.loads(nursery.stdout.readline()) for _ in range(number)]
            if end_by is not None:
                os.killpg(nursery.pid, end_by)
            yield {name: sum(worker[name] for worker in told) for name in told[0]}
            nursery.communicate(timeout=30)


@pytest.fixture
def settings_in(tmp_path: Path, settings_of: Callable[[str], Settings]) -> Callable[..., tuple[Settings, Workers]]:
    """Return what makes settings with a limit in Redis, and processes that share it."""

    def make(url: str, *, stance: str = "fail_closed", total_s: float = 600, limit: int = LIMIT) -> Any:
        text = CONFIG.format(url=url, prefix=f"{tmp_path.name}:", stance=stance, total_s=total_s, limit=limit)
        config = tmp_path / "plano.yaml"
        config.write_text(text, encoding="utf-8")
        return settings_of(text), Workers(config)

    return make


def governor_of(settings: Settings) -> tuple[Governor, RedisServer]:
    """Return this process's own governor, and its Redis."""
    redis = RedisServer(settings.redis.url or Secret(""), timeout_s=10)
    governor = build_governor(settings, prices=WrittenPrices({}, otherwise=None), redis=redis)
    assert governor
    return governor, redis


async def ask(governor: Governor, tokens: int) -> tuple[Admission, CallError | None]:
    """Return a call's admission, and why it is refused where it is."""
    document = read_document(json.dumps({"messages": [], "max_tokens": tokens}).encode())
    caller = Caller([(b"authorization", b"Bearer sk-canary-tenant")])
    admission = await governor.admission(caller, document, route=None, models=["openai/small"])
    return admission, await admission.admit("openai/small")


def used(settings: Settings) -> int:
    """Return what is counted for the tenant."""

    async def run() -> int:
        """Ask for nearly nothing."""
        governor, redis = governor_of(settings)
        admission, _ = await ask(governor, 1)
        await admission.settle(None)
        await redis.aclose()
        return admission.counted[0].standing.used

    return anyio.run(run)


def test_eight_processes_with_a_thousand_calls_never_exceed_the_limit(
    settings_in: Callable[..., tuple[Settings, Workers]], redis_url: str
) -> None:
    """1,000 calls that nobody settles hold the limit at the most, and nearly all of it; the rest are refused."""
    settings, workers = settings_in(redis_url)
    with workers.running(PROCESSES, calls=CALLS, does="hold") as told:
        assert LIMIT - 200 < told["reserved"] <= LIMIT
        assert told["refused"] > 500
        assert used(settings) == told["reserved"]


def test_real_use_exceeds_the_limit_by_the_errors_of_estimates_only(
    settings_in: Callable[..., tuple[Settings, Workers]], redis_url: str
) -> None:
    """Calls are settled while others are admitted: in the end the counter holds what was really used."""
    settings, workers = settings_in(redis_url)
    with workers.running(PROCESSES, calls=CALLS, does="settle") as told:
        assert used(settings) == told["really"]
        assert LIMIT // 2 < told["really"] <= LIMIT + told["beyond"]


def test_what_killed_processes_held_is_given_back(
    settings_in: Callable[..., tuple[Settings, Workers]], redis_url: str
) -> None:
    """Two processes die in the middle of their calls; after the lease, and not before, there is room again."""
    settings, workers = settings_in(redis_url, limit=2_000)
    with workers.running(2, calls=50, does="hold", end_by=SIGKILL) as told:
        held = told["reserved"]

    assert 1_800 < held <= 2_000
    assert used(settings) == held
    server = RedisServer(Secret(redis_url))
    (key,) = server.ask("KEYS", f"{settings.redis.prefix}*:held")
    for member in server.ask("ZRANGE", key, 0, -1):
        server.ask("ZADD", key, 1, member)  # as if the leases had ended
    server.close()
    assert used(settings) == 0


def test_nothing_in_redis_tells_who_calls(settings_in: Callable[..., tuple[Settings, Workers]], redis_url: str) -> None:
    """The caller's key is in no name and no value, and neither is its plain hash."""
    settings, _ = settings_in(redis_url)
    used(settings)
    server = RedisServer(Secret(redis_url))
    keys = server.ask("KEYS", f"{settings.redis.prefix}*")
    server.close()

    assert keys
    assert not [key for key in keys if b"canary" in key]


async def _through_an_outage(settings: Settings, running: Any) -> list[tuple[bool, str]]:
    """Return what three calls get: with Redis there, away, and there again."""
    governor, redis = governor_of(settings)
    seen = []
    for change in (None, running.stop, running.start):
        if change:
            change()
        if change == running.start:
            await anyio.sleep(1.0)  # for which a server that has failed is left alone
        admission, refusal = await ask(governor, 600)
        seen.append((refusal is None, refusal.code if refusal else ""))
        await admission.settle(Usage(input_tokens=1, output_tokens=600))
    await redis.aclose()
    return seen


@pytest.mark.parametrize(
    ("stance", "seen"),
    [
        ("fail_closed", [(True, ""), (False, "limits_unavailable"), (True, "")]),
        ("fail_open", [(True, ""), (True, ""), (True, "")]),
    ],
)
def test_stance_holds_while_redis_is_away_and_ends_with_it(
    settings_in: Callable[..., tuple[Settings, Workers]], redis_server: Any, stance: str, seen: list[tuple[bool, str]]
) -> None:
    """Closed: 503 until Redis is back. Open: calls go on, and one line says so. The restarted one starts at nothing."""
    settings, _ = settings_in(redis_server.url, stance=stance, limit=1_000)
    with capture_logs() as logs:
        got = anyio.run(_through_an_outage, settings, redis_server)

    assert got == seen
    lines = [log for log in logs if log["event"] == "plano.quotas_unshared"]
    assert [line["is_refusing"] for line in lines] == [stance == "fail_closed"]


def test_open_stance_counts_in_the_process_meanwhile(
    settings_in: Callable[..., tuple[Settings, Workers]], redis_server: Any
) -> None:
    """Without Redis a process still holds its own callers to the limit, and does not ask Redis for every call."""
    settings, _ = settings_in(redis_server.url, stance="fail_open", limit=1_000)
    redis_server.stop()

    async def run() -> list[bool]:
        """Ask for the whole limit twice."""
        governor, redis = governor_of(settings)
        admitted = [(await ask(governor, 1_000))[1] is None for _ in range(2)]
        await redis.aclose()
        return admitted

    with capture_logs() as logs:
        assert anyio.run(run) == [True, False]
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["plano.quotas_unshared"]
