"""`export`: a model becomes a bundle, in stages that are kept, so that an interrupted export goes on where it stopped.

```text
OUT/.partial/   tokenizer   tokenizer.json, and what the chat template writes around a prompt
                probe       which quotes the model writes (where it is asked for)
                source      what the source says of the fifty prompts, in transformers
                graph       model.onnx, model.onnx.data
                parity      how the export compares, on ONNX Runtime; an export that misses its floor ends here
OUT/            the files are moved here, and router.json is written last: without it a folder is no bundle
```
"""

import gc
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import orjson

from plano_asgi.classify.arch_router.bundle import GRAPH_NAME, MANIFEST_NAME, TOKENIZER_NAME, Bundle, KeyValueShape
from plano_asgi.classify.arch_router.completions import Quoting
from plano_asgi.classify.arch_router.reading import Reader
from plano_asgi.classify.arch_router.session import CausalSession
from plano_asgi.classify.cores import usable_cores
from plano_asgi.classify.prompts import PromptForm
from plano_asgi.errors import ExportError
from plano_asgi.lab.export.architecture import Architecture
from plano_asgi.lab.export.chat import Chat
from plano_asgi.lab.export.location import Location
from plano_asgi.lab.export.parity import Answers, AskSource, Parity, answers_of_export, answers_of_source
from plano_asgi.lab.export.parity_prompts import PROMPTS_OF_A_POLICY, PolicyPrompts, parity_prompts
from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.probing import probe
from plano_asgi.lab.export.smoothing import STRENGTHS, SmoothedWeights, activation_maxima
from plano_asgi.lab.export.source import load_config, load_model, load_tokenizer
from plano_asgi.lab.export.stages import Stages
from plano_asgi.lab.export.weights import StateDictWeights, Weights

PARTIAL: Final = ".partial"
DATA_NAME: Final = f"{GRAPH_NAME}.data"
ANSWERS_NAME: Final = "source.npz"
KEPT_STAGES: Final = ("tokenizer", "graph")
RECIPE: Final = 3  # counts up when the same order gives other files
ROOM_TO_SPARE: Final = 1.05
GIB: Final = 2**30
REVISION_CHARS: Final = 16

