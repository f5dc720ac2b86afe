"""The graph that the Arch-Router classifier runs: a decoder that reads on from kept keys and values.

```text
input_ids    int64 (batch, new)   tokens to read, padded on the right with any token
positions    int64 (batch, new)   where each token stands in its text
until        int64 (batch, new)   the last token of the row that may look back at each one
past         (2 layers, 1, kv heads, past, head size)   of the prefix that all rows continue
nodes        int64 (n)            tokens after which logits are wanted: row times new, plus place in the row
candidates   int64 (n, c)         tokens whose logits are wanted after each node; c = 0 for the whole vocabulary
keep         bool ()              whether `present` is wanted
-> logits    float32 (n, c)
-> present   (2 layers, batch, kv heads, past + new, head size), or empty
```

`until` makes a tree of a row: tokens written in depth-first order see their ancestors and nothing beside them, so every
way a completion may go is read in one pass. A plain text's tokens are seen by all that follow, padding by nothing.

Keys and values are one tensor, which stays where it is (on a GPU too) and serves all rows of a batch. A token's logit
is its embedding times the last hidden state: ten candidates cost ten rows, and the head of 151,936 is never run to
choose between them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from plano_asgi.lab.export.architecture import Architecture
from plano_asgi.lab.export.embedding_table import EmbeddingTable
from plano_asgi.lab.export.graph_file import GraphFile
from plano_asgi.lab.export.linears import MICROSOFT, Linears, linears
from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.weights import Weights

ONNX_TYPES: Final = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16}


def write_graph(
    shape: Architecture,
    weights: Weights,
    folder: Path,
    precision: Precision,
    *,
    progress: Callable[[float], object] = lambda _: None,
) -> None:
    """Write `model.onnx` and `model.onnx.data` into a folder; no more than one tensor is in memory at a time.

    Args:
        shape: The model's shape.
        weights: Its tensors.
        folder: Where to write; it exists.
        precision: How weights are stored and multiplied.
        progress: Told after each layer, with the share in [0, 1] that is done.
    """
    with GraphFile(folder) as graph:
        decoder = _Decoder(graph, shape, weights, precision)
        hidden = decoder.embedded()
        residual = ""
        for layer in range(shape.layers):
            hidden, residual = decoder.layer(layer, hidden, residual)
            progress((layer + 1) / shape.layers)
        logits = decoder.logits(hidden, residual)
        graph.save(_inputs(shape, precision), dict(zip((logits, decoder.present()), _outputs(precision), strict=True)))


class _Decoder:
    """Writes the layers one after the other."""

    def __init__(self, graph: GraphFile, shape: Architecture, weights: Weights, precision: Precision) -> None:
        self._graph = graph
        self._shape = shape
        self._weights = weights
        self._dtype = precision.activations
        self._linears: Linears = linears(precision)
        self._table = EmbeddingTable(graph, weights.tensor("model.embed_tokens.weight"), precision)
        self._past = self._split_past()
        self._mask = self._attention_mask()
        self._cos, self._sin = self._rotary()
        self._presents: list[str] = []

    def embedded(self) -> str:
        return self._table.rows(self._graph, "input_ids")

    def layer(self, index: int, hidden: str, residual: str) -> tuple[str, str]:
        at = f"model.layers.{index}"
        normed, residual = self._norm(f"{at}.input_layernorm.weight", hidden, residual)
        attended = self._attention(index, normed)
        hidden = self._linear(f"{at}.self_attn.o_proj", attended)
        normed, residual = self._norm(f"{at}.post_attention_layernorm.weight", hidden, residual)
        gate = self._linear(f"{at}.mlp.gate_proj", normed)
        gated = self._graph.op("Mul", gate, self._graph.op("Sigmoid", gate))
        widened = self._graph.op("Mul", gated, self._linear(f"{at}.mlp.up_proj", normed))
        return self._linear(f"{at}.mlp.down_proj", widened), residual

    def logits(self, hidden: str, residual: str) -> str:
        """Return the logits of the candidates after each node; nothing is computed for the other tokens."""
        graph = self._graph
        rows = graph.constant([-1, self._shape.hidden])
        picked = [graph.op("Gather", graph.op("Reshape", part, rows), "nodes", axis=0) for part in (hidden, residual)]
        normed, _ = self._norm("model.norm.weight", *picked)
        head = self._table
        if not self._shape.is_tied:
            precision = Precision.FP32 if self._dtype is np.float32 else Precision.FP16
            head = EmbeddingTable(graph, self._weights.tensor("lm_head.weight"), precision, name="lm_head")
        return head.logits(graph, normed, "candidates")

    def present(self) -> str:
        """Return all keys and values in one tensor where they are wanted, else an empty one."""
        graph = self._graph
        empty = graph.tensor("nothing_kept", np.zeros((0, 0, 0, 0, 0), self._dtype))
        return graph.choice("keep", self._stacked_presents, lambda: graph.op("Identity", empty))

    def _stacked_presents(self) -> str:
        graph = self._graph
        return graph.op(
            "Concat", *[graph.op("Unsqueeze", name, graph.constant([0])) for name in self._presents], axis=0
        )

    def _attention(self, index: int, normed: str) -> str:
        graph, shape = self._graph, self._shape
        widths = [heads * shape.head_size for heads in (shape.heads, shape.kv_heads, shape.kv_heads)]
        parts = graph.node("Split", [self._qkv(index, normed), graph.constant(widths)], outputs=3, axis=-1)
        query, key = (
            self._rotated(part, heads) for part, heads in zip(parts, (shape.heads, shape.kv_heads), strict=False)
        )
        attended, *present = graph.node(
            "Attention",
            [query, key, parts[2], self._mask, *self._past[2 * index : 2 * index + 2]],
            outputs=3,
            q_num_heads=shape.heads,
            kv_num_heads=shape.kv_heads,
            scale=shape.head_size**-0.5,
        )
        self._presents += present
        return attended

    def _rotated(self, x: str, heads: int) -> str:
        inputs = [x, "positions", self._cos, self._sin]
        return self._graph.op("RotaryEmbedding", *inputs, domain=MICROSOFT, num_heads=heads)

    def _attention_mask(self) -> str:
        """Return 0 where a token may look and -inf elsewhere: (batch, 1, new, past + new)."""
        graph = self._graph
        size = graph.op("Squeeze", graph.op("Shape", "input_ids", start=1))
        places = graph.op("Range", graph.constant(0), size, graph.constant(1))
        looking = graph.op("Unsqueeze", places, graph.constant([1]))
        until = graph.op("Unsqueeze", "until", graph.constant([1]))
        not_later = graph.op("LessOrEqual", places, looking)
        visible = graph.op("And", not_later, graph.op("LessOrEqual", looking, until))
        hidden = graph.tensor("hidden", np.array(-np.inf, self._dtype))
        new = graph.op("Where", visible, graph.constant(0.0, self._dtype), hidden)
        past = graph.op("Concat", graph.op("Shape", "input_ids"), graph.op("Shape", "past", start=3, end=4), axis=0)
        mask = graph.op("Concat", graph.op("Expand", graph.constant(0.0, self._dtype), past), new, axis=2)
        return graph.op("Unsqueeze", mask, graph.constant([1]))

    def _qkv(self, index: int, normed: str) -> str:
        """Return queries, keys and values side by side, of one multiplication."""
        names = [f"model.layers.{index}.self_attn.{part}_proj" for part in "qkv"]
        weight = np.concatenate([self._weights.tensor(f"{name}.weight") for name in names])
        at = f"model.layers.{index}.self_attn.qkv_proj"
        qkv = self._linears.linear(self._graph, normed, f"{at}.weight", weight)
        if not self._shape.has_qkv_bias:
            return qkv
        bias = np.concatenate([self._weights.tensor(f"{name}.bias") for name in names])
        return self._graph.op("Add", qkv, self._graph.tensor(f"{at}.bias", bias.astype(self._dtype)))

    def _linear(self, name: str, x: str) -> str:
        return self._linears.linear(self._graph, x, f"{name}.weight", self._weights.tensor(f"{name}.weight"))

    def _norm(self, name: str, hidden: str, residual: str) -> tuple[str, str]:
        """Return the RMS norm of hidden plus residual, and that sum."""
        weight = self._graph.tensor(name, self._weights.tensor(name).astype(self._dtype))
        epsilon = self._shape.norm_epsilon
        if not residual:
            return self._graph.op("SimplifiedLayerNormalization", hidden, weight, epsilon=epsilon, axis=-1), hidden
        normed, _, _, total = self._graph.node(
            "SkipSimplifiedLayerNormalization",
            [hidden, residual, weight],
            outputs=4,
            domain=MICROSOFT,
            epsilon=epsilon,
        )
        return normed, total

    def _split_past(self) -> list[str]:
        """Return the keys and values of each layer, the same for each row of the batch."""
        graph, count = self._graph, self._shape.kv_tensors
        batch, one = graph.op("Shape", "input_ids", end=1), graph.constant([1])
        rows = graph.op("Expand", "past", graph.op("Concat", one, batch, one, one, one, axis=0))
        parts = graph.node("Split", [rows], outputs=count, axis=0, num_outputs=count)
        return [graph.op("Squeeze", part, graph.constant([0])) for part in parts]

    def _rotary(self) -> tuple[str, str]:
        """Return the cosines and sines of every position (RoFormer, Su et al. 2021)."""
        size = self._shape.head_size
        frequencies = self._shape.rope_theta ** -(np.arange(0, size, 2, dtype=np.float64) / size)
        angles = np.outer(np.arange(self._shape.context), frequencies)
        cos, sin = np.cos(angles).astype(self._dtype), np.sin(angles).astype(self._dtype)
        return self._graph.tensor("rotary.cos", cos), self._graph.tensor("rotary.sin", sin)


def _inputs(shape: Architecture, precision: Precision) -> list[ValueInfoProto]:
    kv = ONNX_TYPES[precision.activations]
    return [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "new"]),
        helper.make_tensor_value_info("positions", TensorProto.INT64, ["batch", "new"]),
        helper.make_tensor_value_info("until", TensorProto.INT64, ["batch", "new"]),
        helper.make_tensor_value_info("past", kv, [shape.kv_tensors, 1, shape.kv_heads, "past", shape.head_size]),
        helper.make_tensor_value_info("nodes", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("candidates", TensorProto.INT64, ["n", "c"]),
        helper.make_tensor_value_info("keep", TensorProto.BOOL, []),
    ]


def _outputs(precision: Precision) -> tuple[ValueInfoProto, ValueInfoProto]:
    kv = ONNX_TYPES[precision.activations]
    return (
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", "candidates_out"]),
        helper.make_tensor_value_info("present", kv, ["kv", "kept", "kv_heads", "total", "head_size"]),
    )
