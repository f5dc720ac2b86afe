"""How well the embedded router decides on policies it has never seen, against plain cosine similarity in the same run.

```text
python benchmarks/routing_exam.py [--json FILE]
```

The exam (`benchmarks/data/policies_exam.jsonl`) was written by hand, apart from all training data: 12 policies and
360 cases, 40 % of which no route covers. The baseline is the same encoder's cosine with the one threshold that is
best on the exam itself, an advantage of hindsight that the router does not have.
"""

import argparse
import json
import platform
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.classify.embedded.encoder import SentenceEncoder
from plano_asgi.classify.embedded.texts import conversation_texts, route_text
from plano_asgi.lab.corpus_files import to_conversation
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

EXAM = Path(__file__).parent / "data" / "policies_exam.jsonl"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case: what was expected, and what router and baseline say."""

    policy: str
    turns: int
    expected: str | None
    best: str
    confidence: float
    cosine_best: str
    cosine: float
    elapsed_ms: float


def main() -> None:
    """Run the exam, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    classifier = EmbeddedClassifier()
    outcomes = run_exam(classifier)
    result = summarise(outcomes, classifier.threshold) | {
        "date": datetime.now(UTC).date().isoformat(),
        "classifier": classifier.revision,
        "machine": f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {version('onnxruntime')}",
    }
    print_table(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def run_exam(classifier: EmbeddedClassifier) -> list[Outcome]:
    """Return the outcome of every case."""
    encoder = SentenceEncoder(SHIPPED_FOLDER / "encoder.onnx", SHIPPED_FOLDER / "tokenizer.json", threads=1)
    outcomes = []
    for line in track(EXAM.read_text(encoding="utf-8").splitlines(), "exam", console=Console(stderr=True)):
        row = json.loads(line)
        preferences = (RoutingPreference(**route, models=("any/model",)) for route in row["routes"])
        policy = RoutingPolicy(preferences=tuple(preferences))
        classifier.prepare(policy)
        routes = np.stack([encoder.encode(route_text(preference)) for preference in policy.preferences])
        for case in row["cases"]:
            conversation = to_conversation(case["messages"])
            started = perf_counter()
            scores = classifier.classify(conversation, policy)
            elapsed_ms = (perf_counter() - started) * 1000
            best = max(scores.routes, key=lambda name: scores.routes[name])
            texts = conversation_texts(conversation)
            similar = routes @ encoder.encode(texts.latest if texts else "")
            outcomes.append(
                Outcome(
                    policy=row["policy"],
                    turns=len(conversation),
                    expected=case["expect"],
                    best=best,
                    confidence=scores.routes[best],
                    cosine_best=policy.preferences[int(similar.argmax())].name,
                    cosine=float(similar.max()),
                    elapsed_ms=elapsed_ms,
                )
            )
    return outcomes


def summarise(outcomes: Sequence[Outcome], threshold: float) -> dict[str, object]:
    """Return accuracies, of abstention too, and times."""
    right = [o.expected == (o.best if o.confidence >= threshold else None) for o in outcomes]
    per_policy: dict[str, list[bool]] = defaultdict(list)
    for outcome, is_right in zip(outcomes, right, strict=True):
        per_policy[outcome.policy].append(is_right)
    candidates = np.arange(0.0, 0.7, 0.01)
    cosine = [share([o.expected == (o.cosine_best if o.cosine >= t else None) for o in outcomes]) for t in candidates]
    return {
        "n": len(outcomes),
        "accuracy": share(right),
        "in_scope_accuracy": share([r for r, o in zip(right, outcomes, strict=True) if o.expected is not None]),
        "abstain_recall": share([r for r, o in zip(right, outcomes, strict=True) if o.expected is None]),
        "multi_turn_accuracy": share([r for r, o in zip(right, outcomes, strict=True) if o.turns > 1]),
        "cosine_in_hindsight_accuracy": max(cosine),
        "cosine_at_cross_validated_threshold_accuracy": cross_validated_cosine(outcomes, candidates),
        "p50_ms": round(median(o.elapsed_ms for o in outcomes), 2),
        "per_policy": {name: share(results) for name, results in per_policy.items()},
    }


def cross_validated_cosine(outcomes: Sequence[Outcome], candidates: Sequence[float] | np.ndarray) -> float:
    """Return the baseline's accuracy where each policy's threshold is the best one on all other policies."""
    right = []
    for policy in {o.policy for o in outcomes}:
        others = [o for o in outcomes if o.policy != policy]

        def elsewhere(threshold: float, others: Sequence[Outcome] = others) -> float:
            return share([o.expected == (o.cosine_best if o.cosine >= threshold else None) for o in others])

        threshold = max(candidates, key=elsewhere)
        own = (o for o in outcomes if o.policy == policy)
        right += [o.expected == (o.cosine_best if o.cosine >= threshold else None) for o in own]
    return share(right)


def share(results: Sequence[bool]) -> float:
    """Return the share of true results, rounded to three places."""
    return round(sum(results) / len(results), 3)


def print_table(result: dict[str, object]) -> None:
    """Print the result for people."""
    table = Table("figure", "value")
    for name, value in result.items():
        table.add_row(name, json.dumps(value) if isinstance(value, dict) else str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
