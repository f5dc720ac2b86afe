"""The embedding, stored once: rows for the tokens that are read, and logits of the tokens that may follow."""

from typing import Final

import numpy as np

from plano_asgi.lab.export.graph_file import GraphFile
from plano_asgi.lab.export.linears import ROW_LIMIT, quantised_rows
from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.weights import Weight

MIDDLE: Final = 128


class EmbeddingTable:
    """One row for each token, in floating point or as 8-bit integers with a scale for each row."""

    def __init__(self, graph: GraphFile, weight: Weight, precision: Precision, *, name: str = "embedding") -> None:
        """Store the table in the graph."""
        self._dtype = precision.activations
        self._scales = ""
        if precision in {Precision.FP32, Precision.FP16}:
            self._rows = graph.tensor(name, weight.astype(self._dtype))
            return
        values, scales = quantised_rows(weight, ROW_LIMIT)
        self._rows = graph.tensor(name, (values.astype(np.int16) + MIDDLE).astype(np.uint8))
        self._scales = graph.tensor(f"{name}.scale", scales)

    def rows(self, graph: GraphFile, ids: str) -> str:
        """Return the embeddings of tokens: (..., hidden)."""
        rows = graph.op("Gather", self._rows, ids)
        if not self._scales:
            return rows
        scales = graph.op("Unsqueeze", graph.op("Gather", self._scales, ids), graph.constant([-1]))
        values = graph.op("Sub", graph.op("Cast", rows, to=1), graph.constant(float(MIDDLE), np.float32))
        return graph.op("Mul", values, scales)

    def logits(self, graph: GraphFile, hidden: str, candidates: str) -> str:
        """Return the logits of each node's candidates, or of the whole vocabulary where there are none.

        Args:
            graph: The graph.
            hidden: (nodes, hidden), normed.
            candidates: (nodes, c) tokens.
        """
        count = graph.op("Gather", graph.op("Shape", candidates), graph.constant(1))
        return graph.choice(
            graph.op("Equal", count, graph.constant(0)),
            lambda: self._all_logits(graph, hidden),
            lambda: self._some_logits(graph, hidden, candidates),
        )

    def _some_logits(self, graph: GraphFile, hidden: str, candidates: str) -> str:
        column = graph.op("Unsqueeze", hidden, graph.constant([2]))
        logits = graph.op("MatMul", self.rows(graph, candidates), column)
        return graph.op("Cast", graph.op("Squeeze", logits, graph.constant([2])), to=1)

    def _all_logits(self, graph: GraphFile, hidden: str) -> str:
        """Multiply the table as it lies; the other way round it would be stored a second time, transposed."""
        if not self._scales:
            logits = graph.op("MatMul", self._rows, graph.op("Transpose", hidden, perm=[1, 0]))
            return graph.op("Cast", graph.op("Transpose", logits, perm=[1, 0]), to=1)
        values, scale, zero = graph.node("DynamicQuantizeLinear", [hidden], outputs=3)
        columns = graph.op("Transpose", values, perm=[1, 0])
        product = graph.op("MatMulInteger", self._rows, columns, graph.constant(MIDDLE, np.uint8), zero)
        exact = graph.op("Mul", graph.op("Transpose", graph.op("Cast", product, to=1), perm=[1, 0]), self._scales)
        return graph.op("Mul", exact, scale)
