"""The bundle: an exported model with everything that is needed to decide with it, described by `router.json`."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import orjson

from plano_asgi.classify.arch_router.completions import Quoting
from plano_asgi.classify.digests import sha256_of
from plano_asgi.classify.prompts import DEFAULT_LIMIT, PromptForm
from plano_asgi.errors import ArtifactIntegrityError, ArtifactNotFoundError

MANIFEST_NAME: Final = "router.json"
GRAPH_NAME: Final = "model.onnx"
TOKENIZER_NAME: Final = "tokenizer.json"
FORMAT: Final = 1
DTYPES: Final = ("float32", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValueShape:
    """What keys and values of the graph look like.

    Attributes:
        tensors: Keys and values of all layers: twice the layers.
        heads: Key and value heads.
        head_size: Width of one head.
        dtype: `float32` or `float16`.
    """

    tensors: int
    heads: int
    head_size: int
    dtype: str

    @classmethod
    def from_json(cls, *, tensors: int, heads: int, head_size: int, dtype: str) -> Self:
        """Return what a manifest says; raises ValueError or TypeError where it cannot be."""
        if dtype not in DTYPES:
            raise ValueError("dtype")
        return cls(tensors=int(tensors), heads=int(heads), head_size=int(head_size), dtype=dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What `router.json` says.

    Attributes:
        folder: Where the files are.
        revision: Changes with any of the files.
        source: The model it was exported from, and which revision of it; for people.
        precision: `fp32`, `fp16`, `int8` or `int4`.
        key_values: What its keys and values look like.
        vocabulary: How many tokens there are.
        context: Most tokens that prompt and completion may have together.
        chat_before: What the chat template writes before the user message.
        chat_after: What it writes after it, up to where the model answers.
        quoting: How the model was trained to quote its answer.
        end_tokens: Tokens with which an answer ends; the first is the one it was trained on.
        temperature: What logits are divided by before they become probabilities.
        threshold: Least confidence in [0, 1] that selects a route.
        prompt_form: The prompt form it was checked with; for people, as the settings say which one is served.
        parity: How it compares with its source; for people.
        sha256: Hex digest of each file.
    """

    folder: Path = field(repr=False)
    revision: str
    source: Mapping[str, Any]
    precision: str
    key_values: KeyValueShape
    vocabulary: int
    context: int
    chat_before: str
    chat_after: str
    quoting: Quoting = Quoting.DOUBLE
    end_tokens: tuple[int, ...]
    temperature: float = 1.0
    threshold: float = 0.5
    prompt_form: PromptForm = PromptForm.GATEWAY
    parity: Mapping[str, Any] = field(default_factory=dict)
    sha256: Mapping[str, str]

    @property
    def prompt_tokens(self) -> int:
        """Most tokens of a user message: half of what the model reads at the most, which leaves room for answers."""
        return min(DEFAULT_LIMIT, self.context // 2)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the bundle in a folder; its files are there, and are not opened yet.

        Raises:
            ArtifactNotFoundError: The manifest or a file it names is missing.
            ArtifactIntegrityError: The manifest is not one, or names a file outside its folder.
        """
        path = folder / MANIFEST_NAME
        if not path.is_file():
            raise ArtifactNotFoundError(path)
        try:
            bundle = cls._from_json(folder, orjson.loads(path.read_bytes()))
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            problem = "it does not describe an exported model; make one with plano-asgi export"
            raise ArtifactIntegrityError(path, problem=problem) from None
        for name in {GRAPH_NAME, TOKENIZER_NAME, *bundle.sha256}:
            if Path(name).name != name:
                raise ArtifactIntegrityError(path, problem="it names a file outside its folder")
            if name not in bundle.sha256:
                raise ArtifactIntegrityError(path, problem=f"it has no SHA-256 of {name}")
            if not (folder / name).is_file():
                raise ArtifactNotFoundError(folder / name)
        return bundle

    @classmethod
    def _from_json(cls, folder: Path, said: dict[str, Any]) -> Self:
        if said["format"] != FORMAT:
            raise ValueError("format")
        bundle = cls(
            folder=folder,
            revision=str(said["revision"]),
            source=dict(said["source"]),
            precision=str(said["precision"]),
            key_values=KeyValueShape.from_json(**said["key_values"]),
            vocabulary=int(said["vocabulary"]),
            context=int(said["context"]),
            chat_before=str(said["chat_before"]),
            chat_after=str(said["chat_after"]),
            quoting=Quoting(said["quoting"]),
            end_tokens=tuple(int(token) for token in said["end_tokens"]),
            temperature=float(said["temperature"]),
            threshold=float(said["threshold"]),
            prompt_form=PromptForm(said["prompt_form"]),
            parity=dict(said["parity"]),
            sha256={str(name): str(digest) for name, digest in said["sha256"].items()},
        )
        if not (min(bundle.end_tokens) >= 0 and 0 < bundle.temperature < math.inf and 0 <= bundle.threshold <= 1):
            raise ValueError("out of range")
        return bundle

    def write(self) -> None:
        """Write `router.json` into the folder; the last thing that an export does."""
        said = {"format": FORMAT, **asdict(self)}
        del said["folder"]
        data = orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        (self.folder / MANIFEST_NAME).write_bytes(data)

    def verify(self) -> None:
        """Guarantee that every file is the one that was exported; reads them all.

        Raises:
            ArtifactNotFoundError: A file is no longer there.
            ArtifactIntegrityError: A file has another SHA-256, or cannot be read.
        """
        for name, expected in self.sha256.items():
            path = self.folder / name
            try:
                found = sha256_of(path)
            except FileNotFoundError:
                raise ArtifactNotFoundError(path) from None
            except OSError as error:
                raise ArtifactIntegrityError(path, problem="it cannot be read") from error
            if found != expected:
                raise ArtifactIntegrityError(path, problem=f"its SHA-256 is not the one in {MANIFEST_NAME}")
