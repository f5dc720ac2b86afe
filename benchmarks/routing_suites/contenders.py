"""Who sits the exam: the shipped router, and what people use where there is none."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.routing_suites.suites import Case, Suite
from plano_asgi.classify import Classifier
from plano_asgi.classify.embedded.encoder import open_session
from plano_asgi.classify.embedded.tokens import Tokenizer, open_tokenizer
from plano_asgi.conversation import Conversation, Role
from plano_asgi.preferences import RoutingPreference

UTTERANCES: Final = 8
WINDOW: Final = 128
Vectors = NDArray[np.float32]
Encode = Callable[[str], Vectors]


@dataclass(frozen=True, slots=True)
class Guess:
    """What a contender makes of one case.

    Attributes:
        expect: The right route, None where none is.
        best: The route it likes most.
        score: How much it does; a probability where the contender has one.
        other: Probability of none of the routes; None where it has no notion of it.
        elapsed_ms: Milliseconds that it took.
        turns: Messages of the conversation.
    """

    expect: str | None
    best: str
    score: float
    other: float | None
    elapsed_ms: float
    turns: int

    def is_right(self, threshold: float) -> bool:
        """Return whether it is right with this threshold."""
        return self.expect == (self.best if self.score >= threshold else None)


class Contender(Protocol):
    """Somebody who sits the exam.

    Attributes:
        name: For people.
        threshold: Its own least score; None where the exam itself has to choose one, an advantage of hindsight.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def threshold(self) -> float | None: ...  # noqa: D102

    def sit(self, suite: Suite) -> Iterator[Guess] | None:
        """Return guesses for all cases of a suite, None where the suite lacks what it needs."""
        ...


class Routed:
    """A classifier of ours."""

    def __init__(self, name: str, classifier: Classifier) -> None:
        """Take the classifier."""
        self.name = name
        self.threshold: float | None = classifier.threshold
        self._classifier = classifier

    def sit(self, suite: Suite) -> Iterator[Guess]:
        """Yield its guesses."""
        self._classifier.prepare(suite.policy)
        for case in suite.cases:
            started = perf_counter()
            scores = self._classifier.classify(case.conversation, suite.policy)
            elapsed_ms = (perf_counter() - started) * 1000
            best = max(scores.routes, key=lambda name: scores.routes[name])
            yield guess(case, best, scores.routes[best], elapsed_ms, other=scores.other)


class ZeroShot:
    """Cosine of a sentence encoder that was not trained for routing, and route descriptions."""

    threshold: float | None = None

    def __init__(self, encode: Encode) -> None:
        """Take what makes vectors of texts."""
        self.name = "zero-shot encoder"
        self._encode = encode

    def sit(self, suite: Suite) -> Iterator[Guess]:
        """Yield the nearest route of each case."""
        names, texts = described(suite.policy.preferences)
        yield from nearest(suite.cases, names, np.stack([*map(self._encode, texts)]), self._encode)


class NearestUtterance:
    """The nearest of a few example texts a route, by the same encoder: what routers of utterances do."""

    threshold: float | None = None

    def __init__(self, encode: Encode) -> None:
        """Take what makes vectors of texts."""
        self.name = f"nearest of {UTTERANCES} utterances"
        self._encode = encode

    def sit(self, suite: Suite) -> Iterator[Guess] | None:
        """Return guesses where the suite has example texts."""
        if not suite.utterances:
            return None
        pairs = [(name, text) for name, texts in suite.utterances.items() for text in texts[:UTTERANCES]]
        vectors = np.stack([self._encode(text) for _, text in pairs])
        return nearest(suite.cases, [name for name, _ in pairs], vectors, self._encode)


class TfIdf:
    """Cosine of weighted runs of two to five letters, by scikit-learn."""

    threshold: float | None = None
    name = "TF-IDF"

    def sit(self, suite: Suite) -> Iterator[Guess]:
        """Yield the nearest route of each case."""
        from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 - not everybody has it

        names, texts = described(suite.policy.preferences)
        vectoriser = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True).fit(texts)
        vectors = np.asarray(vectoriser.transform(texts).toarray(), np.float32)

        def encode(text: str) -> Vectors:
            return np.asarray(vectoriser.transform([text]).toarray()[0], np.float32)

        yield from nearest(suite.cases, names, vectors, encode)


class SentenceEncoder:
    """A published sentence encoder as ONNX: mean of the token states as a unit vector."""

    def __init__(self, folder: Path) -> None:
        """Load `model.onnx`, in the folder or under `onnx/`, and `tokenizer.json`."""
        path = next(p for p in (folder / "model.onnx", folder / "onnx" / "model.onnx") if p.is_file())
        self._session = open_session(path, threads=1)
        self._tokenizer: Tokenizer = open_tokenizer(folder / "tokenizer.json")

    def encode(self, text: str) -> Vectors:
        """Return the text's unit vector."""
        ids = np.array([self._tokenizer.encode(text).ids[:WINDOW]], dtype=np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean: Vectors = self._session.run(["last_hidden_state"], feeds)[0][0].mean(0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)


def nearest(cases: Sequence[Case], names: Sequence[str], vectors: Vectors, encode: Encode) -> Iterator[Guess]:
    """Yield for each case the name of the vector that is nearest to its latest user turn."""
    for case in cases:
        started = perf_counter()
        similar = vectors @ encode(latest(case.conversation))
        elapsed_ms = (perf_counter() - started) * 1000
        yield guess(case, names[int(similar.argmax())], float(similar.max()), elapsed_ms)


def guess(case: Case, best: str, score: float, elapsed_ms: float, *, other: float | None = None) -> Guess:
    """Return what was made of a case."""
    return Guess(case.expect, best, score, other, elapsed_ms, len(case.conversation))


def latest(conversation: Conversation) -> str:
    """Return the latest user turn."""
    return next(message.text for message in reversed(conversation) if message.role is Role.USER)


def described(preferences: Sequence[RoutingPreference]) -> tuple[list[str], list[str]]:
    """Return names, and names with descriptions."""
    return [p.name for p in preferences], [f"{p.name.replace('_', ' ')}: {p.description}" for p in preferences]
