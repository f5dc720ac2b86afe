"""`plano-asgi eval`: how well a configuration decides cases with known answers, alone or beside another."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import track

from plano_asgi.assembly import build_classifier, build_rules
from plano_asgi.cli.evaluation_tables import print_confusions, print_robustness, print_stages, print_tables
from plano_asgi.lab.evaluation import (
    Case,
    Comparison,
    Evaluation,
    Robustness,
    compare,
    confusion_matrix,
    evaluate,
    read_cases,
    robustness,
)
from plano_asgi.lab.evaluation.plotting import SUFFIXES, check_plotting, plot
from plano_asgi.lab.evaluation.stages import stage_shares
from plano_asgi.preferences import NO_ROUTE_NAME
from plano_asgi.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is wanted beside the figures.

    Attributes:
        as_json: Whether a program reads it, and not a person.
        has_confusion: Whether a person wants to see every cell of the confusion matrix; a program always does.
        has_robustness: Whether the cases are decided again and again, in other forms.
        picture: The file for a picture, or None.
    """

    as_json: bool = False
    has_confusion: bool = False
    has_robustness: bool = False
    picture: Path | None = None

    def check(self) -> None:
        """Guarantee that they can be granted, before anything has taken its time.

        Raises:
            BadParameter: The picture's suffix is unknown, or its folder does not exist.
            MissingExtraError: matplotlib is not installed, and there is to be a picture.
        """
        if self.picture is None:
            return
        if self.picture.suffix not in SUFFIXES:
            raise typer.BadParameter(f"name a file that ends in {' or '.join(SUFFIXES)}", param_hint="--plot")
        if not self.picture.parent.is_dir():
            raise typer.BadParameter(f"{self.picture.parent} is no folder", param_hint="--plot")
        check_plotting()


def print_evaluation(configurations: Sequence[Settings], lines: Iterable[bytes], *, name: str, wishes: Wishes) -> float:
    """Print how one configuration decides the cases, or how two do and how they compare.

    Args:
        configurations: One or two.
        lines: The cases, one JSON object a line.
        name: What the cases are called in faults.
        wishes: What is wanted beside the figures.

    Returns:
        The accuracy of the first, in [0, 1].

    Raises:
        CasesError: The cases cannot be used.
        ConfigurationError: A configuration names a classifier that this version does not have.
        MissingExtraError: There is to be a picture, and nothing to draw it with.
    """
    wishes.check()
    names = [str(settings.config_file or "the environment") for settings in configurations]
    policies = {name: settings.policy for name, settings in zip(names, configurations, strict=True)}
    cases = read_cases(lines, origin=name, policies=policies)
    for settings in configurations:
        build_rules(
            settings, build_classifier(settings)
        )  # what is wrong with the second is told before the first has taken its time
    evaluations = [evaluate(settings, _watched(cases)) for settings in configurations]
    _warn_of_failures(names, evaluations)
    comparison = compare(*(each.outcomes for each in evaluations)) if len(evaluations) > 1 else None
    flips = _robustness(configurations, cases, evaluations) if wishes.has_robustness else []
    if wishes.picture:
        _draw(names, evaluations, wishes.picture)
    if wishes.as_json:
        typer.echo(json.dumps(_document(evaluations, comparison, flips)))
    else:
        print_tables(names, [each.figures for each in evaluations], comparison)
        print_stages(names, evaluations)
        if wishes.has_confusion:
            print_confusions(names, evaluations)
        print_robustness(names, flips)
    return evaluations[0].figures.accuracy


def _watched(cases: Sequence[Case]) -> Iterable[Case]:
    console = Console(stderr=True)
    return track(cases, "cases", console=console, transient=True, disable=not console.is_terminal)


def _robustness(
    configurations: Sequence[Settings], cases: Sequence[Case], evaluations: Sequence[Evaluation]
) -> list[tuple[Robustness, ...]]:
    return [
        robustness(settings, cases, evaluation.outcomes, watched=_watched)
        for settings, evaluation in zip(configurations, evaluations, strict=True)
    ]


def _draw(names: Sequence[str], evaluations: Sequence[Evaluation], picture: Path) -> None:
    marks = [f"{mark}: {name}" for mark, name in zip("ab", names, strict=False)] if len(names) > 1 else names
    try:
        plot(dict(zip(marks, evaluations, strict=True)), picture)
    except OSError as error:
        raise typer.BadParameter(f"{picture} cannot be written: {error.strerror}", param_hint="--plot") from None
    typer.echo(f"wrote {picture}", err=True)


def _warn_of_failures(names: Sequence[str], evaluations: Sequence[Evaluation]) -> None:
    for name, evaluation in zip(names, evaluations, strict=True):
        if failures := evaluation.figures.failures:
            said = f"{failures} of {evaluation.figures.n} cases had no answer, or none within classifier.deadline_ms"
            typer.echo(f"warning: {name}: {said}; they count as wrong; try plano-asgi doctor", err=True)
        if unanswered := sum(bool(each.scores and each.scores.failed_stage) for each in evaluation.outcomes):
            said = f"in {unanswered} of {evaluation.figures.n} cases the second classifier had no answer"
            typer.echo(f"warning: {name}: {said}; that of the first stands; try plano-asgi doctor", err=True)


def _document(
    evaluations: Sequence[Evaluation], comparison: Comparison | None, flips: Sequence[Sequence[Robustness]]
) -> dict[str, Any]:
    documents = [_as_json(evaluation) for evaluation in evaluations]
    for document, changes in zip(documents, flips, strict=False):
        rows = [asdict(change) for change in changes]
        document["robustness"] = {row.pop("change"): row for row in rows}
    if comparison is None:
        return documents[0]
    return {"a": documents[0], "b": documents[1], "comparison": asdict(comparison)}


def _as_json(evaluation: Evaluation) -> dict[str, Any]:
    figures = asdict(evaluation.figures)
    return {
        **figures,
        "per_route": {row.pop("route"): row for row in figures["per_route"]},
        "classifier": evaluation.classifier,
        "revision": evaluation.revision,
        "threshold": evaluation.threshold,
        "thresholds": dict(evaluation.thresholds),
        "temperature": evaluation.temperature,
        "confusion": _confusion(evaluation),
        **({"stages": shares} if (shares := stage_shares(evaluation.outcomes)) else {}),
    }


def _confusion(evaluation: Evaluation) -> dict[str, dict[str, int]]:
    """Return the confusion matrix with the reserved word for no route, which no route can be called."""
    matrix = confusion_matrix(evaluation.outcomes, routes=(row.route for row in evaluation.figures.per_route))
    return {
        expect or NO_ROUTE_NAME: {route or NO_ROUTE_NAME: n for route, n in row.items()}
        for expect, row in matrix.items()
    }
