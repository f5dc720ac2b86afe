"""What the blocks of calls come to, for machines and for people."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.gateway_cost.contenders import Contender
from benchmarks.gateway_cost.load import Taken


@dataclass(slots=True)
class Row:
    """All blocks of one contender under one load."""

    contender: Contender
    in_flight: int
    is_stream: bool
    blocks: list[tuple[Taken, float]] = field(default_factory=list)

    def figures(self, direct: "Row") -> dict[str, Any]:
        """Return the row, beside the provider itself under the same load."""
        own = self.latencies()
        calls, cpu_s = len(own), sum(cpu for _, cpu in self.blocks)
        firsts = [first for taken, _ in self.blocks for first in taken.first_s]
        beside = direct.latencies()
        return {
            "contender": self.contender.name,
            "in_flight": self.in_flight,
            "is_stream": self.is_stream,
            "calls": calls,
            "p50_ms": _ms(median(own)),
            "p99_ms": _ms(_p99(own)),
            "added_p50_ms": _ms(median(own) - median(beside)),
            "added_p99_ms": _ms(_p99(own) - _p99(beside)),
            "first_byte_p50_ms": _ms(median(firsts)),
            "calls_per_s": round(median(len(taken.latencies_s) / taken.seconds for taken, _ in self.blocks)),
            "cpu_ms_per_call": _ms(cpu_s / calls) if cpu_s else None,
            "calls_per_s_and_core": round(calls / cpu_s) if cpu_s else None,
        }

    def latencies(self) -> list[float]:
        """Return those of all its calls, in seconds."""
        return [latency for taken, _ in self.blocks for latency in taken.latencies_s]


def show(rows: Sequence[dict[str, Any]], resident_mib: dict[str, float]) -> None:
    """Print the figures."""
    console = Console(width=140)
    columns = (
        "contender",
        "answers",
        "in flight",
        "p50, ms",
        "added p50",
        "added p99",
        "calls/s",
        "CPU ms/call",
        "calls/s a core",
    )
    table = Table(*columns, title="one worker each, the same provider on loopback")
    for row in rows:
        keys = ("p50_ms", "added_p50_ms", "added_p99_ms", "calls_per_s", "cpu_ms_per_call", "calls_per_s_and_core")
        figures = ("-" if row[key] is None else str(row[key]) for key in keys)
        table.add_row(row["contender"], "streamed" if row["is_stream"] else "plain", str(row["in_flight"]), *figures)
    console.print(table)
    for name, mib in resident_mib.items():
        console.print(f"{name}: {mib:.0f} MiB resident at the end")


def ratios(rows: Sequence[dict[str, Any]], *, ours: str, theirs: str) -> list[dict[str, Any]]:
    """Return how many times as many calls a second and core one contender serves as another, for each load."""
    by_load = {(row["contender"], row["in_flight"], row["is_stream"]): row["calls_per_s_and_core"] for row in rows}
    loads = sorted({(in_flight, is_stream) for name, in_flight, is_stream in by_load if name == theirs})
    return [
        {
            "contender": ours,
            "in_flight": in_flight,
            "is_stream": is_stream,
            "times": round(by_load[ours, in_flight, is_stream] / by_load[theirs, in_flight, is_stream], 2),
        }
        for in_flight, is_stream in loads
    ]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100)[98] if len(values) > 1 else values[0]
