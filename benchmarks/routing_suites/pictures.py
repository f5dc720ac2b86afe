"""Accuracy against milliseconds, one point a contender; and against steps of training, one panel a family."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the contenders that sat every family, as SVG or PNG by the file's name."""
    plt = drawing()
    figure, axes = plt.subplots(figsize=(7, 4))
    everywhere = max(len(each["families"]) for each in results.values())
    for name, each in results.items():
        if not each["families"]:
            continue
        x, y = each["p50_ms"], 100 * each["mean_accuracy"]
        is_whole = len(each["families"]) == everywhere
        axes.scatter(x, y, s=70, marker="o" if is_whole else "s", zorder=3)
        label = name if is_whole else f"{name} ({len(each['families'])} of {everywhere} suites)"
        axes.annotate(label, (x, y), textcoords="offset points", xytext=(8, 4), fontsize=9)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds a decision (one CPU thread, median)")
    axes.set_ylabel("accuracy on unseen routes, %")
    axes.grid(alpha=0.3)
    axes.margins(x=0.35, y=0.2)
    _save(figure, path)


def draw_curves(
    runs: Mapping[str, Mapping[int, Mapping[str, Any]]], aims: Mapping[str, float], path: Path, *, columns: int = 4
) -> None:
    """Draw accuracy by steps, as published (solid) and with a threshold in hindsight (dotted), beside the aims."""
    plt = drawing()
    families = list(next(iter(next(iter(runs.values())).values()))["families"])
    rows = -(-len(families) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(3 * columns, 2.4 * rows), sharex=True, squeeze=False, layout="constrained"
    )
    for family, axes in zip(families, grid.flat, strict=False):
        for number, (name, run) in enumerate(runs.items()):
            for figure_of, style in (("accuracy", "-"), ("accuracy_with_a_threshold_in_hindsight", ":")):
                heights = [100 * each["families"][family][figure_of] for each in run.values()]
                label = name if style == "-" else None
                axes.plot(list(run), heights, style, color=f"C{number}", marker="o", markersize=3, label=label)
        if family in aims:
            axes.axhline(100 * aims[family], color="grey", linewidth=0.8)
        axes.set_title(family.replace("_", " "), fontsize=9)
        axes.grid(alpha=0.3)
    for axes in list(grid.flat)[len(families) :]:
        axes.set_visible(False)
    grid.flat[0].legend(fontsize=7)
    figure.supxlabel("steps of training", fontsize=9)
    figure.supylabel("accuracy on unseen routes, %", fontsize=9)
    _save(figure, path)


def drawing() -> ModuleType:
    """Return matplotlib's pyplot, which is slow to import and only for pictures."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "plano-asgi"
    return plt


def _save(figure: "Figure", path: Path) -> None:
    if figure.get_layout_engine() is None:
        figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
