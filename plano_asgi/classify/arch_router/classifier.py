"""`ArchRouterClassifier`: the trained 1.5B model inside the process, one forward pass for a decision."""

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Final, TypeVar

from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.classify.answers import read_answer
from plano_asgi.classify.arch_router.bundle import Bundle
from plano_asgi.classify.arch_router.engine import Engine, Question, Scored
from plano_asgi.classify.arch_router.forks import watch_forks
from plano_asgi.classify.arch_router.prefixes import DEFAULT_BYTES
from plano_asgi.classify.arch_router.reading import Reader
from plano_asgi.classify.arch_router.session import NOBODY_WAITS, CausalSession, device_here
from plano_asgi.classify.batching import Batcher
from plano_asgi.classify.cores import usable_cores
from plano_asgi.classify.prompts import PromptForm
from plano_asgi.classify.readings import Reading
from plano_asgi.conversation import Conversation, has_user_text
from plano_asgi.decisions import Scores
from plano_asgi.errors import ClassificationError, ClassifierTimeoutError, PlanoError
from plano_asgi.preferences import RoutingPolicy

_Work = TypeVar("_Work")
_Answer = TypeVar("_Answer")

WAIT_S: Final = 0.05  # how often it is asked whether anybody still waits
MOST_GENERATED: Final = 96  # tokens; `{"route": ""}` around a name of 64 characters
ASKED_TOGETHER_CPU: Final = 4
ASKED_TOGETHER_CUDA: Final = 64


class Decode(StrEnum):
    """How the model's answer is had."""

    SCORE = "score"
    GENERATE = "generate"


class Scoring(StrEnum):
    """What a candidate's score is: the product at the tree's branches, or its whole completion's probability."""

    BRANCH = "branch"
    JOINT = "joint"


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """Everything that is loaded."""

    reader: Reader
    engine: Engine
    batcher: Batcher[Question, Scored]


