"""Where a model to export is: a folder of safetensors, a GGUF file, or a hub id; and the licence it comes under."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plano_asgi.classify.digests import sha256_of
from plano_asgi.errors import ExportError, MissingExtraError

_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
_ARCH_ROUTER: Final = re.compile(rb"katanemo|arch[-_ ]?router", re.IGNORECASE)
_GGUF_HEAD_BYTES: Final = 8_192  # the general facts come first
_TELLING_FILES: Final = ("config.json", "README.md", "LICENSE")
_DIGEST_CHARS: Final = 16


@dataclass(frozen=True, slots=True)
class Licence:
    """Terms that have to be accepted before a model is exported.

    Attributes:
        name: What its authors call it.
        url: Where it can be read.
        terms: What it means for an export, in a sentence.
    """

    name: str
    url: str
    terms: str


ARCH_ROUTER_LICENCE: Final = Licence(
    "katanemo-research",
    "https://huggingface.co/katanemo/Arch-Router-1.5B/blob/main/LICENSE",
    "It limits redistribution: use the export yourself, and do not pass it on, publish it or ship it in a product.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """One model.

    Attributes:
        at: The local folder, or the hub id.
        gguf: The file in that folder, where it is a GGUF; else empty.
        is_local: Whether it is on this machine.
        name: What people call it.
    """

    at: str
    gguf: str = ""
    is_local: bool = True
    name: str

    @classmethod
    def of(cls, source: str) -> "Location":
        """Return where a source is.

        Args:
            source: A folder that holds safetensors or one GGUF file, such a file, or a hub id.

        Raises:
            ExportError: There is no such folder or file, or it holds no model, or several.
        """
        path = Path(source).expanduser()
        if path.is_file() and path.suffix.lower() == ".gguf":
            return cls(at=str(path.parent), gguf=path.name, name=path.stem)
        if path.is_dir():
            return _in_folder(path.resolve())
        if not path.exists() and _HUB_ID.fullmatch(source):
            return cls(at=source, is_local=False, name=source)
        raise ExportError(
            f"{source} is no model: give a folder with safetensors, a .gguf file, or a hub id like owner/name"
        )

    def revision(self) -> str:
        """Return what changes with the weights: the start of their SHA-256, or the hub's commit.

        Raises:
            MissingExtraError: The export extra is not installed.
            ExportError: The hub cannot be asked.
        """
        if not self.is_local:
            return _commit(self.at)
        hasher = hashlib.sha256()
        for path in self.weight_files():
            hasher.update(f"{path.name}:{sha256_of(path)}\n".encode())
        return hasher.hexdigest()[:_DIGEST_CHARS]

    def weight_files(self) -> list[Path]:
        """Return the local files of weights, sorted; none for a hub id."""
        if not self.is_local:
            return []
        return [Path(self.at, self.gguf)] if self.gguf else sorted(Path(self.at).glob("*.safetensors"))

    def has(self, name: str) -> bool:
        """Return whether a file lies with the local model."""
        return self.is_local and Path(self.at, name).is_file()

    def licence(self) -> Licence | None:
        """Return the terms that have to be accepted, None where none are known."""
        said = [self.name.encode()]
        if self.gguf:
            with Path(self.at, self.gguf).open("rb") as file:
                said.append(file.read(_GGUF_HEAD_BYTES))
        elif self.is_local:
            said += [Path(self.at, name).read_bytes() for name in _TELLING_FILES if Path(self.at, name).is_file()]
        return ARCH_ROUTER_LICENCE if any(map(_ARCH_ROUTER.search, said)) else None


def _in_folder(folder: Path) -> Location:
    if any(folder.glob("*.safetensors")):
        return Location(at=str(folder), name=folder.name)
    files = sorted(path.name for path in folder.glob("*.gguf"))
    if len(files) == 1:
        return Location(at=str(folder), gguf=files[0], name=Path(files[0]).stem)
    if files:
        raise ExportError(f"{folder} holds {len(files)} GGUF files; name one of them: {', '.join(files)}")
    raise ExportError(f"{folder} holds no model: neither safetensors nor a GGUF file")


def _commit(hub_id: str) -> str:
    try:
        import huggingface_hub  # noqa: PLC0415 - the export extra's
    except ImportError:
        raise MissingExtraError("export", needed_for="plano-asgi export") from None
    try:
        return str(huggingface_hub.HfApi().model_info(hub_id, timeout=30).sha)
    except Exception as error:  # many kinds, of the hub's client and of the network below it
        raise ExportError(
            f"the hub gave no revision of {hub_id} ({type(error).__name__});"
            " check its name, the network and your access, or download it and give the folder"
        ) from error
