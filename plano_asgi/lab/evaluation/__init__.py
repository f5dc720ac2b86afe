"""How well a router decides on cases with known answers: read the cases, ask the router, count, compare."""

from plano_asgi.lab.evaluation.asking import Evaluation, evaluate
from plano_asgi.lab.evaluation.cases import Case, read_cases
from plano_asgi.lab.evaluation.comparison import Comparison, compare, mcnemar_p
from plano_asgi.lab.evaluation.figures import (
    Bin,
    Confusion,
    Figures,
    Outcome,
    RouteFigures,
    calibration_error,
    confusion_matrix,
    figures_of,
    reliability,
)
from plano_asgi.lab.evaluation.redeciding import SweepPoint, redecided, sweep
from plano_asgi.lab.evaluation.robustness import Robustness, robustness, rounds_of

__all__ = [
    "Bin",
    "Case",
    "Comparison",
    "Confusion",
    "Evaluation",
    "Figures",
    "Outcome",
    "Robustness",
    "RouteFigures",
    "SweepPoint",
    "calibration_error",
    "compare",
    "confusion_matrix",
    "evaluate",
    "figures_of",
    "mcnemar_p",
    "read_cases",
    "redecided",
    "reliability",
    "robustness",
    "rounds_of",
    "sweep",
]
