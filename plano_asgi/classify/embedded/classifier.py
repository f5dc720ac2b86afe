"""`EmbeddedClassifier`: the classifier that needs no download and no accelerator."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.classify.cores import usable_cores
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER, Manifest
from plano_asgi.classify.embedded.comparer import Comparer
from plano_asgi.classify.embedded.encoder import Array, Encoder
from plano_asgi.classify.embedded.texts import conversation_texts, route_text
from plano_asgi.classify.embedded.tokens import Tokenizer, conversation_tokens, open_tokenizer, read_parts, route_tokens
from plano_asgi.classify.readings import Reading
from plano_asgi.conversation import Conversation
from plano_asgi.decisions import Scores
from plano_asgi.errors import ClassifierTimeoutError, PlanoError
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.stores import MemoryStore

ROUTES_KEPT: Final = 4_096  # 2 KiB each, and their text


@dataclass(frozen=True, slots=True)
class _Model:
    tokenizer: Tokenizer
    encoder: Encoder
    comparer: Comparer


class EmbeddedClassifier:
    """A small encoder and a comparer, trained for this job; milliseconds on one CPU thread. Thread-safe.

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
        self._prepared: Mapping[str, Array] = {}  # not in the store, where callers' own routes could push them out
        self._routes: MemoryStore[str, Array] = MemoryStore(size=ROUTES_KEPT)
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
        self._prepared = {text: self._route_vector(text, model) for text in texts}

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
            routes.append(self._route_vector(text, model))
        tokens = conversation_tokens(model.tokenizer, texts)
        states = model.encoder.states(tokens)
        *chances, other = map(float, model.comparer.probabilities(states, tokens, routes))
        names = (preference.name for preference in policy.preferences)
        return Scores(routes=dict(zip(names, chances, strict=True)), other=other)

    def readings(self, conversation: Conversation, policy: RoutingPolicy) -> tuple[Reading, ...]:
        """Return what is read of a conversation; the routes, which are read once, are not counted.

        Raises:
            ArtifactError: The model cannot be loaded.
        """
        texts = conversation_texts(conversation)
        if texts is None or not policy.preferences:
            return ()
        parts = read_parts(self._loaded().tokenizer, texts)
        tokens, limit = sum(part.tokens for part in parts), sum(part.limit or 0 for part in parts)
        return (Reading(classifier=self.kind, tokens=tokens, limit=limit, parts=parts),)

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
            return _Model(
                open_tokenizer(folder / "tokenizer.json"),
                Encoder(folder / "encoder.onnx", threads=self._encoder_threads),
                Comparer(folder / "comparer.onnx", temperature=self._manifest.temperature),
            )
        except PlanoError as error:
            self._failure = error
            raise

    def _route_vector(self, text: str, model: _Model) -> Array:
        vector = self._prepared.get(text)
        if vector is None:
            vector = self._routes.get(text)
        if vector is None:
            vector = model.encoder.vector(route_tokens(model.tokenizer, text))
            self._routes.put(text, vector)
        return vector
