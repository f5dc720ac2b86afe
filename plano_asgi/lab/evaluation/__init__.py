"""How well a router decides on cases with known answers: read the cases, ask the router, count, compare."""

from plano_asgi.lab.evaluation.asking import Evaluation, evaluate
from plano_asgi.lab.evaluation.cases import Case, read_cases
from plano_asgi.lab.evaluation.comparison import Comparison, compare, mcnemar_p
from plano_asgi.lab.evaluation.figures import Confusion, Figures, Outcome, RouteFigures, calibration_error, figures_of

__all__ = [
    "Case",
    "Comparison",
    "Confusion",
    "Evaluation",
    "Figures",
    "Outcome",
    "RouteFigures",
    "calibration_error",
    "compare",
    "evaluate",
    "figures_of",
    "mcnemar_p",
    "read_cases",
]
