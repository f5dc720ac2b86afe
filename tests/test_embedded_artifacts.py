"""The model's files: what is missing, damaged or not the published one is found before it is used."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.conversation import Message, Role
from plano_asgi.errors import ArtifactIntegrityError, ArtifactNotFoundError, ClassificationError
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

FILES = ("encoder.onnx", "tokenizer.json", "comparer.onnx")
CALL = (Message(role=Role.USER, text="Write a parser for dates"),)
POLICY = RoutingPolicy(preferences=(RoutingPreference(name="code", description="writing code", models=("a/b",)),))
Copy = Callable[..., Path]


@pytest.fixture
def copy_with(tmp_path: Path) -> Copy:
    """Return a function that makes a copy of the model's folder with some files replaced, or left out."""

    def copy(*, is_published: bool = False, **replaced: bytes | None) -> Path:
        """Name files without their ends; with `is_published`, the manifest vouches for the new ones."""
        contents: dict[str, bytes | None] = {}
        for path in SHIPPED_FOLDER.iterdir():
            if path.stem in replaced:
                contents[path.name] = replaced[path.stem]
            else:
                (tmp_path / path.name).symlink_to(path)
        for name, data in contents.items():
            if data is not None:
                (tmp_path / name).write_bytes(data)
        if is_published:
            manifest = shipped_manifest()
            manifest["sha256"] |= {name: hashlib.sha256(data or b"").hexdigest() for name, data in contents.items()}
            (tmp_path / "router.json").unlink()
            (tmp_path / "router.json").write_text(json.dumps(manifest))
        return tmp_path

    return copy


def shipped_manifest() -> Any:
    """Return the manifest of the shipped model."""
    return json.loads((SHIPPED_FOLDER / "router.json").read_bytes())


def test_a_copy_of_the_folder_is_a_model(copy_with: Copy) -> None:
    """The shipped files serve from any folder, with the manifest's revision and threshold."""
    classifier = EmbeddedClassifier(copy_with())

    classifier.prepare(RoutingPolicy())

    assert classifier.revision == shipped_manifest()["revision"]
    assert classifier.threshold == shipped_manifest()["threshold"]


@pytest.mark.parametrize("name", ["router.json", *FILES])
def test_a_missing_file_is_found_at_construction(copy_with: Copy, name: str) -> None:
    """A file that is not there is named before anything is loaded, also to who catches FileNotFoundError."""
    folder = copy_with(**{Path(name).stem: None})

    with pytest.raises(ArtifactNotFoundError, match=name) as caught:
        EmbeddedClassifier(folder)

    assert isinstance(caught.value, FileNotFoundError)


def test_a_missing_folder_is_found_at_construction(tmp_path: Path) -> None:
    """A folder that is not there is a missing file like any other."""
    with pytest.raises(ArtifactNotFoundError):
        EmbeddedClassifier(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"{}",
        b'{"revision": "r", "threshold": 0.5}',
        b'{"revision": "r", "threshold": 0.5, "sha256": {"encoder.onnx": "00"}}',
        b'{"revision": "r", "threshold": 0.5, "sha256": "00"}',
        json.dumps(shipped_manifest() | {"threshold": "high"}).encode(),
        json.dumps(shipped_manifest() | {"threshold": "nan"}).encode(),
        json.dumps(shipped_manifest() | {"threshold": 41}).encode(),
        json.dumps(shipped_manifest() | {"threshold": None}).encode(),
        json.dumps({name: said for name, said in shipped_manifest().items() if name != "temperature"}).encode(),
        json.dumps(shipped_manifest() | {"temperature": 0}).encode(),
        json.dumps(shipped_manifest() | {"temperature": -1}).encode(),
        json.dumps(shipped_manifest() | {"temperature": "inf"}).encode(),
        json.dumps(shipped_manifest() | {"temperature": "nan"}).encode(),
        b"\xff" + json.dumps(shipped_manifest()).encode(),
        b"[" * 100_000,
    ],
    ids=[
        "empty",
        "no-json",
        "array",
        "null",
        "no-keys",
        "no-hashes",
        "one-hash",
        "hashes-no-object",
        "threshold-text",
        "threshold-nan",
        "threshold-41",
        "threshold-null",
        "no-temperature",
        "temperature-0",
        "temperature-negative",
        "temperature-infinite",
        "temperature-nan",
        "not-utf8",
        "deep",
    ],
)
def test_a_broken_manifest_is_found_at_construction(copy_with: Copy, manifest: bytes) -> None:
    """A manifest that does not say what it should is an integrity error that names it."""
    folder = copy_with(router=manifest)

    with pytest.raises(ArtifactIntegrityError, match=r"router\.json"):
        EmbeddedClassifier(folder)


