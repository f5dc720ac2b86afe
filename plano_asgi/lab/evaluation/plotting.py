"""Evaluations as a picture; the home of matplotlib."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plano_asgi.errors import MissingExtraError
from plano_asgi.lab.evaluation.asking import Evaluation
from plano_asgi.lab.evaluation.figures import confusion_matrix, reliability
from plano_asgi.lab.evaluation.redeciding import sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES: Final = (".png", ".svg")
MOST_COUNTED: Final = 15  # routes; with more of them the counts in the squares could not be read
_STEPS: Final = 101
_LITERAL: Final = {"parse_math": False}  # a route's name may hold a dollar sign


def check_plotting() -> None:
    """Guarantee that pictures can be drawn here.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - only where a picture is asked for
    except ImportError:
        raise MissingExtraError("plot", needed_for="--plot") from None


def plot(evaluations: Mapping[str, Evaluation], path: Path) -> None:
    """Write one row of three panels for each evaluation: confusion matrix, reliability diagram, threshold sweep.

    Args:
        evaluations: The evaluations by what they are called, at least one.
        path: The file, which is replaced; its suffix is one of `SUFFIXES`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    check_plotting()
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(17, 5.2 * len(evaluations)), layout="constrained")
    rows = figure.subplots(len(evaluations), 3, squeeze=False)
    for (name, evaluation), (confusion, sure, swept) in zip(evaluations.items(), rows, strict=True):
        confusion.set_title(name, loc="left", **_LITERAL)
        _draw_confusion(confusion, evaluation)
        _draw_reliability(sure, evaluation)
        _draw_sweep(swept, evaluation)
    with warnings.catch_warnings(), rc_context({"svg.fonttype": "none", "svg.hashsalt": "plano"}):
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script that the font lacks is drawn as boxes
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_confusion(axes: "Axes", evaluation: Evaluation) -> None:
    matrix = confusion_matrix(evaluation.outcomes, routes=(row.route for row in evaluation.figures.per_route))
    names = [name or "no route" for name in matrix]
    counts = [list(row.values()) for row in matrix.values()]
    axes.imshow([[count / max(1, sum(row)) for count in row] for row in counts], cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", **_LITERAL)
    axes.set_yticks(range(len(names)), names, **_LITERAL)
    axes.set(xlabel="decided", ylabel="expected")
    for y, row in enumerate(counts if len(names) <= MOST_COUNTED else ()):
        for x, count in enumerate(row):
            is_dark = count > sum(row) / 2
            axes.text(x, y, str(count or ""), ha="center", va="center", color="white" if is_dark else "black")


def _draw_reliability(axes: "Axes", evaluation: Evaluation) -> None:
    bins, ece = reliability(evaluation.outcomes), evaluation.figures.ece
    largest = max((each.n for each in bins), default=1)
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect")
    axes.plot([each.confidence for each in bins], [each.accuracy for each in bins], color="tab:blue")
    sizes = [20 + 180 * each.n / largest for each in bins]
    axes.scatter([each.confidence for each in bins], [each.accuracy for each in bins], sizes, label="bins, by cases")
    title = "reliability" if ece is None else f"reliability, ECE {ece:.3f}"
    axes.set(title=title, xlabel="confidence in the decision", ylabel="share right", xlim=(0, 1.03), ylim=(0, 1.05))
    axes.legend(loc="lower right")


def _draw_sweep(axes: "Axes", evaluation: Evaluation) -> None:
    points = sweep(evaluation.outcomes, [step / (_STEPS - 1) for step in range(_STEPS)])
    thresholds = [point.threshold for point in points]
    lines: dict[str, Sequence[Any]] = {
        "accuracy": [point.accuracy for point in points],
        "... where a route is right": [point.in_scope_accuracy for point in points],
        "no route chosen": [point.abstention for point in points],
    }
    for label, values in lines.items():
        if None not in values:
            axes.plot(thresholds, values, label=label)
    axes.axvline(evaluation.threshold, color="grey", linestyle="--", label=f"threshold {evaluation.threshold:.2f}")
    axes.set(title="one threshold for all routes", xlabel="threshold", ylabel="share", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="best")
