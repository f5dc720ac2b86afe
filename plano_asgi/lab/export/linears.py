"""Linear layers and embeddings in each precision.

`int8` multiplies 8-bit activations, scaled for every token, with 7-bit weights, scaled for every output. Seven bits,
because two 8-bit products saturate the 16-bit sums of CPUs without VNNI, and a route must not depend on the CPU.
`int4` keeps weights in blocks of 32 with a scale each (ONNX Runtime's MatMulNBits); it saves memory, not time, since
prompts are read in one go. Their embedding has 8 bits and a scale for every row.
"""

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from plano_asgi.classify.onnx_runtime import import_onnxruntime
from plano_asgi.lab.export.graph_file import GraphFile
from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.weights import Weight

WEIGHT_LIMIT: Final = 63
ROW_LIMIT: Final = 127
INT4_BLOCK: Final = 32
MICROSOFT: Final = "com.microsoft"
LEAST_SCALE: Final = 1e-8


class Linears(Protocol):
    """Multiplies with weights in one precision."""

    def linear(self, graph: GraphFile, x: str, name: str, weight: Weight) -> str:
        """Return x times the transposed weight; x is (..., inputs), the weight (outputs, inputs)."""
        ...


class FloatLinears:
    """Weights as they are, or halved."""

    def __init__(self, dtype: type[np.float32] | type[np.float16]) -> None:
        """Choose the numbers."""
        self._dtype = dtype

    def linear(self, graph: GraphFile, x: str, name: str, weight: Weight) -> str:
        """Return x times the transposed weight."""
        return graph.op("MatMul", x, graph.tensor(name, weight.T.astype(self._dtype)))


class Int8Linears:
    """Activations scaled for every token, weights for every output."""

    def __init__(self) -> None:
        """Begin without any layer."""
        self._rows: dict[str, tuple[str, str]] = {}

    def linear(self, graph: GraphFile, x: str, name: str, weight: Weight) -> str:
        """Return x times the transposed weight, as float32."""
        values, scales = quantised_rows(weight, WEIGHT_LIMIT)
        rows, row_scales = self._quantised(graph, x)
        product = graph.op(
            "MatMulIntegerToFloat",
            rows,
            graph.tensor(name, values.T),
            graph.constant(1.0, np.float32),
            graph.tensor(f"{name}.scale", scales),
            graph.constant(128, np.uint8),
            domain=MICROSOFT,
        )
        return graph.op("Mul", product, row_scales)

    def _quantised(self, graph: GraphFile, x: str) -> tuple[str, str]:
        """Return x as uint8 around 128, and a scale for every row; once for all layers that read the same x."""
        if x not in self._rows:
            last = graph.constant([-1])
            highest = graph.op("ReduceMax", x, last, keepdims=1)
            lowest = graph.op("Neg", graph.op("ReduceMin", x, last, keepdims=1))
            largest = graph.op("Max", highest, lowest, graph.constant(LEAST_SCALE, np.float32))
            scales = graph.op("Mul", largest, graph.constant(1 / ROW_LIMIT, np.float32))
            flat = graph.op("Reshape", x, graph.op("Concat", last, graph.op("Shape", x, start=-1), axis=0))
            zero = graph.op("Expand", graph.constant(128, np.uint8), graph.op("Shape", flat, end=1))
            rows = graph.op("QuantizeLinear", flat, graph.op("Reshape", scales, last), zero, axis=0)
            self._rows[x] = graph.op("Reshape", rows, graph.op("Shape", x)), scales
        return self._rows[x]


class Int4Linears:
    """Weights in blocks of 32, multiplied as 8-bit integers."""

    def linear(self, graph: GraphFile, x: str, name: str, weight: Weight) -> str:
        """Return x times the transposed weight."""
        outputs, inputs = weight.shape
        blocks = -(-inputs // INT4_BLOCK)
        packed = np.zeros((outputs, blocks, INT4_BLOCK // 2), np.uint8)
        scales = np.zeros((outputs * blocks,), np.float32)
        zeros = np.zeros((outputs * ((blocks + 1) // 2),), np.uint8)
        columns = np.ascontiguousarray(weight.T)
        pack = import_onnxruntime(needed_for="precision int4").capi._pybind_state.quantize_matmul_4bits  # noqa: SLF001
        is_symmetric = False
        pack(packed, columns, scales, zeros, INT4_BLOCK, outputs, inputs, is_symmetric)
        return graph.op(
            "MatMulNBits",
            x,
            graph.tensor(name, packed),
            graph.tensor(f"{name}.scale", scales),
            graph.tensor(f"{name}.zero", zeros),
            domain=MICROSOFT,
            K=inputs,
            N=outputs,
            bits=4,
            block_size=INT4_BLOCK,
            accuracy_level=4,
        )


def linears(precision: Precision) -> Linears:
    """Return what multiplies in that precision."""
    if precision is Precision.INT8:
        return Int8Linears()
    if precision is Precision.INT4:
        return Int4Linears()
    return FloatLinears(precision.activations)


def quantised_rows(weight: Weight, limit: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return the weight in [-limit, limit] and a scale for every row: weight is about values times scale."""
    largest = np.maximum(np.abs(weight).max(axis=1), LEAST_SCALE).astype(np.float32)
    scales = largest / np.float32(limit)
    return np.rint(weight / scales[:, None]).astype(np.int8), scales