Progress = Callable[[str, float], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be exported, and how.

    Attributes:
        source: A folder, a GGUF file or a hub id.
        out: The bundle's folder.
        precision: How weights are stored and multiplied.
        device: Where the parity check runs: `cpu`, `cuda` or `cuda:N`.
        wants_probe: Whether the model is asked which quotes it writes.
        may_replace: Whether a bundle in `out` is replaced.
        accepts_licence: Whether the user accepts the model's licence, where it asks for that.
        prompts_of_a_policy: On how many prompts of each of the five policies the export is compared; 10 are all.
    """

    source: str
    out: Path
    precision: Precision
    device: str = "cpu"
    wants_probe: bool = False
    may_replace: bool = False
    accepts_licence: bool = False
    prompts_of_a_policy: int = PROMPTS_OF_A_POLICY


def export(
    order: Order,
    *,
    progress: Progress = lambda _stage, _share: None,
    weights_of: Callable[[Any], Weights] = lambda model: StateDictWeights(model.state_dict()),
    ask_source: AskSource = answers_of_source,
) -> Bundle:
    """Return the finished bundle; where it fails or is stopped, no bundle is there, and the next run goes on from it.

    Args:
        order: What is wanted.
        progress: Told the stage and the share in [0, 1] of it that is done.
        weights_of: Takes the weights out of the loaded model.
        ask_source: Asks the loaded model what the export is compared with.

    Raises:
        ExportError: The model cannot be exported, or the export misses what its precision promises.
        MissingExtraError: The check is to run on CUDA, and onnxruntime does not have it.
    """
    location = Location.of(order.source)
    if location.licence() and not order.accepts_licence:
        raise ExportError(f"{location.name} is under a licence that has to be accepted first (--accept-license)")
    _check_target(order, location)
    work = _Work(order, location, progress, weights_of, ask_source)
    work.tokenize()
    work.probe()
    work.ask_source()
    work.write_graph()
    work.let_go()
    bundle = replace(work.draft, parity=work.compare(), sha256=work.sha256())
    return _finished(bundle, order, work.stages)


class _Work:
    """One export under way; the model is loaded when a stage needs it, and not before."""

    def __init__(
        self,
        order: Order,
        location: Location,
        progress: Progress,
        weights_of: Callable[[Any], Weights],
        ask_source: AskSource,
    ) -> None:
        self._order = order
        self._location = location
        self._progress = progress
        self._weights_of = weights_of
        self._ask_source = ask_source
        progress("reading", 0.0)
        self._revision = location.revision()
        self._config = load_config(location, revision=self._revision)
        self._shape = Architecture.from_config(self._config)
        _check_room(order, self._shape)
        said = {"recipe": RECIPE, "name": location.name, "revision": self._revision, "precision": order.precision}
        asked = {"probe": order.wants_probe, "prompts": order.prompts_of_a_policy, "device": order.device}
        self.stages = Stages(order.out / PARTIAL, said | asked)

    @cached_property
    def _model(self) -> Any:  # noqa: ANN401 - torch's
        self._progress("loading", 0.0)
        return load_model(self._location, revision=self._revision)

    @cached_property
    def _tokenizer(self) -> Any:  # noqa: ANN401 - transformers'
        return load_tokenizer(self._location, revision=self._revision)

    @property
    def draft(self) -> Bundle:
        """The bundle as far as it is known; its files are those of the stages."""
        shape, chat, probed = self._shape, self.stages.found("tokenizer") or {}, self.stages.found("probe") or {}
        return Bundle(
            folder=self.stages.folder,
            revision="",
            source={"name": self._location.name, "revision": self._revision},
            precision=self._order.precision,
            key_values=KeyValueShape(
                tensors=shape.kv_tensors,
                heads=shape.kv_heads,
                head_size=shape.head_size,
                dtype=self._order.precision.activations.__name__,
            ),
            vocabulary=shape.vocabulary,
            context=shape.context,
            chat_before=chat["before"],
            chat_after=chat["after"],
            quoting=Quoting(probed.get("quoting", Quoting.DOUBLE)),
            end_tokens=tuple(chat["end_tokens"]),
            sha256={},
        )

    def sha256(self) -> dict[str, str]:
        """Return the digests of the bundle's files."""
        return {name: digest for stage in KEPT_STAGES for name, digest in self.stages.sha256(stage).items()}

    def tokenize(self) -> None:
        if self.stages.found("tokenizer") is None:
            self._progress("tokenizer", 0.0)
            chat = Chat.of(self._tokenizer, eos=self._config["eos"])
            backend = self._tokenizer.backend_tokenizer
            backend.no_padding()
            backend.no_truncation()
            backend.save(str(self.stages.folder / TOKENIZER_NAME))
            self.stages.finish("tokenizer", [TOKENIZER_NAME], **asdict(chat))

    def probe(self) -> None:
        if self._order.wants_probe and self.stages.found("probe") is None:
            self._load()
            self._progress("probe", 0.0)
            found = probe(self._model, self._tokenizer, self._prompts(), self.draft.end_tokens)
            self.stages.finish("probe", quoting=found.quoting, **asdict(found))

    def ask_source(self) -> None:
        if self.stages.found("source") is None:
            self._load()
            answers = self._ask_source(self._model, self._prompts(), self._share_of("source"))
            answers.save(self.stages.folder / ANSWERS_NAME)
            self.stages.finish("source", [ANSWERS_NAME])

    def write_graph(self) -> None:
        if self.stages.found("graph") is None:
            self._load()
            from plano_asgi.lab.export.graph import write_graph  # noqa: PLC0415 - the export extra's

            shape = replace(self._shape, is_tied=self._model.config.tie_word_embeddings)
            weights = self._smoothed(self._weights_of(self._model))
            write_graph(shape, weights, self.stages.folder, self._order.precision, progress=self._share_of("graph"))
            self.stages.finish("graph", [GRAPH_NAME, DATA_NAME])

    def _smoothed(self, weights: Weights) -> Weights:
        """Return the weights as they are best quantised."""
        strength = STRENGTHS.get(self._order.precision)
        if strength is None:
            return weights
        texts = [group.static + group.rests[0] for group in self._prompts()]
        maxima = activation_maxima(self._model, texts, self._share_of("activations"))
        return SmoothedWeights(weights, maxima, strength=strength)

    def let_go(self) -> None:
        """Free the memory of the loaded model, which the check does not need."""
        self.__dict__.pop("_model", None)
        gc.collect()

    def compare(self) -> dict[str, Any]:
        """Return how the export compares with its source.

        Raises:
            ExportError: It misses what its precision promises.
        """
        found = self.stages.found("parity")
        if found is None:
            self._progress("parity", 0.0)
            source = Answers.load(self.stages.folder / ANSWERS_NAME)
            session = CausalSession(self.draft, device=self._order.device, threads=usable_cores())
            answers = answers_of_export(session, self._prompts(), self._share_of("parity"), context=self._shape.context)
            parity = Parity.between(source, answers, self._order.precision)
            parity.check(self._order.precision)
            found = self.stages.finish("parity", device=self._order.device, **parity.as_json())
        probed = self.stages.found("probe")
        return {**found, "probe": probed} if probed else found

    def _load(self) -> None:
        """Load the model now, so that the next stage's progress is its own."""
        assert self._model is not None  # noqa: S101 - asked for its effect

    def _prompts(self) -> list[PolicyPrompts]:
        draft = self.draft
        reader = Reader(draft, form=PromptForm(draft.prompt_form), joint=False)
        return parity_prompts(reader, most=self._order.prompts_of_a_policy)

    def _share_of(self, stage: str) -> Callable[[float], object]:
        self._progress(stage, 0.0)
        return lambda share: self._progress(stage, share)


def _check_target(order: Order, location: Location) -> None:
    """Refuse a folder whose files are somebody else's, or a bundle that is not to be replaced."""
    out = order.out
    if out.exists() and not out.is_dir():
        raise ExportError(f"{out} is a file; give a folder for the bundle")
    if location.is_local and out.resolve() == Path(location.at).resolve():
        raise ExportError(f"{out} is where the model itself is; give another folder for the bundle")
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    ours = {PARTIAL, MANIFEST_NAME, GRAPH_NAME, DATA_NAME, TOKENIZER_NAME}
    if strange := names - (ours if names & {PARTIAL, MANIFEST_NAME} else set()):
        raise ExportError(f"{out} holds other files ({min(strange)}); give an empty or a new folder")
    if MANIFEST_NAME in names and not order.may_replace:
        raise ExportError(f"{out} holds a bundle already; give another folder, or add --force to replace it")


def _check_room(order: Order, shape: Architecture) -> None:
    """Refuse to begin what the disk cannot hold."""
    embedding = shape.vocabulary * shape.hidden * (1 if shape.is_tied else 2)
    weights = shape.parameters * order.precision.bytes_of_a_weight
    needed = (weights + embedding * order.precision.bytes_of_an_embedding) * ROOM_TO_SPARE
    order.out.mkdir(parents=True, exist_ok=True)
    written = sum(path.stat().st_size for path in (order.out / PARTIAL).glob("*"))
    free = shutil.disk_usage(order.out).free + written
    if free < needed:
        raise ExportError(
            f"{order.out} has {free / GIB:.1f} GiB free, and the export takes {needed / GIB:.1f} GiB; make room"
        )


def _finished(bundle: Bundle, order: Order, stages: Stages) -> Bundle:
    """Move the files in place and return the bundle; `router.json` is the last thing that is written."""
    said = orjson.dumps(
        {"sha256": bundle.sha256, "quoting": bundle.quoting, "ends": bundle.end_tokens}, option=orjson.OPT_SORT_KEYS
    )
    revision = hashlib.sha256(said).hexdigest()[:REVISION_CHARS]
    (order.out / MANIFEST_NAME).unlink(missing_ok=True)
    stages.move_to(order.out, KEPT_STAGES)
    finished = replace(bundle, folder=order.out, revision=revision)
    finished.write()
    return finished
