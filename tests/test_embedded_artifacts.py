"""The model's files: what is missing, damaged or not the published one is found before it is used."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.errors import ArtifactIntegrityError, ArtifactNotFoundError
from plano_asgi.preferences import RoutingPolicy

FILES = ("encoder.onnx", "tokenizer.json", "head.npz")
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


def shipped_arrays() -> dict[str, Any]:
    """Return the arrays of the shipped head."""
    with np.load(SHIPPED_FOLDER / "head.npz") as file:
        return dict(file)


def npz(path: Path, arrays: dict[str, Any]) -> bytes:
    """Return arrays as the bytes of an `.npz` file."""
    np.savez(path / "made.npz", **arrays)
    return (path / "made.npz").read_bytes()


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


class Planted:
    """An object that cannot be unpickled without being noticed."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        """Return what would run."""
        return pytest.fail, ("the pickle was opened",)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: {name: array.astype(np.float64) for name, array in arrays.items()},
        lambda arrays: arrays | {"temperature": np.float32(np.nan)},
        lambda arrays: {name: array for name, array in arrays.items() if name != "temperature"},
        lambda arrays: arrays | {"extra": np.float32(1)},
        lambda arrays: arrays | {"temperature": np.array(Planted(), dtype=object)},
        lambda _: {},
    ],
    ids=["float64", "nan", "missing-array", "unknown-array", "pickled", "no-arrays"],
)
def test_a_head_of_other_arrays_is_found(
    copy_with: Copy, tmp_path_factory: pytest.TempPathFactory, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """A head whose arrays are not the trained ones in kind is an integrity error, and no pickle is ever opened."""
    head = npz(tmp_path_factory.mktemp("head"), change(shipped_arrays()))
    folder = copy_with(is_published=True, head=head)

    with pytest.raises(ArtifactIntegrityError, match=r"head\.npz"):
        EmbeddedClassifier(folder).prepare(RoutingPolicy())


def test_a_head_that_is_a_pickle_is_not_opened(copy_with: Copy) -> None:
    """A bare pickle in the head's place is an integrity error and runs nothing."""
    folder = copy_with(is_published=True, head=pickle.dumps(Planted()))

    with pytest.raises(ArtifactIntegrityError, match=r"head\.npz"):
        EmbeddedClassifier(folder).prepare(RoutingPolicy())
