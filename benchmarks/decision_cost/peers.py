"""The usual ways outside this package, where they are installed: transformers, and llama.cpp with its prompt cache."""

from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks.decision_cost.measuring import Effort
from benchmarks.decision_cost.workload import Lengths

MOST_TOKEN = 49_000


def measure_transformers(source: Path, lengths: Lengths, effort: Effort, *, threads: int) -> dict[str, Any]:
    """Return the times of `generate` on the whole prompt, greedily, in float32."""
    import torch  # noqa: PLC0415 - an optional peer
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    torch.set_num_threads(threads)
    where = {"gguf_file": source.name} if source.suffix == ".gguf" else {}
    folder = source.parent if where else source
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **where).eval()
    static = _tokens(lengths.static, seed=1)

    def decide(new: list[int]) -> None:
        ids = torch.tensor([static + new])
        answer = lengths.answer
        with torch.inference_mode():
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                min_new_tokens=answer,
                max_new_tokens=answer,
                pad_token_id=0,
            )

    return _measured("transformers, fp32: full prompt, generated", decide, lengths, effort)


def measure_gguf(file: Path, lengths: Lengths, effort: Effort, *, threads: int) -> list[dict[str, Any]]:
    """Return the times of llama.cpp: the whole prompt read anew, and the prefix kept by the binding's own cache."""
    from llama_cpp import Llama  # noqa: PLC0415 - an optional peer

    model = Llama(str(file), n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)
    static = _tokens(lengths.static, seed=1)

    def decide(new: list[int]) -> None:
        for count, _ in enumerate(model.generate(static + new, temp=0.0, top_k=1), start=1):
            if count == lengths.answer:
                break

    def decide_anew(new: list[int]) -> None:
        model.reset()
        decide(new)

    return [
        _measured(f"llama.cpp, {file.name}: full prompt, generated", decide_anew, lengths, effort),
        _measured(f"llama.cpp, {file.name}: prefix kept, generated", decide, lengths, effort),
    ]


def _measured(name: str, decide: Callable[[list[int]], None], lengths: Lengths, effort: Effort) -> dict[str, Any]:
    decide(_tokens(lengths.dynamic, seed=2))
    times = []
    for index in track(range(effort.rounds), name):
        new = _tokens(lengths.dynamic, seed=3 + index)
        started = perf_counter()
        decide(new)
        times.append(perf_counter() - started)
    p50, p95 = median(times), quantiles(times, n=20)[-1]
    return {"name": name, "p50_ms": round(1000 * p50, 1), "p95_ms": round(1000 * p95, 1)}


def _tokens(count: int, *, seed: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(3, MOST_TOKEN, count)]