def flipped(data: bytes) -> bytes:
    """Return the data with one bit in the middle changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [flipped, lambda data: data[:-1], lambda data: data + b"\n", lambda _: b""],
    ids=["one-bit", "truncated", "longer", "empty"],
)
def test_a_file_that_is_not_the_published_one_is_never_opened(
    copy_with: Copy, name: str, damage: Callable[[bytes], bytes]
) -> None:
    """Any change to a file is an integrity error that names it, before the model is used."""
    folder = copy_with(**{Path(name).stem: damage((SHIPPED_FOLDER / name).read_bytes())})
    classifier = EmbeddedClassifier(folder)

    with pytest.raises(ArtifactIntegrityError, match=f"{name}.*SHA-256") as caught:
        classifier.prepare(RoutingPolicy())

    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("data", [b"", b"{}", b"\x08\x09garbage", b"PK\x03\x04"], ids=["empty", "json", "bytes", "zip"])
def test_a_file_of_another_kind_is_found_though_the_manifest_vouches_for_it(
    copy_with: Copy, name: str, data: bytes
) -> None:
    """A file that is not what its name says is an integrity error too where somebody published it so."""
    folder = copy_with(is_published=True, **{Path(name).stem: data})

    with pytest.raises(ArtifactIntegrityError, match=name):
        EmbeddedClassifier(folder).prepare(RoutingPolicy())


def graph(outputs: Sequence[str], elements: int = TensorProto.FLOAT) -> bytes:
    """Return an ONNX model that takes what the comparer takes and gives its routes back under these names."""
    given = {"states": TensorProto.FLOAT, "kinds": TensorProto.INT64, "routes": TensorProto.FLOAT}
    inputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in given.items()]
    nodes = [helper.make_node("Cast", ["routes"], [name], to=elements) for name in outputs]
    results = [helper.make_tensor_value_info(name, elements, None) for name in outputs]
    made = helper.make_graph(nodes, "other", inputs, results)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("outputs", "said"), [(["logits"], "shape"), (["logits", "more"], "embedded model")], ids=["shape", "two outputs"]
)
def test_a_comparer_that_is_another_model_is_no_answer(copy_with: Copy, outputs: list[str], said: str) -> None:
    """An ONNX model that answers with something else than one logit a route fails the call, and is not trusted."""
    classifier = EmbeddedClassifier(copy_with(is_published=True, comparer=graph(outputs)))

    with pytest.raises(ClassificationError, match=said):
        classifier.classify(CALL, POLICY)


@pytest.mark.parametrize("bit", [0, -1], ids=["first byte", "last byte"])
def test_a_damaged_comparer_is_not_tried_again(copy_with: Copy, bit: int) -> None:
    """A call fails with the damaged file's name, and so does the next one, even if the file was mended meanwhile."""
    published = (SHIPPED_FOLDER / "comparer.onnx").read_bytes()
    data = bytearray(published)
    data[bit] ^= 1
    folder = copy_with(comparer=bytes(data))
    classifier = EmbeddedClassifier(folder)

    for _ in range(2):
        with pytest.raises(ArtifactIntegrityError, match=r"comparer\.onnx.*SHA-256"):
            classifier.classify(CALL, POLICY)
        (folder / "comparer.onnx").write_bytes(published)


def test_temperature_of_the_manifest_divides_the_logits(copy_with: Copy) -> None:
    """Twice the temperature halves how far apart the logarithms of the probabilities are."""
    said = shipped_manifest()
    warm = EmbeddedClassifier(copy_with(router=json.dumps(said | {"temperature": 2 * said["temperature"]}).encode()))

    cold_gap, warm_gap = (
        math.log(scores.routes["code"] / scores.other)
        for scores in (EmbeddedClassifier().classify(CALL, POLICY), warm.classify(CALL, POLICY))
    )

    assert warm_gap == pytest.approx(cold_gap / 2, abs=1e-4)
    assert abs(cold_gap) > 0.5
