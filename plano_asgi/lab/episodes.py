"""Episodes: a conversation, a sampled set of routes, and which of them is right, if any.

A third of the episodes has no right route. A part of the wrong ones lies close to the right one (or, where there is
none, to each other), so that the head learns to tell siblings apart.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plano_asgi.lab.embedding import COVERED, MISS, EmbeddedSource, Vectors

NONE_SHARE: Final = 0.35
CLOSE_SHARE: Final = 0.4
CLOSE_ROUTES: Final = 60
MAX_ROUTES: Final = 10


@dataclass(frozen=True, slots=True)
class Batch:
    """Episodes as arrays of `b` conversations and `r` routes.

    Attributes:
        chosen: Index of each conversation in its source, `(b,)` int64.
        latest, in_context: Conversation vectors, `(b, 384)`.
        routes: Route vectors, `(b, r, 384)`.
        answer: Index of the right route, `r` for none, `(b,)` int64.
    """

    chosen: NDArray[np.int64]
    latest: Vectors
    in_context: Vectors
    routes: Vectors
    answer: NDArray[np.int64]


class Sampler:
    """Draws episodes from the conversations of one source whose numbers are given."""

    def __init__(self, source: EmbeddedSource, conversations: NDArray[np.int64]) -> None:
        """Prepare the draws."""
        self.source = source
        self._conversations = conversations
        self._covered = [np.flatnonzero(row == COVERED) for row in source.relation]
        self._missed = [np.flatnonzero(row == MISS) for row in source.relation]
        right_or_wrong = zip(self._covered, self._missed, strict=True)
        self._most_routes = min(len(missed) + bool(len(covered)) for covered, missed in right_or_wrong)
        self._close = np.argsort(-(source.routes @ source.routes.T), axis=1)[:, 1 : CLOSE_ROUTES + 1]

    def draw(self, episodes: int, routes: int, rng: np.random.Generator) -> Batch:
        """Return episodes with so many routes each, or fewer where the source has fewer."""
        routes = min(routes, self._most_routes)
        drawn = [self._episode(routes, rng) for _ in range(episodes)]
        chosen = np.array([conversation for conversation, _, _ in drawn], dtype=np.int64)
        source = self.source
        return Batch(
            chosen=chosen,
            latest=source.latest[chosen],
            in_context=source.in_context[chosen],
            routes=source.routes[np.stack([members for _, members, _ in drawn])],
            answer=np.array([answer for _, _, answer in drawn], dtype=np.int64),
        )

    def _episode(self, routes: int, rng: np.random.Generator) -> tuple[int, NDArray[np.int64], int]:
        conversation = int(rng.choice(self._conversations))
        label = int(self.source.label_of[conversation])
        covered, missed = self._covered[label], self._missed[label]
        is_none = not len(covered) or (len(missed) >= routes and rng.random() < NONE_SHARE)
        first = int(rng.choice(missed if is_none else covered))
        wrong = self._wrong(first, label, routes - 1, rng)
        order = rng.permutation(routes)
        members = np.array([first, *wrong], dtype=np.int64)[order]
        return conversation, members, routes if is_none else int(np.flatnonzero(order == 0)[0])

    def _wrong(self, first: int, label: int, count: int, rng: np.random.Generator) -> list[int]:
        is_miss = self.source.relation[label] == MISS
        close = [int(route) for route in self._close[first] if is_miss[route] and route != first]
        wrong = list(rng.permutation(close)[: rng.binomial(count, CLOSE_SHARE)])
        while len(wrong) < count:
            route = int(rng.choice(self._missed[label]))
            if route != first and route not in wrong:
                wrong.append(route)
        return wrong
