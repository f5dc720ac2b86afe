"""Graphs of random weights."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from rich.progress import Progress

from plano_asgi.classify.arch_router.bundle import Bundle, KeyValueShape
from plano_asgi.lab.export.architecture import ARCH_ROUTER, Architecture
from plano_asgi.lab.export.graph import write_graph
from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.weights import RandomWeights

SHAPES: Mapping[str, Architecture] = MappingProxyType(
    {
        "arch_router": ARCH_ROUTER,
        "small": Architecture(
            layers=4, hidden=256, intermediate=1024, heads=4, kv_heads=2, head_size=64, vocabulary=50_000
        ),
    }
)


def random_bundle(shape: Architecture, precision: str, folder: Path) -> Bundle:
    """Write a graph drawn from a seed and return its bundle; it has no tokenizer."""
    kind = Precision(precision)
    with Progress() as progress:
        task = progress.add_task(f"drawing weights, {precision}", total=1.0)
        write_graph(
            shape,
            RandomWeights(shape, seed=1),
            folder,
            kind,
            progress=lambda share: progress.update(task, completed=share),
        )
    return Bundle(
        folder=folder,
        revision="random",
        source={"name": "random weights", "revision": "seed 1"},
        precision=precision,
        key_values=KeyValueShape(
            tensors=shape.kv_tensors,
            heads=shape.kv_heads,
            head_size=shape.head_size,
            dtype=np.dtype(kind.activations).name,
        ),
        vocabulary=shape.vocabulary,
        context=shape.context,
        chat_before="",
        chat_after="",
        end_tokens=(2,),
        sha256={},
    )
