"""What a decision costs: the router on one CPU thread, and how much of it is the bare encoder.

```text
python benchmarks/latency.py [--json FILE]
```

The baseline, run in turn with the router, is one bare run of the encoder over the same text: the part that any router
built on embeddings has to pay. The ratio is what comparing, keys, cache and threads add. `cached` is a decision whose
scores were kept.
"""

import argparse
import json
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from rich.console import Console
from rich.progress import track
from rich.table import Table

from plano_asgi import LLMCall, RoutingPolicy, RoutingPreference
from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.classify.embedded.encoder import Encoder
from plano_asgi.classify.embedded.texts import conversation_texts
from plano_asgi.classify.embedded.tokens import Tokenizer, conversation_tokens, open_tokenizer
from plano_asgi.decisions import Scores
from plano_asgi.policy import Rules
from plano_asgi.providers import ModelCatalog, ModelProvider
from plano_asgi.router import Router
from plano_asgi.stores import MemoryStore

ROUTES = 8
RUNS = 200
SENTENCE = "Please look at the following situation carefully and tell me what you would do about number {}. "
TEXT_SENTENCES = {"about 20 tokens": 1, "about 64 tokens": 3, "full window": 12}


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    router, bare = build_router(), BareEncoder()
    rows = {name: measure(router, bare, sentences, name) for name, sentences in TEXT_SENTENCES.items()}
    router.close()
    result = {
        "routes": ROUTES,
        "runs": RUNS,
        "milliseconds": rows,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {version('onnxruntime')}",
    }
    show(rows, str(result["machine"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


class BareEncoder:
    """The shipped encoder, and nothing around it."""

    def __init__(self) -> None:
        """Load it."""
        self._tokenizer: Tokenizer = open_tokenizer(SHIPPED_FOLDER / "tokenizer.json")
        self._encoder = Encoder(SHIPPED_FOLDER / "encoder.onnx", threads=1)

    def run(self, call: LLMCall) -> None:
        """Read a call as the router reads it, and encode it."""
        if texts := conversation_texts(call.conversation):
            self._encoder.states(conversation_tokens(self._tokenizer, texts))


def build_router() -> Router:
    """Return a started router over eight routes."""
    policy = RoutingPolicy(
        preferences=tuple(
            RoutingPreference(name=f"route {n}", description=f"requests of kind {n}", models=("any/model",))
            for n in range(ROUTES)
        )
    )
    catalog = ModelCatalog(providers=(ModelProvider(model="any/model", is_default=True),))
    cache: MemoryStore[bytes, Scores] = MemoryStore(size=10_000)
    classifier = EmbeddedClassifier()
    rules = Rules(threshold=classifier.threshold, default_model="any/model")
    router = Router(classifier=classifier, policy=policy, catalog=catalog, rules=rules, cache=cache, deadline_ms=10_000)
    router.start()
    return router


def measure(router: Router, bare: BareEncoder, sentences: int, name: str) -> dict[str, float]:
    """Return milliseconds of decisions and of bare encodings, taken in turn, and their ratio."""
    decided, encoded, cached = [], [], []
    for run in track(range(RUNS), name, console=Console(stderr=True)):
        text = "".join(SENTENCE.format(run * 100 + n) for n in range(sentences))
        call = LLMCall.from_text(text)
        encoded.append(timed(partial(bare.run, call)))
        decided.append(timed(partial(router.route, call)))
        cached.append(timed(partial(router.route, call)))
    ratios = [whole / part for whole, part in zip(decided, encoded, strict=True)]
    return {
        "decision_p50": round(median(decided), 2),
        "decision_p95": round(quantiles(decided, n=20)[18], 2),
        "encoder_p50": round(median(encoded), 2),
        "decision_over_encoder": round(median(ratios), 2),
        "cached_p50": round(median(cached), 3),
    }


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds that the work took."""
    started = perf_counter()
    work()
    return (perf_counter() - started) * 1000


def show(rows: dict[str, dict[str, float]], machine: str) -> None:
    """Print the figures for people."""
    table = Table("text", *next(iter(rows.values())), title=f"milliseconds, {ROUTES} routes, one thread; {machine}")
    for name, figures in rows.items():
        table.add_row(name, *map(str, figures.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
