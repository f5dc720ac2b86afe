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
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.classify.embedded.encoder import SentenceEncoder
from plano_asgi.classify.embedded.texts import conversation_texts, route_text
from plano_asgi.conversation import Conversation
from plano_asgi.lab.corpus_files import to_conversation
from plano_asgi.lab.evaluation import Outcome, figures_of
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

EXAM = Path(__file__).parent / "data" / "policies_exam.jsonl"


@dataclass(frozen=True, slots=True)
class Answer:
    """One case: what the router made of it, and what the baseline says."""

    policy: str
    turns: int
    routed: Outcome
    cosine_best: str
    cosine: float

    def is_right_by_cosine(self, threshold: float) -> bool:
        """Return whether the baseline would be right with this threshold."""
        return self.routed.expect == (self.cosine_best if self.cosine >= threshold else None)


def main() -> None:
    """Run the exam, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    classifier = EmbeddedClassifier()
    result = summarise(run_exam(classifier)) | {
        "date": datetime.now(UTC).date().isoformat(),
        "classifier": classifier.revision,
        "machine": f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {version('onnxruntime')}",
    }
    print_table(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def run_exam(classifier: EmbeddedClassifier) -> list[Answer]:
    """Return what router and baseline make of every case."""
    encoder = SentenceEncoder(SHIPPED_FOLDER / "encoder.onnx", SHIPPED_FOLDER / "tokenizer.json", threads=1)
    answers = []
    for line in track(EXAM.read_text(encoding="utf-8").splitlines(), "exam", console=Console(stderr=True)):
        row = json.loads(line)
        preferences = (RoutingPreference(**route, models=("any/model",)) for route in row["routes"])
        policy = RoutingPolicy(preferences=tuple(preferences))
        classifier.prepare(policy)
        routes = np.stack([encoder.encode(route_text(preference)) for preference in policy.preferences])
        for case in row["cases"]:
            conversation = to_conversation(case["messages"])
            texts = conversation_texts(conversation)
            routed = decided(classifier, conversation, policy, expect=case["expect"])
            similar = routes @ encoder.encode(texts.latest if texts else "")
            answers.append(
                Answer(
                    policy=row["policy"],
                    turns=len(conversation),
                    routed=routed,
                    cosine_best=policy.preferences[int(similar.argmax())].name,
                    cosine=float(similar.max()),
                )
            )
    return answers


def decided(
    classifier: EmbeddedClassifier, conversation: Conversation, policy: RoutingPolicy, *, expect: str | None
) -> Outcome:
    """Return what the classifier with its own threshold makes of a case."""
    started = perf_counter()
    scores = classifier.classify(conversation, policy)
    elapsed_ms = (perf_counter() - started) * 1000
    best = max(scores.routes, key=lambda name: scores.routes[name])
    is_match = scores.routes[best] >= classifier.threshold
    return Outcome(
        expect=expect,
        route=best if is_match else None,
        confidence=scores.routes[best] if is_match else scores.other,
        elapsed_ms=elapsed_ms,
    )


def summarise(answers: Sequence[Answer]) -> dict[str, object]:
    """Return accuracies, of abstention too, and times."""
    figures = figures_of([answer.routed for answer in answers], routes=())
    per_policy: dict[str, list[bool]] = defaultdict(list)
    for answer in answers:
        per_policy[answer.policy].append(answer.routed.is_right)
    candidates = np.arange(0.0, 0.7, 0.01)
    return {
        "n": figures.n,
        "accuracy": rounded(figures.accuracy),
        "in_scope_accuracy": rounded(figures.in_scope_accuracy),
        "abstain_precision": rounded(figures.abstain_precision),
        "abstain_recall": rounded(figures.abstain_recall),
        "ece": rounded(figures.ece),
        "multi_turn_accuracy": share([answer.routed.is_right for answer in answers if answer.turns > 1]),
        "cosine_in_hindsight_accuracy": max(share([a.is_right_by_cosine(t) for a in answers]) for t in candidates),
        "cosine_at_cross_validated_threshold_accuracy": cross_validated_cosine(answers, candidates),
        "p50_ms": round(figures.p50_ms, 2),
        "per_policy": {name: share(results) for name, results in per_policy.items()},
    }


def cross_validated_cosine(answers: Sequence[Answer], candidates: Sequence[float] | np.ndarray) -> float:
    """Return the baseline's accuracy where each policy's threshold is the best one on all other policies."""
    right = []
    for policy in {answer.policy for answer in answers}:
        others = [answer for answer in answers if answer.policy != policy]

        def elsewhere(threshold: float, others: Sequence[Answer] = others) -> float:
            return share([answer.is_right_by_cosine(threshold) for answer in others])

        threshold = max(candidates, key=elsewhere)
        right += [answer.is_right_by_cosine(threshold) for answer in answers if answer.policy == policy]
    return share(right)


def share(results: Sequence[bool]) -> float:
    """Return the share of true results, rounded to three places."""
    return round(sum(results) / len(results), 3)


def rounded(figure: float | None) -> float | None:
    """Return the figure rounded to three places, if there is one."""
    return None if figure is None else round(figure, 3)


def print_table(result: dict[str, object]) -> None:
    """Print the result for people."""
    table = Table("figure", "value")
    for name, value in result.items():
        table.add_row(name, json.dumps(value) if isinstance(value, dict) else str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
