"""How well the embedded router decides on routes it has never seen, against what people use where there is none.

```text
python -m benchmarks.routing_quality [--datasets FOLDER] [--zero-shot FOLDER] [--bundle FOLDER]
                                     [--json FILE] [--plot FILE] [--quick]
```

Without data sets it sits the hand-written suites of `benchmarks/data` only. `--zero-shot` is a folder with a published
sentence encoder (all-MiniLM-L6-v2 as `model.onnx` and `tokenizer.json`). TF-IDF needs scikit-learn. Contenders without
a notion of "none of these" get the threshold that is best for each family of suites in hindsight, which our router does
not.
"""

import argparse
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.routing_suites.contenders import (
    Contender,
    Guess,
    NearestUtterance,
    Routed,
    SentenceEncoder,
    TfIdf,
    ZeroShot,
)
from benchmarks.routing_suites.figures import figures_by_family, overall
from benchmarks.routing_suites.flips import flip_rates
from benchmarks.routing_suites.pictures import draw
from benchmarks.routing_suites.speed import latency_table
from benchmarks.routing_suites.suites import Suite, exam
from plano_asgi.classify.embedded import EmbeddedClassifier


def main() -> None:
    """Sit the exam, print a table, and write JSON and a picture where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=Path, help="folder with the public data sets")
    parser.add_argument("--zero-shot", type=Path, help="folder with a sentence encoder as ONNX")
    parser.add_argument("--bundle", type=Path, help="a folder that plano-asgi export wrote")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--plot", type=Path, help="where to draw accuracy against milliseconds")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the cases: does it run?")
    arguments = parser.parse_args()
    suites = exam(arguments.datasets, is_quick=arguments.quick)
    router = EmbeddedClassifier()
    results = {each.name: examined(each, suites) for each in contenders(router, arguments)}
    result = {
        "contenders": results,
        "flip_rates": flip_rates(router, suites),
        "latency_ms": latency_table(router, runs=3 if arguments.quick else 60),
        "router": router.revision,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {version('onnxruntime')}",
    }
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if arguments.plot:
        draw(results, arguments.plot)


def contenders(router: EmbeddedClassifier, arguments: argparse.Namespace) -> Iterator[Contender]:
    """Yield who sits the exam."""
    yield Routed("embedded router", router)
    if arguments.zero_shot:
        encode = SentenceEncoder(arguments.zero_shot).encode
        yield ZeroShot(encode)
        yield NearestUtterance(encode)
    if find_spec("sklearn"):
        yield TfIdf()
    else:
        Console(stderr=True).print("TF-IDF does not sit the exam; pip install scikit-learn to let it")
    if arguments.bundle:
        from plano_asgi.classify.arch_router.classifier import ArchRouterClassifier  # noqa: PLC0415 - loads much

        yield Routed(f"bundle {arguments.bundle.name}", ArchRouterClassifier(arguments.bundle))


def examined(contender: Contender, suites: Sequence[Suite]) -> dict[str, Any]:
    """Return a contender's figures, by family and overall."""
    guesses: dict[str, list[Guess]] = {}
    for suite in track(suites, contender.name, console=Console(stderr=True)):
        found = contender.sit(suite)
        if found is not None:
            guesses.setdefault(suite.family, []).extend(found)
    if not guesses:
        return {"families": {}}
    families = figures_by_family(guesses, contender.threshold)
    return {"families": families, **overall(guesses, families)}


def show(result: Mapping[str, Any]) -> None:
    """Print the result for people."""
    contenders: Mapping[str, Any] = result["contenders"]
    table = Table("suites", "n", *contenders, title="accuracy")
    first = next(iter(contenders.values()))["families"]
    for family, figures in first.items():
        found = [each["families"].get(family) for each in contenders.values()]
        table.add_row(family, str(figures["n"]), *(f"{one['accuracy']:.3f}" if one else "-" for one in found))
    table.add_section()
    for figure in ("mean_accuracy", "mean_accuracy_with_one_threshold", "ece", "p50_ms"):
        table.add_row(figure, "", *(str(each.get(figure, "-")) for each in contenders.values()))
    console = Console()
    console.print(table)
    console.print("flip rates", result["flip_rates"])
    console.print("milliseconds by tokens and routes", result["latency_ms"])
    console.print(result["machine"])


if __name__ == "__main__":
    main()
