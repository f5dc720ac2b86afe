"""How well the embedded router decides after so many steps of training, suite by suite, and what a threshold can mend.

```text
python -m plano_asgi.lab.train --datasets FOLDER --encoder FOLDER --work WORK --publish-every 300
python -m benchmarks.learning --run shipped=WORK [--run NAME=FOLDER ...] [--datasets FOLDER]
                              [--json FILE] [--plot FILE] [--quick]
```

A run is a folder with the routers `step-00300`, `step-00600` ... that training left in it. Each sits the exam of
`benchmarks/routing_quality.py` with the threshold it was published with; beside that stands the accuracy with the
threshold that is best for each family of suites in hindsight. Where the two lie close together and low, no calibration
can help.
"""

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.routing_suites.contenders import Guess, Routed
from benchmarks.routing_suites.figures import figures_by_family, overall
from benchmarks.routing_suites.pictures import draw_curves
from benchmarks.routing_suites.suites import Suite, exam
from plano_asgi.classify.embedded import EmbeddedClassifier

AIMS: Final = {
    "support_desk": 0.9,
    "enterprise_assistant": 0.9,
    "coding_gateway": 0.9,
    "CLINC150": 0.93,
    "SGD": 0.9,
    "MT-Bench": 0.8,
    "topic shift": 0.85,
}


def main() -> None:
    """Let every router of every run sit the exam; print a table, and write JSON and a picture where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", action="append", required=True, metavar="NAME=FOLDER", help="routers of one training")
    parser.add_argument("--datasets", type=Path, help="folder with the public data sets")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--plot", type=Path, help="where to draw the curves")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the cases: does it run?")
    arguments = parser.parse_args()
    suites = exam(arguments.datasets, is_quick=arguments.quick)
    runs = {}
    for said in arguments.run:
        name, _, folder = said.partition("=")
        runs[name] = {steps_of(router): examined(router, suites) for router in routers_in(Path(folder))}
    result = {
        "aims": AIMS,
        "runs": runs,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {version('onnxruntime')}",
    }
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if arguments.plot:
        draw_curves(runs, AIMS, arguments.plot)


def routers_in(folder: Path) -> Sequence[Path]:
    """Return the routers of a run, by steps.

    Raises:
        SystemExit: There is none.
    """
    found = sorted(folder.glob("step-*"))
    if not found:
        raise SystemExit(f"{folder} holds no step-* folders; train with --publish-every")
    return found


def steps_of(router: Path) -> int:
    """Return how many steps of training a router has had."""
    return int(router.name.removeprefix("step-"))


def examined(router: Path, suites: Sequence[Suite]) -> Mapping[str, Any]:
    """Return for each family of suites the accuracy, as published and with a threshold in hindsight; and the mean."""
    contender = Routed(router.name, EmbeddedClassifier(router))
    guesses: dict[str, list[Guess]] = {}
    for suite in track(suites, router.name, console=Console(stderr=True)):
        guesses.setdefault(suite.family, []).extend(contender.sit(suite))
    published = figures_by_family(guesses, contender.threshold)
    in_hindsight = figures_by_family(guesses, None)
    means = overall(guesses, published)
    return {
        "threshold": contender.threshold,
        "mean_accuracy": means["mean_accuracy"],
        "ece": means["ece"],
        "families": {
            family: {
                "accuracy": figures["accuracy"],
                "accuracy_with_a_threshold_in_hindsight": in_hindsight[family]["accuracy"],
            }
            for family, figures in published.items()
        },
    }


def show(result: Mapping[str, Any]) -> None:
    """Print a table for each run: as published / with a threshold in hindsight."""
    console = Console()
    for name, run in result["runs"].items():
        table = Table("suites", *map(str, run), "aim", title=f"{name}: accuracy after so many steps / best threshold")
        for family in next(iter(run.values()))["families"]:
            found = [each["families"][family].values() for each in run.values()]
            cells = [" / ".join(f"{accuracy:.3f}" for accuracy in pair) for pair in found]
            table.add_row(family, *cells, str(AIMS.get(family, "")))
        table.add_row("mean", *(f"{each['mean_accuracy']:.3f}" for each in run.values()), "")
        console.print(table)
    console.print(result["machine"])


if __name__ == "__main__":
    main()
