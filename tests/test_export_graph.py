"""The graph writer without torch: what it writes is the same each time, and multiplies the same on every CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from plano_asgi.classify.digests import sha256_of
from plano_asgi.errors import ExportError
from plano_asgi.lab.export.architecture import ARCH_ROUTER, Architecture
from plano_asgi.lab.export.graph import write_graph
from plano_asgi.lab.export.graph_file import GraphFile
from plano_asgi.lab.export.linears import WEIGHT_LIMIT, Int8Linears, quantised_rows
from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.weights import RandomWeights, StateDictWeights, tensor_shapes

TINY = Architecture(layers=2, hidden=32, intermediate=64, heads=4, kv_heads=2, head_size=16, vocabulary=100)
CONFIG: dict[str, Any] = {
    "model_type": "qwen2",
    "num_hidden_layers": 28,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": True,
}


@pytest.mark.parametrize("precision", list(Precision))
def test_same_weights_give_the_same_bytes(tmp_path: Path, precision: Precision) -> None:
    """Two exports of one model are equal to the last byte, so a bundle can be checked by whoever makes it again."""
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_graph(TINY, RandomWeights(TINY, seed=7), tmp_path / name, precision)
        digests.append([sha256_of(tmp_path / name / file) for file in ("model.onnx", "model.onnx.data")])

    assert digests[0] == digests[1]


def test_progress_ends_with_everything(tmp_path: Path) -> None:
    """Progress is told after each layer, and the last that is told is all of it."""
    told: list[float] = []

    write_graph(TINY, RandomWeights(TINY, seed=7), tmp_path, Precision.FP32, progress=told.append)

    assert told == [0.5, 1.0]


def test_no_sum_of_two_products_leaves_sixteen_bits() -> None:
    """The greatest pair of products fits into 16 bits, so CPUs that sum pairs there get the same result as others."""
    assert 255 * WEIGHT_LIMIT * 2 < 2**15


@pytest.mark.parametrize("kind", ["random", "extreme"])
def test_int8_product_is_that_of_whole_numbers(tmp_path: Path, kind: str) -> None:
    """What ONNX Runtime computes is, to the last bit, the product of 32-bit integers times the scales."""
    random = np.random.default_rng(3)
    x, weight = random.standard_normal((5, 256), np.float32), random.standard_normal((48, 256), np.float32)
    if kind == "extreme":
        x, weight = np.sign(x), np.sign(weight)
        x[0], weight[0], weight[1] = 1, 1, -1

    computed = _run_int8(tmp_path, x, weight)

    row_scales = np.abs(x).max(axis=1, keepdims=True) * np.float32(1 / 127)
    rows = np.clip(np.rint(x / row_scales) + 128, 0, 255).astype(np.int32) - 128
    values, scales = quantised_rows(weight, WEIGHT_LIMIT)
    exact = (rows @ values.T.astype(np.int32)).astype(np.float32) * scales * row_scales
    assert np.array_equal(computed, exact)
    assert np.abs(values).max() == WEIGHT_LIMIT


def test_configuration_of_arch_router_is_its_shape() -> None:
    """Qwen2.5-1.5B's configuration gives the shape that Arch-Router has, with as much context as is kept."""
    assert Architecture.from_config(CONFIG) == ARCH_ROUTER
    assert Architecture.from_config(CONFIG | {"max_position_embeddings": 2_048}).context == 2_048


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model_type": "gemma"}, "family gemma"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rope_scaling"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}, "rope_scaling"),
        ({"use_sliding_window": True}, "sliding-window"),
        ({"hidden_act": "gelu"}, "activation gelu"),
        ({"model_type": "llama", "attention_bias": True}, "attention_bias"),
        ({"model_type": "llama", "mlp_bias": True}, "mlp_bias"),
    ],
    ids=["family", "yarn", "llama3", "window", "activation", "attention bias", "mlp bias"],
)
def test_configuration_that_the_graph_cannot_be_is_refused(change: dict[str, Any], problem: str) -> None:
    """A model whose numbers would come out wrong is refused by name."""
    with pytest.raises(ExportError, match=problem):
        Architecture.from_config(CONFIG | change)


def test_missing_tensor_is_named(tmp_path: Path) -> None:
    """Weights that lack a tensor stop the export with its name."""
    with pytest.raises(ExportError, match=r"model\.embed_tokens\.weight"):
        write_graph(TINY, StateDictWeights({}), tmp_path, Precision.FP32)


def test_random_weights_do_not_depend_on_order() -> None:
    """A seed gives each tensor its values, whichever is asked for first."""
    one, another = RandomWeights(TINY, seed=1), RandomWeights(TINY, seed=1)
    names = [name for name in tensor_shapes(TINY) if "proj" in name]

    forwards = {name: one.tensor(name) for name in names}

    assert all(np.array_equal(another.tensor(name), forwards[name]) for name in reversed(names))


def _run_int8(folder: Path, x: Any, weight: Any) -> Any:
    """Return what ONNX Runtime makes of x and a weight."""
    with GraphFile(folder) as graph:
        product = Int8Linears().linear(graph, "x", "weight", weight)
        graph.save(
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", weight.shape[1]])],
            {product: helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", weight.shape[0]])},
        )
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]
