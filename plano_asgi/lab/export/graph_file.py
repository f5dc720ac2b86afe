"""An ONNX graph under construction whose tensors go straight to a file, so that no more than one is in memory."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

GRAPH_NAME: Final = "model.onnx"
DATA_NAME: Final = "model.onnx.data"
OPSET: Final = 23
INLINE_BYTES: Final = 1_024  # smaller tensors stay in the graph: shapes and axes are read while it is loaded
ALIGNMENT: Final = 65_536  # what every operating system can map to memory


class GraphFile:
    """Collects nodes and writes tensors to `model.onnx.data` as they come; `model.onnx` is written at the end."""

    def __init__(self, folder: Path) -> None:
        """Begin a graph in a folder that exists."""
        self._folder = folder
        self._data: BinaryIO = (folder / DATA_NAME).open("wb")
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, TensorProto] = {}
        self._names = 0

    def __enter__(self) -> Self:
        """Return the graph."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file of tensors."""
        self._data.close()

    def tensor(self, name: str, values: npt.NDArray[Any], *, dtype: int | None = None) -> str:
        """Store a tensor once and return its name; `dtype` names ONNX types that numpy does not have."""
        if name not in self._tensors:
            values = np.ascontiguousarray(values)
            kind = dtype or helper.np_dtype_to_tensor_dtype(values.dtype)
            proto = TensorProto(name=name, data_type=kind, dims=values.shape)
            if values.nbytes <= INLINE_BYTES:
                proto.raw_data = values.tobytes()
            else:
                self._write(proto, values)
            self._tensors[name] = proto
        return name

    def constant(self, value: float | list[int], dtype: npt.DTypeLike = np.int64) -> str:
        """Store a small constant and return its name."""
        values = np.asarray(value, dtype)
        label = "_".join(str(part) for part in np.atleast_1d(values).tolist()) or "empty"
        return self.tensor(f"constant_{values.dtype}_{values.ndim}_{label}", values)

    def node(self, kind: str, inputs: list[str], *, outputs: int = 1, domain: str = "", **attributes: Any) -> list[str]:  # noqa: ANN401 - what ONNX allows
        """Add a node and return the names of its outputs."""
        self._names += 1
        names = [f"{kind}_{self._names}" + (f"_{index}" if index else "") for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, name=names[0], domain=domain, **attributes))
        return names

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:  # noqa: ANN401 - same
        """Add a node with one output and return its name."""
        return self.node(kind, list(inputs), domain=domain, **attributes)[0]

    def choice(self, condition: str, then: Callable[[], str], otherwise: Callable[[], str]) -> str:
        """Add an `If` whose branches are the nodes that `then` and `otherwise` add; return the name of its output."""
        branches = {"then_branch": self._branch(then), "else_branch": self._branch(otherwise)}
        return self.op("If", condition, **branches)

    def save(self, inputs: list[onnx.ValueInfoProto], outputs: dict[str, onnx.ValueInfoProto]) -> None:
        """Write `model.onnx`; `outputs` maps the names of nodes' outputs to what the graph calls them."""
        ends = [helper.make_node("Identity", [name], [value.name]) for name, value in outputs.items()]
        graph = helper.make_graph(
            [*self._nodes, *ends], "causal_lm", inputs, list(outputs.values()), list(self._tensors.values())
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="plano-asgi", ir_version=11)
        (self._folder / GRAPH_NAME).write_bytes(model.SerializeToString(deterministic=True))

    def _branch(self, build: Callable[[], str]) -> onnx.GraphProto:
        outer, self._nodes = self._nodes, []
        result = build()
        inner, self._nodes = self._nodes, outer
        self._names += 1
        end = f"branch_{self._names}"
        inner.append(helper.make_node("Identity", [result], [end], name=end))
        return helper.make_graph(inner, end, [], [onnx.ValueInfoProto(name=end)])

    def _write(self, proto: TensorProto, values: npt.NDArray[Any]) -> None:
        offset = -(-self._data.tell() // ALIGNMENT) * ALIGNMENT
        self._data.seek(offset)
        self._data.write(values.data if values.size else b"")
        proto.data_location = TensorProto.EXTERNAL
        for key, value in {"location": DATA_NAME, "offset": offset, "length": values.nbytes}.items():
            proto.external_data.add(key=key, value=str(value))
