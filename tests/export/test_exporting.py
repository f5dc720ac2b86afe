"""The way to a bundle: its stages, what is refused, and that there is never half a bundle."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import Qwen2Config, Qwen2ForCausalLM

from plano_asgi.classify.arch_router.bundle import Bundle
from plano_asgi.classify.arch_router.completions import Quoting
from plano_asgi.errors import ExportError
from plano_asgi.lab.export import exporting
from plano_asgi.lab.export.exporting import Order, export
from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.weights import StateDictWeights, Weight

STAGES = ["reading", "tokenizer", "loading", "probe", "source", "graph", "parity"]


class StoppedError(Exception):
    """Stands for whatever stops an export."""


class Corrupted:
    """A model's weights, one of which is wrong."""

    def __init__(self, model: Any) -> None:
        """Take the model."""
        self._weights = StateDictWeights(model.state_dict())

    def tensor(self, name: str) -> Weight:
        """Return a tensor, the middle of it upside down."""
        weight = self._weights.tensor(name)
        return np.flip(weight, 0) if "layers.1.mlp.down_proj" in name else weight


@pytest.fixture
def order(tiny_model: Callable[..., Path], tmp_path: Path) -> Order:
    """Return the order for a tiny model."""
    return Order(source=str(tiny_model()), out=tmp_path / "out", precision=Precision.FP32, wants_probe=True)


