"""Calibrating a configuration: its classifier's scores of every case, what they make of it, and what that is worth."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from plano_asgi.classify import Classifier
from plano_asgi.errors import CasesError, Fault
from plano_asgi.lab.calibration.fitting import LEAST_CASES, Fit, cross_validated, fit
from plano_asgi.lab.calibration.objective import Objective
from plano_asgi.lab.evaluation import Case, Comparison, Evaluation, Figures, Outcome, compare, evaluate, figures_of
from plano_asgi.settings import Settings

PATIENCE_MS: Final = 60_000.0  # for one case; scores are asked for here, and not speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What a calibration is, and what it is worth.

    Attributes:
        fit: Fitted on all cases that have scores.
        revision: The revision of the classifier that gave them.
        cases: How many they are.
        unanswered: How many cases have none and are left out of everything.
        without_route: In how many of the cases no route is right.
        before: How the configuration does without a calibration.
        after: How it does with one, each case being decided by a fit on other cases.
        comparison: Of both; a is before.
    """

    fit: Fit
    revision: str
    cases: int
    unanswered: int
    without_route: int
    before: Figures
    after: Figures
    comparison: Comparison


def calibrate(
    settings: Settings,
    cases: Iterable[Case],
    *,
    objective: Objective = Objective.ACCURACY,
    classifier: Classifier | None = None,
) -> Calibrated:
    """Return what fits a configuration's classifier to the cases; a calibration that it has already plays no part.

    Args:
        settings: The configuration; its policy has a route.
        cases: The cases.
        objective: See `fit`.
        classifier: Stands in for the one that the settings name.

    Raises:
        CasesError: Fewer than ten cases have scores.
        PlanoError: As `evaluate` does.
    """
    bare = settings.classifier.model_copy(update={"calibration": None, "deadline_ms": PATIENCE_MS})
    evaluation = evaluate(replace(settings, classifier=bare), cases, classifier=classifier)
    scored = [outcome for outcome in evaluation.outcomes if outcome.scores is not None]
    if len(scored) < LEAST_CASES:
        what = f"{len(scored)} cases have an answer; at least {LEAST_CASES} are needed, and 200 or more are advised"
        raise CasesError([Fault(where="", what=what)])
    return _calibrated(evaluation, scored, objective)


def _calibrated(evaluation: Evaluation, scored: Sequence[Outcome], objective: Objective) -> Calibrated:
    routes = [row.route for row in evaluation.figures.per_route]
    after = cross_validated(scored, objective=objective)
    return Calibrated(
        fit=fit(scored, objective=objective),
        revision=evaluation.revision,
        cases=len(scored),
        unanswered=len(evaluation.outcomes) - len(scored),
        without_route=sum(outcome.expect is None for outcome in scored),
        before=figures_of(scored, routes=routes),
        after=figures_of(after, routes=routes),
        comparison=compare(scored, after),
    )