class ArchRouterClassifier:
    """Scores the routes with an exported Arch-Router, or any model that was trained on its prompt. Thread-safe.

    Calls that come while the model is busy are answered together. The model is loaded once, by whoever comes first of
    `prepare` and `classify`; a damaged one is not tried again. A forked process loads its own.

    Attributes:
        kind: `arch_router`.
        revision: The bundle's, with what else the answer depends on.
        threshold: The bundle's; 0.5 where it was not calibrated: likelier than all other candidates together.
        deadline_ms: 300 on CUDA, 10,000 on the CPU.
        parallelism: Calls that may be in one batch: 64 on CUDA, 4 on the CPU.
        device: `cuda` or `cpu`: where it runs.
    """

    kind: Final = "arch_router"

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        folder: Path,
        *,
        device: str = "auto",
        threads: int | None = None,
        form: PromptForm = PromptForm.GATEWAY,
        decode: Decode = Decode.SCORE,
        scoring: Scoring = Scoring.BRANCH,
        prefix_bytes: int = DEFAULT_BYTES,
        shares_weights: bool = False,
    ) -> None:
        """Read the manifest; the model itself is loaded later.

        Args:
            folder: The bundle, as `plano-asgi export` writes it.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            threads: CPU threads inside one run; without it as many as the container has cores.
            form: The prompt's order and wording.
            decode: Whether candidates are scored, or an answer is generated and parsed.
            scoring: What a candidate's score is.
            prefix_bytes: Bytes of keys and values of prefixes that are kept.
            shares_weights: Whether processes share the weights' memory, at some cost of time.

        Raises:
            ArtifactError: A file is missing, or the manifest cannot be read.
            MissingExtraError: onnxruntime is not installed, or not for the device that is asked for.
            ConfigurationError: The model is not made for the device.
        """
        self._bundle = Bundle.read(folder)
        self._device = device
        self._threads = threads or usable_cores()
        self._form = form
        self._decode = decode
        self._scoring = scoring
        self._prefix_bytes = prefix_bytes
        self._shares_weights = shares_weights
        self._model: _Model | None = None
        self._failure: PlanoError | None = None
        self._loading = Lock()
        watch_forks(self)
        is_cuda = device_here(device, precision=self._bundle.precision).is_cuda
        self.revision = f"{self._bundle.revision}-{self._form}-{decode}-{scoring}"
        self.threshold = self._bundle.threshold
        self.device: Final = "cuda" if is_cuda else "cpu"
        self.deadline_ms = 300.0 if is_cuda else 10_000.0
        self.parallelism = ASKED_TOGETHER_CUDA if is_cuda else ASKED_TOGETHER_CPU

    def prepare(self, policy: RoutingPolicy) -> None:
        """Load the model, verified by SHA-256, and run what the policy's prompts begin with.

        Raises:
            ArtifactError: A file is not the one that was exported.
            ConfigurationError: onnxruntime cannot open the device.
            ClassificationError: The model fails, or the routes take more tokens than it reads.
        """
        model = self._loaded()
        prefixes = [model.reader.root()]
        if policy.preferences:
            prefixes.append(model.reader.policy(policy).static)
        _awaited(_submitted(model.batcher.call, partial(model.engine.prefixes.pin, *prefixes)), always_awaited)

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return the probability of each route and of none of them; all on none where the user said nothing.

        Raises:
            ClassificationError: The model fails, the prompt is too long, or (ClassifierTimeoutError) nobody waits.
            ArtifactError: The model cannot be loaded.
        """
        if not policy.preferences or not has_user_text(conversation):
            return Scores(routes={preference.name: 0.0 for preference in policy.preferences}, other=1.0)
        model = self._loaded()
        read = model.reader.policy(policy)
        question = Question(model.reader.prompt(conversation, policy), read.static, read.tree, is_awaited)
        if self._decode is Decode.GENERATE:
            return self._generated(question, policy, model, is_awaited)
        future = _submitted(model.batcher.submit, question)
        *chances, other = (float(chance) for chance in _awaited(future, is_awaited))
        names = (preference.name for preference in policy.preferences)
        return Scores(routes=dict(zip(names, chances, strict=True)), other=other)

    def readings(self, conversation: Conversation, policy: RoutingPolicy) -> tuple[Reading, ...]:
        """Return what the prompt of a conversation is made of.

        Raises:
            ArtifactError: The model cannot be loaded.
        """
        if not policy.preferences or not has_user_text(conversation):
            return ()
        parts = self._loaded().reader.parts(conversation, policy)
        tokens = sum(part.tokens for part in parts)
        return (Reading(classifier=self.kind, tokens=tokens, limit=self._bundle.prompt_tokens, parts=parts),)

    def close(self) -> None:
        """Let go of the model; the next classification loads it again."""
        with self._loading:
            if self._model is not None:
                self._model.batcher.close()
            self._model = None

    def leave_behind(self) -> object:
        """Forget the model, which works in another process, and return it."""
        self._loading = Lock()  # its holder may not have come along
        model, self._model = self._model, None
        return model

    def _generated(self, question: Question, policy: RoutingPolicy, model: _Model, is_awaited: IsAwaited) -> Scores:
        """Return all on the route that the model writes of its own accord."""
        ends = self._bundle.end_tokens
        generate = partial(model.engine.generate, question, ends=ends, most=MOST_GENERATED)
        text = model.reader.tokenizer.decode(_awaited(_submitted(model.batcher.call, generate), is_awaited))
        names = [preference.name for preference in policy.preferences]
        route = read_answer(text, names).route
        return Scores(routes={name: float(name == route) for name in names}, other=float(route is None))

    def _loaded(self) -> _Model:
        model = self._model
        if model is None:
            with self._loading:
                if self._failure is not None:
                    raise self._failure.with_traceback(None)  # or each call would lengthen it
                if self._model is None:
                    self._model = self._load()
                model = self._model
        return model

    def _load(self) -> _Model:
        try:
            self._bundle.verify()
            reader = Reader(self._bundle, form=self._form, joint=self._scoring is Scoring.JOINT)
            session = CausalSession(
                self._bundle, device=self._device, threads=self._threads, shares_weights=self._shares_weights
            )
        except PlanoError as error:
            self._failure = error
            raise
        engine = Engine(
            session,
            context=self._bundle.context,
            temperature=self._bundle.temperature,
            prefix_bytes=self._prefix_bytes,
        )
        batcher = Batcher(engine.score, most=self.parallelism, name="plano-arch-router")
        return _Model(reader, engine, batcher)


def _submitted(submit: Callable[[_Work], Future[_Answer]], work: _Work) -> Future[_Answer]:
    try:
        return submit(work)
    except RuntimeError as error:  # of an executor that is shut down
        raise ClassificationError("the model is being unloaded") from error


def _awaited(future: Future[_Answer], is_awaited: IsAwaited) -> _Answer:
    """Return the answer; a pass that has begun is not stopped, but nobody is kept waiting for it."""
    done = Event()
    future.add_done_callback(lambda _: done.set())  # called for a cancelled one, too
    while not done.wait(WAIT_S):
        if not is_awaited():
            future.cancel()
            raise ClassifierTimeoutError(NOBODY_WAITS)
    try:
        return future.result()
    except CancelledError:
        raise ClassificationError("the model is being unloaded") from None