@pytest.fixture(scope="module")
def whole(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return the bundle of such an order that nothing has stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    return export(Order(source=str(tiny_model()), out=out, precision=Precision.FP32, wants_probe=True))


def stages_of(order: Order) -> list[str]:
    """Export, and return the stages that were gone through."""
    shown: list[str] = []
    export(order, progress=lambda stage, _: shown.append(stage))
    return list(dict.fromkeys(shown))


def test_export_writes_a_bundle(order: Order) -> None:
    """All fifty prompts agree, every file has the digest of the manifest, and nothing else is left behind."""
    bundle = export(order)

    read = Bundle.read(order.out)
    read.verify()
    assert read == bundle
    assert sorted(p.name for p in order.out.iterdir()) == [
        "model.onnx",
        "model.onnx.data",
        "router.json",
        "tokenizer.json",
    ]
    assert (read.parity["prompts"], read.parity["agreement"]) == (50, 1.0)
    assert read.parity["probe"]["answers"] == 10
    assert (read.chat_before, read.chat_after) == ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n")
    assert read.quoting is Quoting.DOUBLE


@pytest.mark.parametrize("stage", STAGES)
def test_interrupted_export_goes_on_where_it_stopped(order: Order, whole: Bundle, stage: str) -> None:
    """Whenever it is stopped, no bundle is there; the next run repeats no finished stage and makes the same bundle."""

    def stop(shown: str, _: float) -> None:
        """Stop at the stage."""
        if shown == stage:
            raise StoppedError

    with pytest.raises(StoppedError):
        export(order, progress=stop)
    assert not (order.out / "router.json").exists()

    went_through = stages_of(order)

    kept = {"tokenizer", "probe", "source", "graph"} & set(STAGES[: STAGES.index(stage)])
    assert not kept & set(went_through)
    assert went_through[-1] == "parity"
    assert Bundle.read(order.out).sha256 == whole.sha256


def test_changed_file_of_a_stage_is_written_again(order: Order) -> None:
    """A stage whose file is not the one it wrote is not trusted."""
    with pytest.raises(StoppedError):
        export(order, progress=_stopping_at("parity"))
    (order.out / ".partial" / "model.onnx.data").write_bytes(b"cut off")

    assert "graph" in stages_of(order)
    Bundle.read(order.out).verify()


def test_other_order_does_not_go_on_with_the_old_files(order: Order) -> None:
    """What was begun in one precision is no part of a bundle in another."""
    with pytest.raises(StoppedError):
        export(order, progress=_stopping_at("parity"))

    assert set(STAGES) <= set(stages_of(replace(order, precision=Precision.INT8)))


def test_export_that_misses_its_parity_is_no_bundle(order: Order) -> None:
    """One wrong weight is found by the comparison, and no manifest is written."""
    with pytest.raises(ExportError, match="differs from its source"):
        export(order, weights_of=Corrupted)

    assert not (order.out / "router.json").exists()


def test_bundle_is_replaced_only_on_request(order: Order) -> None:
    """A second export into the same folder is refused, and done with `may_replace`."""
    first = export(order)
    with pytest.raises(ExportError, match="--force"):
        export(order)
    assert Bundle.read(order.out) == first

    assert export(replace(order, may_replace=True, precision=Precision.INT8)).precision == "int8"


def test_licence_has_to_be_accepted(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    """A model that says it is an Arch-Router is exported only when its licence is accepted."""
    order = Order(source=str(tiny_model(name="Arch-Router-1.5B")), out=tmp_path / "out", precision=Precision.INT8)

    with pytest.raises(ExportError, match="--accept-license"):
        export(order)
    assert not order.out.exists()
    assert export(replace(order, accepts_licence=True)).source["name"].startswith("Arch-Router")


def test_untied_head_is_exported_as_it_is(tiny_model: Callable[..., Path], order: Order) -> None:
    """A model whose head is a table of its own agrees with itself, and its file is longer by that table."""
    tied = export(order)
    untied = export(
        replace(order, source=str(tiny_model(tie_word_embeddings=False)), out=order.out.with_name("untied"))
    )

    size = (untied.folder / "model.onnx.data").stat().st_size - (tied.folder / "model.onnx.data").stat().st_size
    assert size >= tied.vocabulary * 32 * 4


def test_head_that_equals_the_embedding_is_stored_once(tiny_model: Callable[..., Path], order: Order) -> None:
    """A model that keeps its head apart, with the embedding's values, becomes the file of a tied one."""
    config = json.loads((Path(order.source) / "config.json").read_text())
    model = Qwen2ForCausalLM(Qwen2Config(**config | {"tie_word_embeddings": False}))
    tied = Qwen2ForCausalLM.from_pretrained(order.source)
    model.load_state_dict(tied.state_dict() | {"lm_head.weight": tied.get_input_embeddings().weight.clone()})

    apart = export(replace(order, source=str(tiny_model(model=model)), out=order.out.with_name("apart")))

    assert apart.sha256["model.onnx.data"] == export(order).sha256["model.onnx.data"]


@pytest.mark.parametrize(
    ("config", "template", "problem"),
    [
        ({"use_sliding_window": True}, None, "sliding-window"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, None, "rope_scaling"),
        ({}, "{{ messages[0]['content'] | trim }}", "white space"),
        ({}, "", "chat template"),
    ],
    ids=["sliding window", "scaled rotary embedding", "trimming template", "no template"],
)
def test_model_that_the_graph_cannot_be_is_refused(
    tiny_model: Callable[..., Path], tmp_path: Path, config: dict[str, Any], template: str | None, problem: str
) -> None:
    """What would come out wrong is refused before the model is loaded."""
    how = {} if template is None else {"template": template}
    order = Order(source=str(tiny_model(**how, **config)), out=tmp_path / "out", precision=Precision.FP32)
    shown: list[str] = []

    with pytest.raises(ExportError, match=problem):
        export(order, progress=lambda stage, _: shown.append(stage))
    assert "loading" not in shown


def test_damaged_weights_are_an_export_error(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    """A file that transformers cannot read is an error of the family, which names the model."""
    source = tiny_model(name="damaged")
    (source / "model.safetensors").write_bytes(b"no tensors")

    with pytest.raises(ExportError, match=r"the model of damaged\d+ cannot be loaded"):
        export(Order(source=str(source), out=tmp_path / "out", precision=Precision.FP32))


def test_full_disk_is_told_beforehand(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is refused before anything is loaded; the message says how much is missing."""
    monkeypatch.setattr(exporting, "ROOM_TO_SPARE", 1e12)

    with pytest.raises(ExportError, match="GiB free"):
        export(order)


def _stopping_at(stage: str) -> Callable[[str, float], None]:
    """Return what stops an export at a stage."""

    def stop(shown: str, _: float) -> None:
        if shown == stage:
            raise StoppedError

    return stop
