"""`plano-asgi calibrate`: a classifier's confidence, corrected by cases with known answers."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Column, Table

from plano_asgi.assembly import build_classifier, calibration_text
from plano_asgi.cli.evaluation_tables import shares_table
from plano_asgi.lab.calibration.calibrating import Calibrated, calibrate
from plano_asgi.lab.calibration.cascading import CascadeBand, cascade_band
from plano_asgi.lab.calibration.objective import Objective
from plano_asgi.lab.evaluation import Case, read_cases
from plano_asgi.policy import Calibration
from plano_asgi.settings import Settings

FILE_NAME: Final = "calibration.json"
FEW_CASES: Final = 100
CERTAIN: Final = 0.05  # of McNemar's p


def run_calibration(  # noqa: PLR0913 - each is an option of its own
    settings: Settings, lines: Iterable[bytes], *, name: str, objective: Objective, out: Path | None, as_json: bool
) -> None:
    """Fit temperature and thresholds, write them into a file, and print what they are worth.

    Args:
        settings: The configuration; a calibration that it names already plays no part.
        lines: The cases, one JSON object a line.
        name: What the cases are called in faults.
        objective: What the thresholds make the most of.
        out: The file; without it `calibration.json` beside the configuration.
        as_json: Whether a program reads what is printed.

    Raises:
        CasesError: The cases cannot be used, or are too few.
        BadParameter: The file cannot be written.
        PlanoError: The classifier cannot be asked.
    """
    path = out or (settings.config_file or Path()).parent / FILE_NAME
    if not path.parent.is_dir():
        raise typer.BadParameter(f"{path.parent} is no folder", param_hint="--out")
    found = calibrate(settings, _watched(_cases(settings, lines, name)), objective=objective)
    calibration = Calibration(
        classifier=found.revision,
        temperature=found.fit.temperature,
        threshold=found.fit.threshold,
        thresholds=found.fit.thresholds,
        cases=found.cases,
        date=datetime.now(UTC).date().isoformat(),
    )
    text = calibration_text(calibration)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}", param_hint="--out") from None
    for warning in _warnings(found):
        typer.echo(f"warning: {warning}", err=True)
    if as_json:
        sides = {"before": asdict(found.before), "after": asdict(found.after)}
        document = {
            "calibration": json.loads(text),
            "file": str(path),
            **sides,
            "mcnemar_p": found.comparison.mcnemar_p,
        }
        typer.echo(json.dumps(document))
    else:
        _print_calibration(found)
    typer.echo(f"wrote {path}; to use it, set classifier.calibration to it", err=True)


def run_band_choice(settings: Settings, lines: Iterable[bytes], *, name: str, target: float, as_json: bool) -> None:
    """Print the band in which a cascade has to ask its second classifier, to agree with it so often.

    Args:
        settings: The configuration; its classifier is a cascade.
        lines: The cases, one JSON object a line.
        name: What the cases are called in faults.
        target: The share of cases, in [0, 1].
        as_json: Whether a program reads it.

    Raises:
        CasesError: The cases cannot be used, or are too few.
        ConfigurationError: The classifier is no cascade.
        PlanoError: A classifier cannot be asked.
    """
    found = cascade_band(settings, _cases(settings, lines, name), target=target, watched=_watched)
    if found.unanswered:
        typer.echo(f"warning: {found.unanswered} cases have no answer of both and are left out", err=True)
    if found.choice.agreement < target:
        typer.echo(f"warning: no band reaches an agreement of {target}; this one comes nearest", err=True)
    if as_json:
        accuracies = {"first_accuracy": found.first.accuracy, "second_accuracy": found.second.accuracy}
        typer.echo(json.dumps({**asdict(found.choice), "cases": found.cases, **accuracies}))
    else:
        _print_band(found)


def _cases(settings: Settings, lines: Iterable[bytes], name: str) -> tuple[Case, ...]:
    build_classifier(settings)  # what is wrong with it is told before what is wrong with the cases
    return read_cases(lines, origin=name, policies={str(settings.config_file or "the environment"): settings.policy})


def _watched(cases: Sequence[Case]) -> Iterable[Case]:
    console = Console(stderr=True)
    return track(cases, "cases", console=console, transient=True, disable=not console.is_terminal)


def _warnings(found: Calibrated) -> Iterable[str]:
    if found.unanswered:
        yield f"{found.unanswered} cases have no answer and are left out; try plano-asgi doctor"
    if found.cases < FEW_CASES:
        yield f"{found.cases} cases say little; {2 * FEW_CASES} or more are advised"
    if found.without_route == 0:
        yield "no case expects null, so nothing tells when to choose no route, and the thresholds are too low"
    if found.after.accuracy < found.before.accuracy:
        yield "decisions are not better for it on cases that it was not fitted on; consider doing without"


def _print_calibration(found: Calibrated) -> None:
    console = Console()
    heads = ("before", "after, on cases not fitted on")
    console.print(shares_table(heads, (found.before, found.after), difference="change"))
    p = found.comparison.mcnemar_p
    verdict = "hardly chance" if p < CERTAIN else "can be chance"
    console.print(f"{found.cases} cases; the change of accuracy {verdict} (McNemar's exact test: p = {p:.3g})")
    table = Table(Column("route", overflow="fold"), Column("threshold", justify="right"))
    for route, threshold in found.fit.thresholds.items():
        table.add_row(escape(route), f"{threshold:.3f}")
    table.add_row("[dim]inline policies[/dim]", f"{found.fit.threshold:.3f}")
    console.print(table)
    console.print(f"temperature {found.fit.temperature:.3f}")


def _print_band(found: CascadeBand) -> None:
    choice = found.choice
    table = Table("", Column("", justify="right"))
    rows: dict[str, Any] = {
        "calls for the second": choice.share,
        "agreement with the second": choice.agreement,
        "accuracy of the first": found.first.accuracy,
        "accuracy of the second": found.second.accuracy,
    }
    for title, value in rows.items():
        table.add_row(title, f"{value:.3f}")
    console = Console()
    console.print(table)
    console.print(f"classifier.cascade.low: {choice.low:.6g}\nclassifier.cascade.high: {choice.high:.6g}")
