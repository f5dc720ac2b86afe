"""Medians with their intervals, for machines and for people."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, sqrt
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

Figures = Mapping[str, Any]


def interval(values: Sequence[float]) -> Sequence[float]:
    """Return lower end, median and upper end: the order statistics that hold the true median in 95 % of samples."""
    ordered, half = sorted(values), 1.96 * sqrt(len(values)) / 2
    lower, upper = floor(len(ordered) / 2 - half), ceil(len(ordered) / 2 + half)
    ends = ordered[max(lower, 0)], median(ordered), ordered[min(upper, len(ordered) - 1)]
    return [float(f"{value:.3g}") for value in ends]


def quietly(values: Sequence[float]) -> float:
    """Return what a tenth of the values stay below: the cost where no neighbour on the machine takes part of it."""
    return float(f"{sorted(values)[len(values) // 10]:.3g}")


def show(result: Figures) -> None:
    """Print the figures."""
    console = Console(width=130)
    title = f"microseconds of an ASGI call; {result['machine']}"
    columns = ("request", "log", "bare", "wrapped", "classifier", "hand-over alone", "added (95 %)", "limit")
    table = Table(*columns, title=title)
    for row in result["in_process"]:
        medians = (row[f"{part}_us"] for part in ("bare", "wrapped", "classify", "hand_over"))
        table.add_row(row["case"], row["logs"], *map(str, medians), told(row["added_us"]), limit_of(row))
    console.print(table)
    more_columns = ("request", "log", "in flight", "bare p50, us", "wrapped p50, us", "p50 ratio", "requests/s ratio")
    table = Table(*more_columns, title="over HTTP, wrapped to bare")
    for row in result["over_http"]:
        figures = (str(row[key]) for key in ("case", "logs", "in_flight", "bare_p50_us", "wrapped_p50_us"))
        table.add_row(*figures, told(row["p50_ratio"]), told(row["rate_ratio"]))
    console.print(table)
    table = Table(
        "adapter", "request", "log", "bare", "with it", "added (95 %)", title="microseconds of a call, in process"
    )
    for row in [*result["adapters"], *result["chat_models"]]:
        figures = (str(row[key]) for key in ("adapter", "case", "logs", "bare_us", "wrapped_us"))
        table.add_row(*figures, told(row["added_us"]))
    console.print(table)
    table = Table(title="microseconds of a limit on tokens")
    for name in ("counters", "round trip alone", "a limit (95 %)", "fastest tenth", "limit"):
        table.add_column(name)
    for row in result["limits"]:
        trip, quiet = (str(row.get(key, "-")) for key in ("round_trip_us", "quiet_us"))
        table.add_row(row["counters"], trip, told(row["added_us"]), quiet, limit_of(row))
    console.print(table)
    table = Table("call", "added, us", "fastest tenth", "round trips", title="what a session adds to a cached decision")
    for row in result["sessions"]:
        table.add_row(*(str(row[key]) for key in ("case", "added_us", "quiet_us", "round_trips")))
    console.print(table)
    table = Table(title="microseconds for 1,024 characters")
    for name in ("guardrail", "of", "added (95 %)", "fastest tenth", "limit"):
        table.add_column(name)
    for row in result["guardrails"]:
        table.add_row(row["guardrail"], row["of"], told(row["added_us"]), str(row["quiet_us"]), limit_of(row))
    console.print(table)


def told(ends: Sequence[float]) -> str:
    """Return a median with its interval."""
    lower, middle, upper = ends
    return f"{middle:g} ({lower:g} to {upper:g})"


def limit_of(row: Figures) -> str:
    """Return a row's limit, and whether the whole interval is above it; a dash where it has none."""
    if "limit_us" not in row:
        return "-"
    is_exceeded = row["added_us"][0] > row["limit_us"]
    return f"{row['limit_us']}{', exceeded' if is_exceeded else ''}"


def draw(result: Figures, picture: Path) -> None:
    """Draw what is added in process, and the ratios over HTTP."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams |= {"svg.hashsalt": "plano-asgi", "svg.fonttype": "none", "font.size": 9}
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    added, ratio = figure.subplots(2, 1, height_ratios=(10, 8))
    rows = result["in_process"][::-1]
    names = [f"{row['case']} ({row['logs']})" for row in rows]
    middles = [row["added_us"][1] for row in rows]
    errors = [[abs(row["added_us"][end] - row["added_us"][1]) for row in rows] for end in (0, 2)]
    added.errorbar(middles, names, xerr=errors, fmt="o", color="tab:blue", label="added by the middleware")
    added.plot([row["limit_us"] for row in rows], names, "|", color="tab:red", markersize=12, label="limit")
    handed = [(row["hand_over_us"], name) for row, name in zip(rows, names, strict=True) if row["hand_over_us"]]
    added.plot(*zip(*handed, strict=True), "x", color="tab:gray", label="handing to a thread, alone")
    added.set(xscale="log", title="microseconds of one request, in process", xlim=(0.5, 10_000))
    rows = result["over_http"][::-1]
    names = [f"{row['case']} ({row['logs']}), {row['in_flight']} in flight" for row in rows]
    for key, mark, label in (("p50_ratio", "o", "median latency"), ("rate_ratio", "s", "requests a second")):
        middles = [row[key][1] for row in rows]
        errors = [[abs(row[key][end] - row[key][1]) for row in rows] for end in (0, 2)]
        ratio.errorbar(middles, names, xerr=errors, fmt=mark, label=label)
    ratio.axvline(1, color="tab:gray", linewidth=0.8)
    ratio.set(title="over HTTP, wrapped to bare", xlim=(0, None))
    for axes in (added, ratio):
        axes.grid(axis="x", alpha=0.3)
        axes.legend(loc="upper right")
    figure.supxlabel(f"{result['date']}; {result['machine']}; load of others {result['load_of_others']}", fontsize=8)
    figure.savefig(picture, metadata={"Date": None})
