"""The result as tables and as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Figures = Mapping[str, Any]


def show(result: Figures) -> None:
    """Print the figures."""
    console = Console(width=130)
    for graph in result["graphs"]:
        title = f"{graph['source']['name']}, {graph['precision']} on {graph['device']}; {result['machine']}"
        table = Table("way", "tokens", "p50, ms", "p95, ms", "times as fast", "floor, ms", "over floor", title=title)
        for name, way in graph["ways"].items():
            table.add_row(name, *(f"{way[key]:g}" for key in way))
        console.print(table)
        rates = ", ".join(f"{rate:g} at {callers}" for callers, rate in graph["decisions_per_s"].items())
        console.print(f"decisions/s by callers: {rates or '-'}; load {graph['load_s']} s, {graph['resident_mb']} MB;")
        console.print(f"peak {graph['peak_tops']} TOP/s, {graph['bandwidth_gb_s']} GB/s\n")
    for peer in result["peers"]:
        console.print(f"{peer['name']}: p50 {peer['p50_ms']} ms, p95 {peer['p95_ms']} ms")


def draw(result: Figures, picture: Path) -> None:
    """Draw the milliseconds of each way with its floor, one panel for each graph."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams |= {"svg.hashsalt": "plano-asgi", "svg.fonttype": "none", "font.size": 9}
    graphs = result["graphs"]
    figure = Figure(figsize=(8, 2.4 * len(graphs)), layout="constrained")
    for axes, graph in zip(figure.subplots(len(graphs), 1, squeeze=False)[:, 0], graphs, strict=True):
        ways = graph["ways"]
        bars = axes.barh(list(ways), [way["p50_ms"] for way in ways.values()], color="#4878a8")
        axes.barh(list(ways), [way["floor_ms"] for way in ways.values()], color="#c8d4e0", height=0.4, label="floor")
        axes.bar_label(bars, [f"{way['p50_ms']:g} ms, {way['times_as_fast']:g}x" for way in ways.values()], padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.25)
        axes.set_title(f"{graph['source']['name']}, {graph['precision']} on {graph['device']}", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right", frameon=False)
    figure.axes[-1].set_xlabel(f"milliseconds of one decision, p50; {result['machine']}")
    figure.savefig(picture, metadata={"Date": None})
