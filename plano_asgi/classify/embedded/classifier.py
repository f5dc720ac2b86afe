"""`EmbeddedClassifier`: the classifier that needs no download and no accelerator."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.classify.cores import usable_cores
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER, Manifest
from plano_asgi.classify.embedded.encoder import SentenceEncoder
from plano_asgi.classify.embedded.head import Head, HeadWeights, RouteSide
from plano_asgi.classify.embedded.texts import conversation_texts, route_text
from plano_asgi.conversation import Conversation
from plano_asgi.decisions import Scores
from plano_asgi.errors import ClassifierTimeoutError, PlanoError
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.stores import MemoryStore

ROUTES_KEPT: Final = 4_096  # 2 KiB each, and their text


@dataclass(frozen=True, slots=True)
class _Model:
    encoder: SentenceEncoder
    head: Head


class EmbeddedClassifier:
    """Sentence vectors and a learned head; milliseconds on one CPU thread. Thread-safe.

    The model is loaded once, by whoever comes first of `prepare` and `classify`; a damaged one is not tried again.
    What depends on a route alone is kept for the policy that was prepared last and for the 4,096 routes used last.

    Attributes:
        kind: `embedded`.
        revision: The manifest's.
        threshold: The manifest's.
        deadline_ms: 250.
        parallelism: The usable cores.
    """

    kind: Final = "embedded"
    deadline_ms: Final = 250.0

    def __init__(self, folder: Path = SHIPPED_FOLDER, *, encoder_threads: int = 1) -> None:
        """Read the manifest; the model itself is loaded later.

        Args:
            folder: Where the model's files are.
            encoder_threads: Threads inside one encoder run; calls on several threads run side by side anyway.

        Raises:
            ArtifactError: A file is missing, or the manifest cannot be read.
        """
        self._manifest = Manifest.read(folder)
        self._encoder_threads = encoder_threads
        self._model: _Model | None = None
        self._loading = Lock()
        self._failure: PlanoError | None = None
        self._prepared: Mapping[str, RouteSide] = {}  # not in the store, where callers' own routes could push them out
        self._routes: MemoryStore[str, RouteSide] = MemoryStore(size=ROUTES_KEPT)
        self.revision = self._manifest.revision
        self.threshold = self._manifest.threshold
        self.parallelism = usable_cores()

    def prepare(self, policy: RoutingPolicy) -> None:
        """Load the model, verified by SHA-256, and read the routes.

        Raises:
            ArtifactIntegrityError: A file is not the published one.
            MissingExtraError: onnxruntime is not installed.
        """
        model = self._loaded()
        texts = map(route_text, policy.preferences)
        self._prepared = {text: self._route_side(text, model) for text in texts}

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return the probability of each route and of none of them; all on none where the user said nothing.

        Routes that are new are encoded first; when nobody waits any more, those encoded so far are kept for next time.

        Raises:
            ClassificationError: The encoder's answer is not to be trusted, or (ClassifierTimeoutError) nobody waits.
            ArtifactError: The model cannot be loaded.
        """
        texts = conversation_texts(conversation)
        if texts is None or not policy.preferences:
            return Scores(routes={preference.name: 0.0 for preference in policy.preferences}, other=1.0)
        model = self._loaded()
        routes = []
        for text in map(route_text, policy.preferences):
            if not is_awaited():
                raise ClassifierTimeoutError("reading the routes took longer than anybody waits")
            routes.append(self._route_side(text, model))
        latest = model.encoder.encode(texts.latest)
        in_context = latest if texts.in_context == texts.latest else model.encoder.encode(texts.in_context)
        *chances, other = (float(chance) for chance in model.head.probabilities(latest, in_context, routes))
        names = (preference.name for preference in policy.preferences)
        return Scores(routes=dict(zip(names, chances, strict=True)), other=other)

    def close(self) -> None:
        """Keep the model: it is this process's own."""

    def _loaded(self) -> _Model:
        if self._model is None:
            with self._loading:
                if self._failure is not None:
                    raise self._failure.with_traceback(None)  # or each call would lengthen it
                if self._model is None:
                    self._model = self._load()
        return self._model

    def _load(self) -> _Model:
        folder = self._manifest.folder
        try:
            self._manifest.verify()
            encoder = SentenceEncoder(folder / "encoder.onnx", folder / "tokenizer.json", threads=self._encoder_threads)
            return _Model(encoder, Head(HeadWeights.load(folder / "head.npz")))
        except PlanoError as error:
            self._failure = error
            raise

    def _route_side(self, text: str, model: _Model) -> RouteSide:
        side = self._prepared.get(text) or self._routes.get(text)
        if side is None:
            side = model.head.route_side(model.encoder.encode(text))
            self._routes.put(text, side)
        return side
