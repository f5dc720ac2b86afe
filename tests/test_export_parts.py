"""The parts of an export that need no model: where it is, its licence, its stages, what a comparison says."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from plano_asgi.classify.arch_router.bundle import Bundle
from plano_asgi.classify.arch_router.completions import Quoting
from plano_asgi.classify.arch_router.reading import Reader
from plano_asgi.classify.prompts import PromptForm
from plano_asgi.cli import main
from plano_asgi.errors import ExportError
from plano_asgi.lab.export.architecture import Architecture
from plano_asgi.lab.export.location import Location
from plano_asgi.lab.export.parity import Answers, Parity
from plano_asgi.lab.export.parity_prompts import parity_prompts
from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.probing import read_quoting
from plano_asgi.lab.export.smoothing import SmoothedWeights
from plano_asgi.lab.export.stages import Stages
from plano_asgi.lab.export.weights import RandomWeights


def test_command_names_the_extra_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without the export extra the command says how to install it, and exits with 1."""
    monkeypatch.setitem(sys.modules, "optimum", None)
    monkeypatch.setattr(sys, "argv", ["plano-asgi", "export", "some/model", "--out", str(tmp_path / "bundle")])

    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 1
    assert "pip install 'plano-asgi[export]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "named", "gguf"),
    [
        (["model-00002.safetensors", "model-00001.safetensors", "config.json"], "", ""),
        (["one.gguf", "README.txt"], "", "one.gguf"),
        (["one.gguf", "two.gguf"], "two.gguf", "two.gguf"),
        (["one.gguf", "model.safetensors"], "", ""),
    ],
    ids=["safetensors", "a folder with a GGUF", "one of two GGUFs", "both: safetensors"],
)
def test_model_is_found(tmp_path: Path, files: list[str], named: str, gguf: str) -> None:
    """A folder or a GGUF file is understood, and its revision changes with its weights."""
    for name in files:
        (tmp_path / name).write_bytes(name.encode())

    location = Location.of(str(tmp_path / named))

    assert (location.at, location.gguf, location.is_local) == (str(tmp_path), gguf, True)
    before = location.revision()
    location.weight_files()[-1].write_bytes(b"other weights")
    assert before != location.revision()


def test_hub_id_is_told_from_a_path() -> None:
    """What is no path and has the form owner/name is a hub id."""
    assert Location.of("katanemo/Arch-Router-1.5B") == Location(
        at="katanemo/Arch-Router-1.5B", is_local=False, name="katanemo/Arch-Router-1.5B"
    )


@pytest.mark.parametrize(
    ("files", "named", "problem"),
    [
        (["one.gguf", "two.gguf"], "", "holds 2 GGUF files"),
        (["pytorch_model.bin"], "", "holds no model"),
        (["model.bin"], "model.bin", "is no model"),
        ([], "nowhere/at/all", "is no model"),
    ],
    ids=["several", "a pickle", "another file", "nothing"],
)
def test_what_is_no_model_is_refused(tmp_path: Path, files: list[str], named: str, problem: str) -> None:
    """A source that cannot be exported is refused with what to give instead."""
    for name in files:
        (tmp_path / name).touch()

    with pytest.raises(ExportError, match=problem):
        Location.of(str(tmp_path / named))


@pytest.mark.parametrize(
    ("name", "said", "has_terms"),
    [
        ("Arch-Router-1.5B-Q4_K_M.gguf", b"", True),
        ("router.gguf", b"GGUF general.name\x0eArch Router 1.5B", True),
        ("model.gguf", b"GGUF general.name Qwen2.5 1.5B Instruct", False),
    ],
    ids=["by its name", "by what the file says", "another model"],
)
def test_arch_router_is_known_by_its_name(tmp_path: Path, name: str, said: bytes, *, has_terms: bool) -> None:
    """A GGUF that is called Arch-Router, or says that it is one, has terms to accept."""
    (tmp_path / name).write_bytes(said)

    assert (Location.of(str(tmp_path / name)).licence() is not None) == has_terms


def test_folder_is_known_by_its_model_card(tmp_path: Path) -> None:
    """A renamed folder keeps its terms as long as its model card says whose it is."""
    (tmp_path / "model.safetensors").touch()
    assert Location.of(str(tmp_path)).licence() is None

    (tmp_path / "README.md").write_text("license_name: katanemo-research")

    licence = Location.of(str(tmp_path)).licence()
    assert licence
    assert licence.name == "katanemo-research"


def test_finished_stages_are_remembered_for_the_same_order(tmp_path: Path) -> None:
    """What a stage found out is there for the next run of the same order, and gone for any other."""
    stages = Stages(tmp_path / "partial", {"precision": "int8"})
    (stages.folder / "file").write_text("content")
    stages.finish("one", ["file"], answer=42)

    assert Stages(tmp_path / "partial", {"precision": "int8"}).found("one") == {"answer": 42}
    assert Stages(tmp_path / "partial", {"precision": "fp16"}).found("one") is None
    assert not (tmp_path / "partial" / "file").exists()


def test_torn_record_is_no_record(tmp_path: Path) -> None:
    """A record that was cut off is taken for none."""
    stages = Stages(tmp_path / "partial", {})
    stages.finish("one")
    (tmp_path / "partial" / "export.json").write_bytes(b'{"order": {}, "sta')

    assert Stages(tmp_path / "partial", {}).found("one") is None


