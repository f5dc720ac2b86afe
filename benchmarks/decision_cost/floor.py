"""What physics allows: the time of the multiplications at the measured peak, and of reading the weights once."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from plano_asgi.classify.arch_router.devices import Device
from plano_asgi.classify.onnx_runtime import import_onnxruntime

ROWS, INNER, OUTER = 512, 4096, 4096
READ_BYTES = 1 << 30
FLOPS_FOR_EACH_WEIGHT = 2
BYTES_OF_A_WEIGHT = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0, "int4": 0.625}


@dataclass(frozen=True)
class Peak:
    """What the machine can do, measured in the same run.

    Attributes:
        operations: Multiplications and additions in a second, in the graph's own precision.
        bandwidth: Bytes read in a second.
    """

    operations: float
    bandwidth: float

    def floor_s(self, *, parameters: int, tokens: int, passes: int, precision: str) -> float:
        """Return the seconds that no implementation can beat: arithmetic, or reading all weights on every pass."""
        arithmetic = FLOPS_FOR_EACH_WEIGHT * parameters * tokens / self.operations
        return max(arithmetic, passes * parameters * BYTES_OF_A_WEIGHT[precision] / self.bandwidth)


def measure_peak(device: Device, precision: str, *, threads: int) -> Peak:
    """Return the peak of one large multiplication and of reading a large tensor, on the device and threads given."""
    rows = 8 * ROWS if device.is_cuda else ROWS
    multiply = _session(_multiplication(precision, rows), device, threads)
    operations = FLOPS_FOR_EACH_WEIGHT * rows * INNER * OUTER / _seconds(multiply)
    read = _session(_sums(), device, threads)
    return Peak(operations=operations, bandwidth=READ_BYTES / _seconds(read))


def _seconds(run: Callable[[], object]) -> float:
    for _ in range(3):
        run()
    times = []
    for _ in range(9):
        started = perf_counter()
        run()
        times.append(perf_counter() - started)
    return median(times)


def _session(model: onnx.ModelProto, device: Device, threads: int) -> Callable[[], object]:
    """Return what runs a model whose input stays on the device and whose output is one number."""
    onnxruntime = import_onnxruntime(needed_for="the benchmark")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        session: Any = onnxruntime.InferenceSession(path, options, providers=device.providers())
    binding = session.io_binding()
    for value in session.get_inputs():
        kind = {"tensor(float16)": np.float16, "tensor(uint8)": np.uint8}.get(value.type, np.float32)
        data = np.random.default_rng(1).integers(0, 100, value.shape).astype(kind)
        binding.bind_ortvalue_input(
            value.name, onnxruntime.OrtValue.ortvalue_from_numpy(data, device.kind, device.index)
        )
    for value in session.get_outputs():
        binding.bind_output(value.name, device.kind, device.index)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run


def _multiplication(precision: str, rows: int) -> onnx.ModelProto:
    """Return one large product in the precision that a graph multiplies in: 8-bit integers for int8 and int4."""
    is_whole = precision in {"int8", "int4"}
    kind = TensorProto.UINT8 if is_whole else {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}[precision]
    dtype = np.int8 if is_whole else {"fp32": np.float32, "fp16": np.float16}[precision]
    weight = np.random.default_rng(1).integers(-60, 60, (INNER, OUTER)).astype(dtype)
    return _model(
        helper.make_node("MatMulInteger" if is_whole else "MatMul", ["x", "weight"], ["y"]),
        helper.make_tensor_value_info("x", kind, [rows, INNER]),
        helper.make_tensor_value_info("y", TensorProto.INT32 if is_whole else kind, [rows, OUTER]),
        [onnx.numpy_helper.from_array(weight, "weight")],
    )


def _sums() -> onnx.ModelProto:
    """Return sums of the rows of a tensor far larger than any cache: every byte is read, by all threads."""
    rows = READ_BYTES // 4096
    return _model(
        helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 1024]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows]),
        [onnx.numpy_helper.from_array(np.array([1]), "axes")],
    )


def _model(
    node: onnx.NodeProto, x: onnx.ValueInfoProto, y: onnx.ValueInfoProto, weights: list[TensorProto]
) -> onnx.ModelProto:
    graph = helper.make_graph([node], "peak", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
