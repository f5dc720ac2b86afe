"""`plano-asgi eval`: how well a configuration decides cases with known answers, alone or beside another."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Column, Table

from plano_asgi.assembly import build_classifier
from plano_asgi.lab.evaluation import Case, Comparison, Evaluation, Figures, RouteFigures, compare, evaluate, read_cases
from plano_asgi.settings import Settings

MOST_CONFUSIONS: Final = 5  # in the table for people
NOTHING: Final = "–"
_SHARES: Final = {
    "accuracy": "accuracy",
    "in_scope_accuracy": "... where a route is right",
    "abstain_precision": "abstain precision",
    "abstain_recall": "abstain recall",
    "ece": "calibration error (ECE)",
}
_TIMES: Final = {"p50_ms": "p50, ms", "p95_ms": "p95, ms"}


def print_evaluation(configurations: Sequence[Settings], lines: Iterable[bytes], *, name: str, as_json: bool) -> float:
    """Print how one configuration decides the cases, or how two do and how they compare.

    Args:
        configurations: One or two.
        lines: The cases, one JSON object a line.
        name: What the cases are called in faults.
        as_json: Whether a program reads it.

    Returns:
        The accuracy of the first, in [0, 1].

    Raises:
        CasesError: The cases cannot be used.
        ConfigurationError: A configuration names a classifier that this version does not have.
    """
    names = [str(settings.config_file or "the environment") for settings in configurations]
    policies = {name: settings.policy for name, settings in zip(names, configurations, strict=True)}
    cases = read_cases(lines, origin=name, policies=policies)
    for settings in configurations:
        build_classifier(settings)  # what is wrong with the second is told before the first has taken its time
    evaluations = [evaluate(settings, _watched(cases)) for settings in configurations]
    _warn_of_failures(names, evaluations)
    comparison = compare(*(each.outcomes for each in evaluations)) if len(evaluations) > 1 else None
    if as_json:
        typer.echo(json.dumps(_document(evaluations, comparison)))
    else:
        _print_tables(names, [each.figures for each in evaluations], comparison)
    return evaluations[0].figures.accuracy


def _watched(cases: Sequence[Case]) -> Iterable[Case]:
    console = Console(stderr=True)
    return track(cases, "cases", console=console, transient=True, disable=not console.is_terminal)


def _warn_of_failures(names: Sequence[str], evaluations: Sequence[Evaluation]) -> None:
    for name, evaluation in zip(names, evaluations, strict=True):
        if failures := evaluation.figures.failures:
            said = f"{failures} of {evaluation.figures.n} cases had no answer, or none within classifier.deadline_ms"
            typer.echo(f"warning: {name}: {said}; they count as wrong; try plano-asgi doctor", err=True)


def _document(evaluations: Sequence[Evaluation], comparison: Comparison | None) -> dict[str, Any]:
    documents = [_as_json(evaluation) for evaluation in evaluations]
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
    }


def _print_tables(names: Sequence[str], figures: Sequence[Figures], comparison: Comparison | None) -> None:
    console = Console()
    console.print(_overall(names, figures))
    console.print(_per_route(figures))
    for name, each in zip(names, figures, strict=True):
        if each.confusions:
            console.print(_confusions(name, each))
    if comparison is not None:
        _print_comparison(console, comparison)


def _overall(names: Sequence[str], figures: Sequence[Figures]) -> Table:
    """Return a column for each configuration, and one of differences where there are two."""
    marks = [f"{mark}: {name}" for mark, name in zip("ab", names, strict=False)] if len(names) > 1 else names
    table = Table(Column("", no_wrap=True), *(Column(escape(mark), justify="right", overflow="fold") for mark in marks))
    if len(figures) > 1:
        table.add_column("b - a", justify="right")
    rows = [(title, key, _share) for key, title in _SHARES.items()]
    rows += [(title, key, _milliseconds) for key, title in _TIMES.items()]
    for title, key, written in rows:
        values: list[float | None] = [getattr(each, key) for each in figures]
        table.add_row(title, *map(written, values), *_difference(values, written))
    table.add_row("no answer", *(str(each.failures) for each in figures))
    table.add_row("cases", *(str(each.n) for each in figures))
    return table


def _difference(values: Sequence[float | None], written: Callable[[float | None], str]) -> list[str]:
    known = [value for value in values if value is not None]
    if len(values) == 1 or len(known) < len(values):
        return []
    difference = known[1] - known[0]
    return [f"{'+' if difference >= 0 else '-'}{written(abs(difference))}"]


def _per_route(figures: Sequence[Figures]) -> Table:
    """Return a row for each route that any of the configurations has."""
    marks = ["a ", "b "] if len(figures) > 1 else [""]
    columns = (f"{mark}{measure}" for mark in marks for measure in ("precision", "recall"))
    table = Table(Column("route", overflow="fold"), "n", *(Column(title, justify="right") for title in columns))
    rows = [{row.route: row for row in each.per_route} for each in figures]
    for route in dict.fromkeys(route for each in rows for route in each):
        found = [each.get(route) for each in rows]
        n = next(row.n for row in found if row is not None)
        table.add_row(escape(route), str(n), *(cell for row in found for cell in _precision_and_recall(row)))
    return table


def _precision_and_recall(row: RouteFigures | None) -> tuple[str, str]:
    return (NOTHING, NOTHING) if row is None else (_share(row.precision), _share(row.recall))


def _confusions(name: str, figures: Figures) -> Table:
    table = Table("expected", "went to", "n", title=f"commonest mistakes: {escape(name)}", title_justify="left")
    for confusion in figures.confusions[:MOST_CONFUSIONS]:
        table.add_row(*(escape(route or "no route") for route in (confusion.expect, confusion.route)), str(confusion.n))
    return table


def _print_comparison(console: Console, comparison: Comparison) -> None:
    both = f"both right {comparison.both_right}, both wrong {comparison.both_wrong}"
    console.print(f"only a right {comparison.only_a}, only b right {comparison.only_b}, {both}")
    console.print(f"McNemar's exact test: p = {comparison.mcnemar_p:.3g}")
    if comparison.p50_ratio is not None:
        console.print(f"the median decision of b takes {comparison.p50_ratio:.2f} times as long as that of a")


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _milliseconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"