def test_smoothing_changes_no_product() -> None:
    """A norm and what reads it, smoothed, multiply to the same to the last bit; a channel's outlier is smaller."""
    shape = Architecture(layers=1, hidden=16, intermediate=32, heads=2, kv_heads=1, head_size=8, vocabulary=20)
    weights = RandomWeights(shape, seed=1)
    outlier = np.ones(16, np.float32)
    outlier[3] = 900.0
    maxima = {f"model.layers.0.{name}": outlier for name in ("self_attn.q_proj", "mlp.gate_proj")}

    smoothed = SmoothedWeights(weights, maxima, strength=0.65)

    x = np.random.default_rng(2).standard_normal((5, 16), np.float32)
    for norm, reader in (("input_layernorm", "self_attn.v_proj"), ("post_attention_layernorm", "mlp.up_proj")):
        gain, columns = (f"model.layers.0.{name}.weight" for name in (norm, reader))
        plain = (x * weights.tensor(gain))[:, None] * weights.tensor(columns)
        smooth = (x * smoothed.tensor(gain))[:, None] * smoothed.tensor(columns)
        assert np.array_equal(plain, smooth)
        assert smoothed.tensor(gain)[3] < smoothed.tensor(gain)[4] / 16
    for name in ("model.layers.0.mlp.down_proj.weight", "model.layers.0.self_attn.q_proj.bias", "model.norm.weight"):
        assert np.array_equal(smoothed.tensor(name), weights.tensor(name))


def answers(scores: Sequence[Sequence[float]], *, logit: float = 0.0) -> Answers:
    """Return answers with one compared logit."""
    return Answers.of([np.array(row) for row in scores], [np.array([logit], np.float32)])


def test_unclear_prompts_do_not_decide() -> None:
    """Where the source itself sees a tie, another choice is counted and recorded, and does not make an export miss."""
    clear, tie = [0.9, 0.1], [0.51, 0.49]
    parity = Parity.between(answers([clear] * 10 + [tie] * 5), answers([clear] * 10 + [tie[::-1]] * 5), Precision.FP16)

    parity.check(Precision.FP16)
    assert (parity.prompts, parity.clear_prompts, parity.clear_agreement) == (15, 10, 1.0)
    assert parity.agreement == pytest.approx(10 / 15)


@pytest.mark.parametrize(
    ("precision", "wrong", "misses"),
    [("int4", 2, False), ("int4", 3, True), ("int8", 1, False), ("int8", 2, True), ("fp16", 1, True)],
)
def test_export_below_its_floor_misses(precision: str, wrong: int, *, misses: bool) -> None:
    """Ten clear prompts, some of them routed otherwise: each precision has its floor."""
    right, other = [0.9, 0.1], [0.2, 0.8]
    found = answers([other] * wrong + [right] * (10 - wrong))
    parity = Parity.between(answers([right] * 10), found, Precision(precision))

    if misses:
        with pytest.raises(ExportError, match=r"agrees with its source on \d0% of the routes"):
            parity.check(Precision(precision))
    else:
        parity.check(Precision(precision))


def test_all_prompts_decide_where_few_are_clear() -> None:
    """A source that is hardly ever clear is compared on everything."""
    right, tie = [0.9, 0.1], [0.51, 0.49]
    parity = Parity.between(answers([right, *[tie] * 9]), answers([right, *[tie[::-1]] * 9]), Precision.INT4)

    with pytest.raises(ExportError, match="10% of the routes"):
        parity.check(Precision.INT4)


@pytest.mark.parametrize(("difference", "misses"), [(9e-4, False), (2e-3, True), (float("nan"), True)])
def test_fp32_has_to_give_the_same_logits(difference: float, *, misses: bool) -> None:
    """In fp32 no logit may differ by more than a thousandth, and one that is no number differs."""
    row = [[0.9, 0.1]] * 10
    parity = Parity.between(answers(row), answers(row, logit=difference), Precision.FP32)

    if misses:
        with pytest.raises(ExportError, match="differs from its source"):
            parity.check(Precision.FP32)
    else:
        parity.check(Precision.FP32)


def test_answers_survive_a_file(tmp_path: Path) -> None:
    """What the source said is read back as it was written, policies of different size included."""
    said = answers([[0.5, 0.5], [0.1, 0.2, 0.7]], logit=1.5)
    said.save(tmp_path / "answers.npz")

    read = Answers.load(tmp_path / "answers.npz")

    assert read.scores.tolist() == [[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]]
    assert read.logits.tolist() == [[1.5]]


def test_there_are_fifty_prompts(tiny_bundle: Path) -> None:
    """Ten prompts of each of five policies go on from what their policy shares."""
    groups = parity_prompts(Reader(Bundle.read(tiny_bundle), form=PromptForm.GATEWAY, joint=False))

    assert [len(group.rests) for group in groups] == [10] * 5
    assert [len(group.tree.shared_by) for group in groups] == [6, 5, 6, 7, 3]
    assert all(len(set(group.rests)) == len(group.rests) for group in groups)


@pytest.mark.parametrize(
    ("texts", "counts", "quoting"),
    [
        (['{"route": "a"}', '```json\n{"route" : "b"}', "{'route': 'c'}"], (3, 2, 1), Quoting.DOUBLE),
        (["{'route': 'a'}", "{'route': \"it's\"}", "no idea"], (3, 0, 2), Quoting.SINGLE),
        (["route", "", "'router': 1"], (3, 0, 0), Quoting.DOUBLE),
    ],
    ids=["double", "single", "neither"],
)
def test_quoting_is_read_from_the_key(texts: list[str], counts: tuple[int, int, int], quoting: Quoting) -> None:
    """The quotes around the key decide, by majority; without any answer they are double."""
    found = read_quoting(texts)

    assert (found.answers, found.double, found.single) == counts
    assert found.quoting is quoting
