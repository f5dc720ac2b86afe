"""The model's files: which there are, and that they are the published ones."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

import orjson

from plano_asgi.classify.digests import sha256_of
from plano_asgi.errors import ArtifactIntegrityError, ArtifactNotFoundError

SHIPPED_FOLDER: Final = Path(__file__).with_name("model")
MANIFEST_NAME: Final = "router.json"
FILE_NAMES: Final = ("encoder.onnx", "comparer.onnx", "tokenizer.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `router.json` says of the files beside it.

    Attributes:
        folder: Where the files are.
        revision: Changes with any of the files.
        threshold: Least confidence in [0, 1] that selects a route.
        temperature: Divides the comparer's logits, above 0.
        sha256: Hex digest of each file.
    """

    folder: Path
    revision: str
    threshold: float
    temperature: float
    sha256: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the manifest of a folder; the files themselves are not opened.

        Raises:
            ArtifactNotFoundError: The manifest or a file is missing.
            ArtifactIntegrityError: The manifest cannot be read.
        """
        for name in (MANIFEST_NAME, *FILE_NAMES):
            if not (folder / name).is_file():
                raise ArtifactNotFoundError(folder / name)
        try:
            said = orjson.loads((folder / MANIFEST_NAME).read_bytes())
            manifest = cls(
                folder=folder,
                revision=str(said["revision"]),
                threshold=float(said["threshold"]),
                temperature=float(said["temperature"]),
                sha256=MappingProxyType({name: str(said["sha256"][name]) for name in FILE_NAMES}),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise ArtifactIntegrityError(folder / MANIFEST_NAME, problem="it is not a manifest of a router") from None
        if not 0 <= manifest.threshold <= 1:
            raise ArtifactIntegrityError(folder / MANIFEST_NAME, problem="its threshold is not between 0 and 1")
        if not 0 < manifest.temperature < math.inf:
            raise ArtifactIntegrityError(folder / MANIFEST_NAME, problem="its temperature is not above 0")
        return manifest

    def verify(self) -> None:
        """Guarantee that every file is the published one.

        Raises:
            ArtifactIntegrityError: A file has another SHA-256.
        """
        for name, expected in self.sha256.items():
            path = self.folder / name
            if sha256_of(path) != expected:
                raise ArtifactIntegrityError(path, problem=f"its SHA-256 is not the one in {MANIFEST_NAME}")
