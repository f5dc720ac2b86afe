"""The tables of `plano-asgi eval` and `calibrate`, for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from plano_asgi.lab.evaluation import Comparison, Evaluation, Figures, Robustness, RouteFigures, confusion_matrix
from plano_asgi.lab.evaluation.stages import stage_shares

MOST_CONFUSIONS: Final = 5
NO_ROUTE: Final = "no route"
NOTHING: Final = "–"
_SHARES: Final = {
    "accuracy": "accuracy",
    "in_scope_accuracy": "... where a route is right",
    "abstain_precision": "abstain precision",
    "abstain_recall": "abstain recall",
    "ece": "calibration error (ECE)",
}
_TIMES: Final = {"p50_ms": "p50, ms", "p95_ms": "p95, ms"}


def print_tables(names: Sequence[str], figures: Sequence[Figures], comparison: Comparison | None) -> None:
    """Print how the configurations of these names do: overall, by route, the commonest mistakes, and compared."""
    console = Console()
    console.print(_overall(names, figures))
    console.print(_per_route(figures))
    for name, each in zip(names, figures, strict=True):
        if each.confusions:
            console.print(_confusions(name, each))
    if comparison is not None:
        _print_comparison(console, comparison)


def print_stages(names: Sequence[str], evaluations: Sequence[Evaluation]) -> None:
    """Print which classifier of a cascade answered how often, for each configuration that has one."""
    for name, evaluation in zip(names, evaluations, strict=True):
        if shares := stage_shares(evaluation.outcomes):
            answered = ", ".join(f"{stage} {share:.1%}" for stage, share in shares.items())
            Console().print(f"{escape(name)} was answered by: {answered}")


def print_confusions(names: Sequence[str], evaluations: Sequence[Evaluation]) -> None:
    """Print each configuration's confusion matrix; columns go by number, for routes can be many and names long."""
    for name, evaluation in zip(names, evaluations, strict=True):
        matrix = confusion_matrix(evaluation.outcomes, routes=(row.route for row in evaluation.figures.per_route))
        columns = (Column(str(number), justify="right") for number in range(1, len(matrix) + 1))
        title = f"expected (down) and decided (across): {escape(name)}"
        table = Table("", Column("expected", overflow="fold"), *columns, title=title, title_justify="left")
        for number, (expect, row) in enumerate(matrix.items(), start=1):
            table.add_row(str(number), escape(expect or NO_ROUTE), *(str(n) if n else "" for n in row.values()))
        Console().print(table)


def print_robustness(names: Sequence[str], flips: Sequence[Sequence[Robustness]]) -> None:
    """Print how often each configuration's decisions change; nothing where that was not asked for."""
    for name, changes in zip(names, flips, strict=False):
        columns = (Column(title, justify="right") for title in ("rounds", "other decision", "accuracy"))
        table = Table("changed", *columns, title=f"robustness: {escape(name)}", title_justify="left")
        for change in changes:
            table.add_row(change.change, str(change.rounds), _share(change.flips), _share(change.accuracy))
        Console().print(table)


def shares_table(heads: Sequence[str], figures: Sequence[Figures], *, difference: str) -> Table:
    """Return a table of shares with a column for each of the figures, and one of differences where there are two."""
    table = Table(Column("", no_wrap=True), *(Column(escape(head), justify="right", overflow="fold") for head in heads))
    if len(figures) > 1:
        table.add_column(difference, justify="right")
    _add_rows(table, figures, _SHARES, _share)
    return table


def _overall(names: Sequence[str], figures: Sequence[Figures]) -> Table:
    marks = [f"{mark}: {name}" for mark, name in zip("ab", names, strict=False)] if len(names) > 1 else names
    table = shares_table(marks, figures, difference="b - a")
    _add_rows(table, figures, _TIMES, _milliseconds)
    table.add_row("no answer", *(str(each.failures) for each in figures))
    table.add_row("cases", *(str(each.n) for each in figures))
    return table


def _add_rows(
    table: Table, figures: Sequence[Figures], titles: Mapping[str, str], written: Callable[[float | None], str]
) -> None:
    for key, title in titles.items():
        values: list[float | None] = [getattr(each, key) for each in figures]
        table.add_row(title, *map(written, values), *_difference(values, written))


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
        table.add_row(*(escape(route or NO_ROUTE) for route in (confusion.expect, confusion.route)), str(confusion.n))
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
