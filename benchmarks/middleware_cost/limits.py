"""What limits add to a call: holding its estimate before it is asked, and settling what it took after."""

import shutil
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Final

import uvloop

from benchmarks.middleware_cost.cases import Effort
from benchmarks.middleware_cost.figures import Figures, interval, quietly
from benchmarks.middleware_cost.hosts import body_of
from plano_asgi.catalogues import WrittenPrices
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.govern import (
    Caller,
    Counters,
    Governor,
    Measure,
    MemoryCounters,
    Part,
    Pseudonyms,
    Quota,
    SlidingWindow,
)
from plano_asgi.govern.redis_counters import RedisCounters
from plano_asgi.secret import Secret
from plano_asgi.stores.redis_server import RedisScript, RedisServer
from plano_asgi.tokens import LateTokenizer, ModelTokens, TokenCounter
from plano_asgi.tokens.loading import load_file
from plano_asgi.wire import read_document
from plano_asgi.wire.usage import Usage

Step = Callable[[], Awaitable[None]]

IN_MEMORY_US: Final = 30.0
BEYOND_A_ROUND_TRIP_US: Final = 50.0
MODEL: Final = "openai/gpt-4o"
CALLER: Final = Caller([(b"content-type", b"application/json"), (b"authorization", b"Bearer sk-benchmark")])
NOTHING: Final = RedisScript("return 1")
USED: Final = Usage(input_tokens=500, output_tokens=100)
QUOTAS: Final = (
    Quota(name="tokens", measure=Measure.TOKENS, limit=2**40, window=SlidingWindow(60), per=(Part.API_KEY,)),
)


def limits_cost(effort: Effort) -> Sequence[Figures]:
    """Return the microseconds of a limit of tokens a minute for each API key; Redis only where it is installed."""
    rows = [uvloop.run(_in_memory(effort, TokenCounter())), uvloop.run(_in_memory(effort, _by_a_tokenizer()))]
    if shutil.which("redis-server"):
        with _redis_server() as url:
            rows.append(uvloop.run(_in_redis(effort, url)))
    return rows


async def _in_memory(effort: Effort, tokens: TokenCounter) -> Figures:
    """Return what a call costs whose texts were counted before, as most of a conversation's were."""
    took = await _timed(_call(MemoryCounters(), tokens), effort)
    figures = {"added_us": interval(took), "quiet_us": quietly(took)}
    if tokens.is_exact(MODEL):
        return {"counters": "memory, tokens by a tokenizer", **figures}
    return {"counters": "memory", **figures, "limit_us": IN_MEMORY_US}


def _by_a_tokenizer() -> TokenCounter:
    """Return what counts by the embedded router's tokenizer, which every installation has."""
    load = partial(load_file, SHIPPED_FOLDER / "tokenizer.json")
    counter = TokenCounter({MODEL: ModelTokens(LateTokenizer("shipped", load, size=1_000))})
    counter.load()
    return counter


async def _in_redis(effort: Effort, url: str) -> Figures:
    """Return what reserving costs, the one step that a call waits for, beside a script that does nothing."""
    server = RedisServer(Secret(url), timeout_s=5)
    governor = _governor(RedisCounters(server, prefix="benchmark:"), TokenCounter())
    document = read_document(body_of(0))

    async def reserve() -> None:
        admission = await governor.admission(CALLER, document, route=None, models=[MODEL])
        await admission.admit(MODEL)

    async def round_trip() -> None:
        await server.arun(NOTHING, ["benchmark:a", "benchmark:b"], "0" * 100)

    bare, ours = await _timed_in_turn(round_trip, reserve, effort=effort)
    await server.aclose()
    return {
        "counters": "Redis",
        "round_trip_us": round(median(bare), 1),
        "quiet_round_trip_us": quietly(bare),
        "added_us": interval(ours),
        "quiet_us": quietly(ours),
        "limit_us": round(median(bare) + BEYOND_A_ROUND_TRIP_US, 1),
    }


def _governor(counters: Counters, tokens: TokenCounter) -> Governor:
    return Governor(
        quotas=QUOTAS,
        counters=counters,
        allow_lists=(),
        prices=WrittenPrices({}, otherwise=None),
        pseudonyms=Pseudonyms(b"benchmark"),
        tokens=tokens,
    )


def _call(counters: Counters, tokens: TokenCounter) -> Step:
    governor, document = _governor(counters, tokens), read_document(body_of(0))

    async def call() -> None:
        admission = await governor.admission(CALLER, document, route=None, models=[MODEL])
        await admission.admit(MODEL)
        await admission.settle(USED)

    return call


async def _timed(step: Step, effort: Effort) -> Sequence[float]:
    """Return the microseconds of each time; the first tenth, which warms up, is left out."""
    (took,) = await _timed_in_turn(step, effort=effort)
    return took


async def _timed_in_turn(*steps: Step, effort: Effort) -> Sequence[Sequence[float]]:
    """Return the microseconds of each time of each step, one after the other; the first tenth of each is left out."""
    took: Sequence[list[float]] = [[] for _ in steps]
    for _ in range(effort.rounds * effort.pairs):
        for step, times in zip(steps, took, strict=True):
            started = perf_counter()
            await step()
            times.append((perf_counter() - started) * 1e6)
    return [times[len(times) // 10 :] for times in took]


@contextmanager
def _redis_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with TemporaryDirectory() as folder:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
        try:
            for _ in range(100):
                with socket.socket() as asked:
                    if asked.connect_ex(("127.0.0.1", port)) == 0:
                        break
                sleep(0.05)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()
