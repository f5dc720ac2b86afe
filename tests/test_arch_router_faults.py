"""The bundle's files: what is missing, damaged or does not belong together is found, named and not tried again."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from tokenizers import Tokenizer

from plano_asgi.classify.arch_router import ArchRouterClassifier
from plano_asgi.classify.arch_router.bundle import KeyValueShape
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.errors import ArtifactError, ArtifactIntegrityError, ArtifactNotFoundError
from plano_asgi.preferences import RoutingPolicy

FILES = ("model.onnx", "model.onnx.data", "tokenizer.json")
ADVICE = "reinstall plano-asgi or export the model again"
WITHOUT_RUNTIME = """
import sys
from pathlib import Path
from plano_asgi.classify.arch_router import ArchRouterClassifier
from plano_asgi.errors import MissingExtraError
from plano_asgi.preferences import RoutingPolicy

sys.modules["onnxruntime"] = None
try:
    ArchRouterClassifier(Path(sys.argv[1])).prepare(RoutingPolicy())
except MissingExtraError as error:
    print(error)
"""

BundleWith = Callable[..., Path]


def flipped(data: bytes) -> bytes:
    """Return the data with one bit in the middle changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def with_more_tokens(data: bytes) -> bytes:
    """Return a tokenizer that has learned more words than the model."""
    tokenizer = Tokenizer.from_str(data.decode())
    tokenizer.add_tokens(["antidisestablishmentarianism"])
    text: str = tokenizer.to_str()
    return text.encode()


def prepared(folder: Path) -> None:
    """Load a bundle."""
    ArchRouterClassifier(folder, device="cpu", threads=1).prepare(RoutingPolicy())


@pytest.mark.parametrize("name", ["router.json", *FILES])
def test_a_missing_file_is_found_at_construction(bundle_with: BundleWith, name: str) -> None:
    """A file that is not there is named before anything is loaded, also to who catches FileNotFoundError."""
    folder = bundle_with()
    (folder / name).unlink()

    with pytest.raises(ArtifactNotFoundError, match=f"{name} does not exist.*classifier.model_path") as caught:
        ArchRouterClassifier(folder)

    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_goes_missing_later_is_named(bundle_with: BundleWith, name: str) -> None:
    """A file that was there at construction and is not at loading is an error that names it."""
    folder = bundle_with()
    classifier = ArchRouterClassifier(folder)
    (folder / name).unlink()

    with pytest.raises(ArtifactNotFoundError, match=name):
        classifier.prepare(RoutingPolicy())


