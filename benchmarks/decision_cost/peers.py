"""The usual ways outside this package, where they are installed: transformers, and llama.cpp with its prompt cache."""

import zlib
from collections.abc import Callable
from functools import partial
from itertools import count
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
    """Return the times of llama.cpp (xllamacpp): the prompt read anew, and with the prefix in its prompt cache."""
    import xllamacpp  # noqa: PLC0415 - an optional peer

    wanted = xllamacpp.CommonParams()
    wanted.model.path = str(file)
    wanted.n_ctx, wanted.n_parallel, wanted.verbosity = 4096, 1, -1
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(wanted)
    static = _tokens(lengths.static, seed=1)

    def decide(new: list[int], *, cached: bool) -> None:
        asked = {"prompt": static + new, "n_predict": lengths.answer, "temperature": 0, "ignore_eos": True}
        server.handle_completions(asked | {"cache_prompt": cached})

    return [
        _measured(f"llama.cpp, {file.name}: {name}", partial(decide, cached=cached), lengths, effort)
        for name, cached in (("full prompt, generated", False), ("prefix kept, generated", True))
    ]


def _measured(name: str, decide: Callable[[list[int]], None], lengths: Lengths, effort: Effort) -> dict[str, Any]:
    seeds = count(zlib.crc32(name.encode()))  # no peer is asked what another was: some keep every prompt they have read
    decide(_tokens(lengths.dynamic, seed=next(seeds)))
    times = []
    for _ in track(range(effort.peer_rounds), name):
        new = _tokens(lengths.dynamic, seed=next(seeds))
        started = perf_counter()
        decide(new)
        times.append(perf_counter() - started)
    p50, p95 = median(times), quantiles(times, n=20)[-1]
    return {"name": name, "p50_ms": round(1000 * p50, 1), "p95_ms": round(1000 * p95, 1)}


def _tokens(count: int, *, seed: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(3, MOST_TOKEN, count)]
