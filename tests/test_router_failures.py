"""A router whose classifier fails or talks nonsense still decides, or refuses where it was told to."""

import asyncio
import math
from collections.abc import Callable
from concurrent import futures

import anyio
import pytest

from plano_asgi.classify import Classifier, IsAwaited, always_awaited
from plano_asgi.conversation import Conversation, LLMCall
from plano_asgi.decisions import Reason, Scores, Source
from plano_asgi.errors import ClassificationError, RoutingUnavailableError
from plano_asgi.policy import Rules
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.providers import ModelCatalog
from plano_asgi.router import OnError, Router
from plano_asgi.stores import MemoryStore
from plano_asgi.testing import FixedClassifier

DEFAULT = "openai/gpt-4o-mini"
POLICY = RoutingPolicy(
    preferences=(
        RoutingPreference(name="code", description="writing code", models=("openai/gpt-4o",)),
        RoutingPreference(name="chat", description="small talk", models=(DEFAULT,)),
    )
)
CALL = LLMCall.from_text("write a parser")


class OddClassifier:
    """Gives whatever scores it is told to."""

    kind = "odd"
    revision = "odd"
    threshold = 0.5
    deadline_ms = 1_000.0
    parallelism = 1

    def __init__(self, scores: Scores) -> None:
        """Keep the scores."""
        self.scores = scores

    def prepare(self, policy: RoutingPolicy) -> None:
        """Do nothing."""

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return the scores."""
        del conversation, policy
        return self.scores

    def close(self) -> None:
        """Do nothing."""


def new_router(
    classifier: Classifier, *, cache: MemoryStore[bytes, Scores] | None = None, on_error: OnError = OnError.DEFAULT
) -> Router:
    """Return a router over the classifier."""
    return Router(
        classifier=classifier,
        policy=POLICY,
        catalog=ModelCatalog(providers=()),
        rules=Rules(threshold=0.5, default_model=DEFAULT),
        cache=MemoryStore(size=100) if cache is None else cache,
        on_error=on_error,
        deadline_ms=5_000,
    )


def raising(error: BaseException) -> Callable[[], object]:
    """Return a function that raises the error."""

    def fail() -> object:
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        ClassificationError("no answer"),
        ValueError("bad"),
        MemoryError(),
        TimeoutError(),
        futures.CancelledError(),
        asyncio.CancelledError(),
        SystemExit(1),
        KeyboardInterrupt(),
        BaseException("panic"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_exception_of_a_classifier_escapes(error: BaseException) -> None:
    """Whatever a classifier raises, the call succeeds with the default model, and the next one is tried afresh."""
    errors = [error]
    classifier = FixedClassifier({"code": 0.9}, before=lambda: raising(errors.pop())() if errors else None)
    router = new_router(classifier)

    decision = router.route(CALL)

    assert (decision.reason, decision.source, decision.would_use) == (Reason.ERROR, Source.NONE, DEFAULT)
    assert router.route(CALL).reason is Reason.MATCHED


NONSENSE = [
    Scores(routes={"code": math.nan, "chat": 0.1}, other=0.9),
    Scores(routes={"code": 0.9, "chat": 0.1}, other=math.nan),
    Scores(routes={"code": math.inf, "chat": 0.1}, other=0.0),
    Scores(routes={"code": -0.1, "chat": 0.1}, other=1.0),
    Scores(routes={"code": 1.1, "chat": 0.0}, other=0.0),
    Scores(routes={"code": 0.9}, other=0.1),
    Scores(routes={"code": 0.9, "chat": 0.1, "else": 0.0}, other=0.0),
]
NONSENSE_IDS = ["nan", "nan-other", "infinite", "negative", "above-1", "missing-route", "unknown-route"]


@pytest.mark.parametrize("scores", NONSENSE, ids=NONSENSE_IDS)
def test_scores_that_are_no_probabilities_are_a_failure(scores: Scores) -> None:
    """Nonsense from a classifier is neither a match nor an honest no: it is a failure, and is not remembered."""
    cache: MemoryStore[bytes, Scores] = MemoryStore(size=10)

    decision = new_router(OddClassifier(scores), cache=cache).route(CALL)

    assert (decision.reason, decision.would_use, decision.scores) == (Reason.ERROR, DEFAULT, None)
    assert len(cache) == 0


def test_a_router_whose_classifier_talks_nonsense_does_not_start() -> None:
    """A router is ready only once its classifier has given a trustworthy answer."""
    router = new_router(OddClassifier(NONSENSE[0]))

    with pytest.raises(ClassificationError):
        router.start()

    assert not router.is_ready


def test_reject_refuses_what_cannot_be_classified() -> None:
    """Under `reject` a failing classifier makes a retryable 503 of the call, whether awaited or not."""
    router = new_router(FixedClassifier({}, before=raising(ValueError("bad"))), on_error=OnError.REJECT)

    with pytest.raises(RoutingUnavailableError) as caught:
        router.route(CALL)
    with pytest.raises(RoutingUnavailableError):
        anyio.run(router.aroute, CALL)

    assert (caught.value.status, caught.value.is_retryable) == (503, True)
