"""What an export has finished so far: a folder of files and a record of them, so that it can go on where it stopped."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from plano_asgi.classify.digests import sha256_of

RECORD_NAME: Final = "export.json"


class Stages:
    """Finished stages, each with its files and what it found out; written down as soon as a stage is finished."""

    def __init__(self, folder: Path, order: Mapping[str, Any]) -> None:
        """Open a folder; what it holds is thrown away unless it was begun for the same order.

        Args:
            folder: Where stages keep their files.
            order: What the files depend on; JSON.
        """
        self.folder = folder
        self._order = dict(order)
        self._record = self._read()
        if not self._record:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)

    def found(self, stage: str) -> dict[str, Any] | None:
        """Return what a finished stage found out; None where it is not finished, or one of its files has changed."""
        if stage not in self._record:
            return None
        for name, digest in self._record[stage]["sha256"].items():
            path = self.folder / name
            if not path.is_file() or sha256_of(path) != digest:
                return None
        found: dict[str, Any] = self._record[stage]["found"]
        return found

    def finish(self, stage: str, files: Sequence[str] = (), **found: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Write down that a stage is finished, and return what it found out."""
        self._record[stage] = {"sha256": {name: sha256_of(self.folder / name) for name in files}, "found": found}
        draft = self.folder / f"{RECORD_NAME}.draft"
        draft.write_bytes(orjson.dumps({"order": self._order, "stages": self._record}))
        draft.replace(self.folder / RECORD_NAME)
        return found

    def sha256(self, stage: str) -> dict[str, str]:
        """Return the digests of a finished stage's files, by name."""
        return dict(self._record[stage]["sha256"])

    def move_to(self, target: Path, stages: Sequence[str]) -> None:
        """Move the files of finished stages into a folder, and remove everything else."""
        for stage in stages:
            for name in self._record[stage]["sha256"]:
                (self.folder / name).replace(target / name)
        shutil.rmtree(self.folder)

    def _read(self) -> dict[str, Any]:
        try:
            said = orjson.loads((self.folder / RECORD_NAME).read_bytes())
            stages: dict[str, Any] = said["stages"] if said["order"] == self._order else {}
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
            return {}
        return stages
