"""Sources as sentence vectors: encoded once, before training."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plano_asgi.classify.embedded.encoder import Vector
from plano_asgi.classify.embedded.texts import ConversationTexts, conversation_texts, route_text
from plano_asgi.lab.corpus_files import LabelledConversation, LabelledRoute, Source
from plano_asgi.preferences import RoutingPreference

Vectors = NDArray[np.float32]
Encode = Callable[[str], Vector]

MISS: Final = 0
COVERED: Final = 1
DEBATABLE: Final = -1


@dataclass(frozen=True, slots=True)
class EmbeddedSource:
    """A source as arrays.

    Attributes:
        name: The source's name.
        labels: Its labels, sorted.
        latest: Vectors of the latest user turns, `(conversations, 384)`.
        in_context: Vectors of the turns in their context, `(conversations, 384)`.
        label_of: Index of each conversation's label, `len(labels)` for none, `(conversations,)` int64.
        routes: Vectors of the routes, `(routes, 384)`.
        relation: MISS, COVERED or DEBATABLE for each label (and none) and route, `(labels + 1, routes)` int8.
    """

    name: str
    labels: tuple[str, ...]
    latest: Vectors
    in_context: Vectors
    label_of: NDArray[np.int64]
    routes: Vectors
    relation: NDArray[np.int8]


def embed(source: Source, encode: Encode, *, threads: int, on_text: Callable[[], object]) -> EmbeddedSource:
    """Return the source as arrays; `on_text` is called after each conversation and route."""
    labels = tuple(sorted({c.label for c in source.conversations if c.label is not None}))
    index = {label: number for number, label in enumerate(labels)}
    with ThreadPoolExecutor(threads) as pool:
        pairs = list(pool.map(lambda c: _encode_conversation(c, encode, on_text), source.conversations))
        routes = list(pool.map(lambda r: _encode_route(r, encode, on_text), source.routes))
    label_of = [len(labels) if c.label is None else index[c.label] for c in source.conversations]
    return EmbeddedSource(
        name=source.name,
        labels=labels,
        latest=np.stack([latest for latest, _ in pairs]),
        in_context=np.stack([in_context for _, in_context in pairs]),
        label_of=np.array(label_of, dtype=np.int64),
        routes=np.stack(routes),
        relation=_relation(labels, source.routes),
    )


def _relation(labels: Sequence[str], routes: Sequence[LabelledRoute]) -> NDArray[np.int8]:
    relation = np.full((len(labels) + 1, len(routes)), MISS, dtype=np.int8)
    for column, route in enumerate(routes):
        _mark(relation, column, (labels.index(label) for label in route.covers if label in labels), COVERED)
        _mark(relation, column, (labels.index(label) for label in route.near if label in labels), DEBATABLE)
    return relation


def _mark(relation: NDArray[np.int8], column: int, rows: Iterable[int], value: int) -> None:
    for row in rows:
        relation[row, column] = value


def _encode_conversation(
    labelled: LabelledConversation, encode: Encode, on_text: Callable[[], object]
) -> tuple[Vector, Vector]:
    texts = conversation_texts(labelled.conversation) or ConversationTexts("", "")
    latest = encode(texts.latest)
    in_context = latest if texts.in_context == texts.latest else encode(texts.in_context)
    on_text()
    return latest, in_context


def _encode_route(route: LabelledRoute, encode: Encode, on_text: Callable[[], object]) -> Vector:
    vector = encode(route_text(RoutingPreference(name=route.name, description=route.description, models=())))
    on_text()
    return vector
