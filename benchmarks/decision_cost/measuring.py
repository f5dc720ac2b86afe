"""Times of the ways to a decision on one graph, alone and with company."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import psutil
from rich.progress import track

from benchmarks.decision_cost.floor import measure_peak
from benchmarks.decision_cost.workload import Lengths, Workload
from plano_asgi.classify.arch_router.bundle import Bundle
from plano_asgi.classify.arch_router.engine import Engine, Question, Scored
from plano_asgi.classify.arch_router.session import CausalSession
from plano_asgi.classify.batching import Batcher

ROUTES = 6
TOGETHER = 64


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: How often each way is taken.
        peer_rounds: The same for other libraries, which are slow.
        concurrency: Callers at the same time, one measurement for each.
        seconds: How long each of those is kept up.
    """

    rounds: int
    peer_rounds: int
    concurrency: tuple[int, ...]
    seconds: float


def measure_bundle(bundle: Bundle, device: str, lengths: Lengths, effort: Effort, *, threads: int) -> dict[str, Any]:
    """Return everything that is measured of one graph."""
    before = psutil.Process().memory_info().rss
    started = perf_counter()
    session = CausalSession(bundle, device=device, threads=threads)
    load_s = perf_counter() - started
    workload = Workload(bundle, session, lengths, routes=ROUTES)
    times = _times(workload, effort.rounds, bundle.precision)
    resident = psutil.Process().memory_info().rss - before
    peak = measure_peak(session.device, bundle.precision, threads=threads)
    usual = median(next(iter(times.values())))
    parameters = parameters_of(bundle)
    ways = {}
    for name, way in workload.ways().items():
        p50 = median(times[name])
        tokens = workload.read_tokens(name)
        floor = peak.floor_s(parameters=parameters, tokens=tokens, passes=way.passes, precision=bundle.precision)
        ways[name] = {
            "tokens": tokens,
            "p50_ms": round(1000 * p50, 2),
            "p95_ms": round(1000 * quantiles(times[name], n=20)[-1], 2),
            "times_as_fast": round(usual / p50, 2),
            "floor_ms": round(1000 * floor, 2),
            "over_floor": round(p50 / floor, 2),
        }
    return {
        "source": dict(bundle.source),
        "precision": bundle.precision,
        "device": session.device.kind,
        "load_s": round(load_s, 1),
        "resident_mb": round(resident / 1e6),
        "peak_tops": round(peak.operations / 1e12, 3),
        "bandwidth_gb_s": round(peak.bandwidth / 1e9, 1),
        "ways": ways,
        "decisions_per_s": {
            str(callers): _rate(bundle, session, workload, callers, effort) for callers in effort.concurrency
        },
    }


def parameters_of(bundle: Bundle) -> int:
    """Return the weights that one token is multiplied with, from the manifest of a known shape."""
    from benchmarks.decision_cost.graphs import SHAPES  # noqa: PLC0415 - it needs the writer of graphs

    for shape in SHAPES.values():
        if shape.kv_tensors == bundle.key_values.tensors and shape.head_size == bundle.key_values.head_size:
            return shape.parameters
    raise SystemExit("the bundle is of a shape that this benchmark does not know; add it to SHAPES")


def _times(workload: Workload, rounds: int, title: str) -> dict[str, list[float]]:
    ways = workload.ways()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way.decide(workload.tokens(way.new))
    for _ in track(range(rounds), f"one at a time, {title}"):
        for name, way in ways.items():
            new = workload.tokens(way.new)
            started = perf_counter()
            way.decide(new)
            times[name].append(perf_counter() - started)
    return times


def _rate(bundle: Bundle, session: CausalSession, workload: Workload, callers: int, effort: Effort) -> float:
    """Return decisions in a second, by callers that each ask again as soon as they have an answer."""
    engine = Engine(session, context=bundle.context, temperature=1.0)
    engine.prefixes.pin(workload.static)
    batcher: Batcher[Question, Scored] = Batcher(engine.score, most=TOGETHER, name="decision")
    questions = [workload.question() for _ in range(callers)]
    until = perf_counter() + effort.seconds

    def ask(caller: int) -> int:
        count = 0
        while perf_counter() < until:
            batcher.submit(questions[caller]).result()
            count += 1
        return count

    started = perf_counter()
    with ThreadPoolExecutor(callers) as threads:
        decisions = sum(threads.map(ask, range(callers)))
    elapsed = perf_counter() - started
    batcher.close()
    return round(decisions / elapsed, 2)
