"""The band of a configured cascade, chosen on cases: what both its classifiers make of each, asked by themselves."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from plano_asgi.errors import CasesError, ConfigurationError, Fault
from plano_asgi.lab.calibration.band import BandChoice, choose_band
from plano_asgi.lab.calibration.calibrating import PATIENCE_MS
from plano_asgi.lab.calibration.fitting import LEAST_CASES
from plano_asgi.lab.evaluation import Case, Evaluation, Figures, evaluate
from plano_asgi.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeBand:
    """A cascade's band, and how its classifiers do on the cases that it was chosen on.

    Attributes:
        choice: The band.
        cases: How many cases have an answer of both.
        unanswered: How many have not, and are left out of the choice.
        first: How the first does by itself, on all cases.
        second: How the second does.
    """

    choice: BandChoice
    cases: int
    unanswered: int
    first: Figures
    second: Figures


def cascade_band(
    settings: Settings,
    cases: Sequence[Case],
    *,
    target: float,
    watched: Callable[[Sequence[Case]], Iterable[Case]] = iter,
) -> CascadeBand:
    """Return the band in which a configuration's cascade has to ask its second classifier, to agree with it so often.

    Args:
        settings: The configuration; its classifier is a cascade.
        cases: The cases; which answers are right plays no part.
        target: See `choose_band`.
        watched: Is handed the cases for each classifier and gives them back one by one; shows how far it is.

    Raises:
        ConfigurationError: The classifier is no cascade.
        CasesError: Fewer than ten cases have an answer of both.
        PlanoError: As `evaluate` does.
    """
    if settings.classifier.kind != "cascade":
        what = "is no cascade, which alone has a band to choose; set it to cascade, or leave --target-agreement out"
        raise ConfigurationError([Fault(where="classifier.kind", what=what)])
    first, second = (evaluate(stage, watched(cases)) for stage in _stages(settings))
    answered = _answered(first, second)
    if len(answered) < LEAST_CASES:
        what = f"{len(answered)} cases have an answer of both classifiers; at least {LEAST_CASES} are needed"
        raise CasesError([Fault(where="", what=what)])
    one, other = ([evaluation.outcomes[index] for index in answered] for evaluation in (first, second))
    scores = [outcome.scores for outcome in one if outcome.scores is not None]
    choice = choose_band(scores, [each.route for each in one], [each.route for each in other], target=target)
    return CascadeBand(
        choice=choice,
        cases=len(answered),
        unanswered=len(cases) - len(answered),
        first=first.figures,
        second=second.figures,
    )


def _answered(first: Evaluation, second: Evaluation) -> list[int]:
    pairs = zip(first.outcomes, second.outcomes, strict=True)
    return [index for index, pair in enumerate(pairs) if all(outcome.scores is not None for outcome in pair)]


def _stages(settings: Settings) -> tuple[Settings, Settings]:
    """Return a cascade's settings with either classifier for the only one."""
    alone = settings.classifier.model_copy(update={"calibration": None, "deadline_ms": PATIENCE_MS})
    second = "remote" if alone.base_url else "arch_router"
    kinds = ({"kind": "embedded", "model_path": None, "base_url": None}, {"kind": second})
    embedded, other = (replace(settings, classifier=alone.model_copy(update=kind)) for kind in kinds)
    return embedded, other