@pytest.mark.parametrize(
    "manifest",
    [b"", b"not json", b"[]", b"null", b"{}", b'{"format": 1}', b"\xff{}", b"[" * 100_000],
    ids=["empty", "no-json", "array", "null", "no-keys", "format-alone", "not-utf8", "deep"],
)
def test_a_manifest_that_is_none_is_found_at_construction(bundle_with: BundleWith, manifest: bytes) -> None:
    """A manifest that does not describe a model is an integrity error that names it and says what to do."""
    folder = bundle_with()
    (folder / "router.json").write_bytes(manifest)

    with pytest.raises(ArtifactIntegrityError, match=rf"router\.json: .*plano-asgi export.*{ADVICE}"):
        ArchRouterClassifier(folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": 2},
        {"format": "1"},
        {"key_values": None},
        {"key_values": {}},
        {"key_values": {"tensors": 4, "heads": 2, "head_size": 16, "dtype": "float99"}},
        {"key_values": {"tensors": "four", "heads": 2, "head_size": 16, "dtype": "float32"}},
        {"key_values": {"tensors": 4, "heads": 2, "head_size": 16, "dtype": "float32", "more": 1}},
        {"vocabulary": "many"},
        {"context": None},
        {"quoting": "triple"},
        {"prompt_form": "letter"},
        {"end_tokens": []},
        {"end_tokens": 7},
        {"end_tokens": ["end"]},
        {"end_tokens": [-1]},
        {"temperature": 0},
        {"temperature": "nan"},
        {"temperature": "inf"},
        {"threshold": 41},
        {"threshold": "nan"},
        {"sha256": "00"},
        {"sha256": []},
        {"parity": 1},
        {"source": None},
    ],
    ids=json.dumps,
)
def test_a_wrong_word_in_the_manifest_is_found_at_construction(bundle_with: BundleWith, wrong: dict[str, Any]) -> None:
    """A manifest with a value that cannot be is an integrity error that names it."""
    folder = bundle_with()
    path = folder / "router.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | wrong))

    with pytest.raises(ArtifactIntegrityError, match=rf"router\.json: .*{ADVICE}"):
        ArchRouterClassifier(folder)


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", "sub/model.onnx", "..", "", "a\0b"])
def test_a_manifest_names_no_file_elsewhere(bundle_with: BundleWith, name: str) -> None:
    """A manifest that vouches for a file outside its folder is refused before that file is opened."""
    folder = bundle_with()
    (folder.parent / "x").write_bytes(b"")
    path = folder / "router.json"
    said = json.loads(path.read_bytes())
    path.write_text(json.dumps(said | {"sha256": said["sha256"] | {name: "00"}}))

    with pytest.raises(ArtifactError):
        ArchRouterClassifier(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_file_without_a_hash_is_refused(bundle_with: BundleWith, name: str) -> None:
    """Graph and tokenizer need a SHA-256 in the manifest."""
    folder = bundle_with()
    path = folder / "router.json"
    said = json.loads(path.read_bytes())
    del said["sha256"][name]
    path.write_text(json.dumps(said))

    with pytest.raises(ArtifactIntegrityError, match=rf"router\.json: it has no SHA-256 of {name}; {ADVICE}"):
        ArchRouterClassifier(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage", [flipped, lambda data: data[:-1], lambda _: b""], ids=["one-bit", "truncated", "empty"]
)
def test_a_file_that_is_not_the_exported_one_is_never_opened(
    bundle_with: BundleWith, tiny_bundle: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    """Any change to a file is an integrity error that names it, before the model is used."""
    folder = bundle_with({name: damage((tiny_bundle / name).read_bytes())}, is_vouched=False)

    with pytest.raises(ArtifactIntegrityError, match=rf"{name}: its SHA-256 is not the one in router\.json; {ADVICE}"):
        prepared(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("data", [b"", b"{}", b"\x08\x09garbage", b"PK\x03\x04"], ids=["empty", "json", "bytes", "zip"])
def test_a_file_of_another_kind_is_found_though_the_manifest_vouches_for_it(
    bundle_with: BundleWith, name: str, data: bytes
) -> None:
    """A file that is not what its name says is an integrity error too where somebody published it so."""
    with pytest.raises(ArtifactIntegrityError, match=f"{name}: .*{ADVICE}"):
        prepared(bundle_with({name: data}))


def test_a_truncated_graph_is_found_though_the_manifest_vouches_for_it(
    bundle_with: BundleWith, tiny_bundle: Path
) -> None:
    """Half a graph is an integrity error that names it, whoever vouches for it."""
    data = (tiny_bundle / "model.onnx").read_bytes()

    with pytest.raises(ArtifactIntegrityError, match=r"model\.onnx: "):
        prepared(bundle_with({"model.onnx": data[: len(data) // 2]}))


def test_tensors_that_are_missing_are_found_though_no_hash_asks_for_them(bundle_with: BundleWith) -> None:
    """A graph without the file of its tensors cannot be loaded, and the error names the graph."""
    with pytest.raises(ArtifactIntegrityError, match=rf"model\.onnx: it cannot be loaded.*{ADVICE}"):
        prepared(bundle_with({"model.onnx.data": None}))


def test_tensors_are_not_read_from_elsewhere(bundle_with: BundleWith, tiny_bundle: Path, tmp_path: Path) -> None:
    """A graph whose tensors lie outside its folder is refused."""
    graph = onnx.load(tiny_bundle / "model.onnx", load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../elsewhere.data"
    (tmp_path / "elsewhere.data").write_bytes((tiny_bundle / "model.onnx.data").read_bytes())

    with pytest.raises(ArtifactIntegrityError, match=r"model\.onnx: it cannot be loaded"):
        prepared(bundle_with({"model.onnx": graph.SerializeToString()}))


def test_a_tokenizer_of_a_larger_model_is_found(bundle_with: BundleWith, tiny_bundle: Path) -> None:
    """A tokenizer with more tokens than the model has is an integrity error that names it."""
    more = with_more_tokens((tiny_bundle / "tokenizer.json").read_bytes())

    with pytest.raises(ArtifactIntegrityError, match=rf"tokenizer\.json: it has tokens that the model.*{ADVICE}"):
        prepared(bundle_with({"tokenizer.json": more}))


@pytest.mark.parametrize(
    "shape",
    [
        KeyValueShape(tensors=6, heads=2, head_size=16, dtype="float32"),
        KeyValueShape(tensors=4, heads=4, head_size=16, dtype="float32"),
        KeyValueShape(tensors=4, heads=2, head_size=8, dtype="float32"),
        KeyValueShape(tensors=4, heads=2, head_size=16, dtype="float16"),
    ],
    ids=["layers", "heads", "head-size", "precision"],
)
def test_a_graph_of_another_shape_is_found(bundle_with: BundleWith, shape: KeyValueShape) -> None:
    """A graph that is not the one that the manifest describes is an integrity error that names it."""
    with pytest.raises(ArtifactIntegrityError, match=rf"model\.onnx: its inputs are not those.*{ADVICE}"):
        prepared(bundle_with(key_values=shape))


def test_a_graph_of_another_kind_is_found(bundle_with: BundleWith) -> None:
    """Some other model's graph in the graph's place is an integrity error that names it."""
    encoder = (SHIPPED_FOLDER / "encoder.onnx").read_bytes()

    with pytest.raises(ArtifactIntegrityError, match=r"model\.onnx: its inputs are not those"):
        prepared(bundle_with({"model.onnx": encoder}))


def test_a_damaged_model_is_not_tried_again(bundle_with: BundleWith, tiny_bundle: Path) -> None:
    """The first failure is remembered: later attempts read no file, and have the same error."""
    folder = bundle_with({"tokenizer.json": b""}, is_vouched=False)
    classifier = ArchRouterClassifier(folder, device="cpu", threads=1)
    with pytest.raises(ArtifactIntegrityError) as first:
        classifier.prepare(RoutingPolicy())
    (folder / "tokenizer.json").write_bytes((tiny_bundle / "tokenizer.json").read_bytes())

    with pytest.raises(ArtifactIntegrityError) as second:
        classifier.prepare(RoutingPolicy())

    assert second.value is first.value
    prepared(folder)


def test_without_onnxruntime_the_extra_is_named(tiny_bundle: Path) -> None:
    """Where onnxruntime is not installed, the error names the setting and the extra that brings it."""
    command = [sys.executable, "-c", WITHOUT_RUNTIME, str(tiny_bundle)]

    ended = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=60, check=False)

    assert ended.stderr == ""
    assert ended.stdout == "classifier.kind: arch_router needs an extra: pip install 'plano-asgi[cpu]'\n"
