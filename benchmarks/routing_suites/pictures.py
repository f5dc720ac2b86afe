"""Accuracy against milliseconds, one point a contender."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def draw(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the contenders that sat every family, as SVG or PNG by the file's name."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only for the picture

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "plano-asgi"
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
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
