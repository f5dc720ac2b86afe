"""`plano-asgi export`."""

import os
import sys
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from plano_asgi.classify.arch_router.bundle import MANIFEST_NAME, Bundle
from plano_asgi.lab.export.exporting import Order, export
from plano_asgi.lab.export.location import Location
from plano_asgi.lab.export.source import check_extra

MIB: Final = 2**20
STAGES: Final = {
    "reading": "reading the source",
    "tokenizer": "tokenizer and chat template",
    "loading": "loading the model",
    "probe": "asking the model for its quotes",
    "source": "routing prompts, in transformers",
    "activations": "looking for outliers in activations",
    "graph": "writing the graph",
    "parity": "the same prompts, on ONNX Runtime",
}


def run_export(order: Order, *, is_quiet: bool) -> None:
    """Export a model, show how far it is on stderr, and print what came out of it.

    Raises:
        SystemExit: The model's licence has to be accepted first; its name is printed; exit code 2.
        ExportError: The model cannot be exported, or the export misses what its precision promises.
        MissingExtraError: The export extra is not installed.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")  # the bars of transformers would break through this command's own
    check_extra()
    _settle_licence(order)
    talk = Console(stderr=True, quiet=is_quiet)
    with _Bars(talk) as bars:
        bundle = export(order, progress=bars.show)
    if not is_quiet:
        _print_bundle(bundle)


def _settle_licence(order: Order) -> None:
    """Print the terms of a model that has some; stop where they are not accepted."""
    licence = Location.of(order.source).licence()
    if licence is None:
        return
    sys.stderr.write(f"This model is under the licence {licence.name}: {licence.url}\n{licence.terms}\n")
    if not order.accepts_licence:
        sys.stderr.write("Nothing was exported. Read the licence; then add --accept-license to accept it.\n")
        raise SystemExit(2)


class _Bars:
    """One line for each stage, with a bar on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task: TaskID | None = None
        self._stage = ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._end_stage()
        self._bars.stop()

    def show(self, stage: str, share: float) -> None:
        """Show how much of a stage is done."""
        if stage != self._stage:
            self._end_stage()
            self._stage = stage
            self._task = self._bars.add_task(STAGES[stage], total=1.0)
            if not self._console.is_terminal:
                self._console.print(STAGES[stage])
        if self._task is not None:
            self._bars.update(self._task, completed=share)

    def _end_stage(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=1.0)


def _print_bundle(bundle: Bundle) -> None:
    table = Table("file", "MiB", "SHA-256")
    for name in (*bundle.sha256, MANIFEST_NAME):
        size = (bundle.folder / name).stat().st_size / MIB
        table.add_row(name, f"{size:,.1f}", bundle.sha256.get(name, "")[:16])
    console = Console()
    console.print(table)
    found = bundle.parity
    console.print(
        f"{bundle.precision} against its source on {found['prompts']} prompts: the same route on"
        f" {found['agreement']:.0%}, on {found['clear_agreement']:.0%} of the {found['clear_prompts']} clear ones"
        f" (needed: {found['least_agreement']:.0%}); logits differ by {found['mean_logit_difference']:.2g} on average,"
        f" {found['max_logit_difference']:.2g} at most"
    )
    console.print(f"answers are quoted with {bundle.quoting} quotes; revision {bundle.revision}")
    console.print("[green]done[/green]; next:")
    command = f"PLANO_CLASSIFIER__KIND=arch_router PLANO_CLASSIFIER__MODEL_PATH={bundle.folder} plano-asgi doctor"
    console.print(escape(command), soft_wrap=True)
