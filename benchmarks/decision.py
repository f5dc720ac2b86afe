"""What a decision of the Arch-Router classifier costs, beside the usual way: reading the prompt and generating.

```text
python -m benchmarks.decision --bundle DIR [--bundle DIR ...] [--device cpu|cuda] [--json FILE] [--plot FILE.svg]
python -m benchmarks.decision --random arch_router --precision int8 [--precision int4 ...]
python -m benchmarks.decision --bundle DIR --transformers SOURCE --gguf FILE
```

All ways run on one graph, in turn, round by round, over fresh random tokens. `--random` draws a graph of that shape
from a seed: latency does not depend on the values of weights, and nothing is said of accuracy. Beside each way stands
the physical floor of the same run: its operations at the peak of one large multiplication, or all weights read once for
each pass at the measured bandwidth, whichever takes longer.
"""

import argparse
import json
import platform
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.decision_cost.figures import draw, show
from benchmarks.decision_cost.graphs import SHAPES, random_bundle
from benchmarks.decision_cost.measuring import Effort, measure_bundle
from benchmarks.decision_cost.peers import measure_gguf, measure_transformers
from benchmarks.decision_cost.workload import Lengths
from plano_asgi.classify.arch_router.bundle import Bundle
from plano_asgi.classify.cores import usable_cores
from plano_asgi.classify.onnx_runtime import import_onnxruntime


def main() -> None:
    """Measure, print, and write and draw where asked."""
    arguments = parsed()
    lengths = Lengths(static=arguments.static, conversation=arguments.conversation)
    effort = Effort(
        rounds=arguments.rounds,
        peer_rounds=arguments.peer_rounds,
        concurrency=tuple(arguments.concurrency),
        seconds=arguments.seconds,
    )
    threads = arguments.threads or usable_cores()
    onnxruntime = import_onnxruntime(needed_for="the benchmark")
    with ExitStack() as stack:
        bundles = [Bundle.read(folder) for folder in arguments.bundle]
        for precision in arguments.precision if arguments.random else ():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            bundles.append(random_bundle(SHAPES[arguments.random], precision, folder))
        graphs = [measure_bundle(bundle, arguments.device, lengths, effort, threads=threads) for bundle in bundles]
    peers: list[dict[str, Any]] = []
    if arguments.transformers:
        peers.append(measure_transformers(arguments.transformers, lengths, effort, threads=threads))
    if arguments.gguf:
        peers += measure_gguf(arguments.gguf, lengths, effort, threads=threads)
    result = {
        "lengths": vars(lengths),
        "graphs": graphs,
        "peers": peers,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{arguments.machine or platform.machine()}, {threads} threads, Python {platform.python_version()}, "
        f"onnxruntime {onnxruntime.__version__}",
    }
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if arguments.plot:
        draw(result, arguments.plot)


def parsed() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, action="append", default=[], help="what plano-asgi export wrote")
    parser.add_argument("--random", choices=SHAPES, help="draw a graph of this shape from a seed")
    parser.add_argument("--precision", action="append", default=[], choices=["fp32", "fp16", "int8", "int4"])
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="CPU threads in one run; as many as the container has cores")
    parser.add_argument("--static", type=int, default=Lengths.static, help="tokens of template and routes")
    parser.add_argument("--conversation", type=int, default=Lengths.conversation, help="tokens of the conversation")
    parser.add_argument("--rounds", type=int, default=9, help="how often each way is taken")
    parser.add_argument("--peer-rounds", type=int, default=5, help="the same for other libraries")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each concurrency is kept up")
    parser.add_argument("--concurrency", type=int, nargs="*", default=[1, 4, 16], help="callers at the same time")
    parser.add_argument("--transformers", type=Path, help="model folder or GGUF file for transformers")
    parser.add_argument("--gguf", type=Path, help="GGUF file for llama.cpp (xllamacpp)")
    parser.add_argument("--machine", help="what to call this machine in the result")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--plot", type=Path, help="where to draw the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
