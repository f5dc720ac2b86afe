"""Episodes: a conversation, a sampled set of routes, and which of them is right, if any.

Episodes of one batch share their routes, so that each route is encoded once. About a third has no right route; a part
of the wrong ones lies close to the right one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from plano_asgi.classify.embedded.texts import route_line
from plano_asgi.conversation import Conversation, Message, Role
from plano_asgi.lab.corpus_files import LabelledConversation, Source
from plano_asgi.lab.noise import noisy, reworded

NONE_SHARE: Final = 0.33
CLOSE_SHARE: Final = 0.4
MOST_ROUTES: Final = 15
POOL: Final = 44
EPISODES_EACH: Final = 2

Indexes = NDArray[np.int64]
Turns = tuple[Message, ...]
Strange = Callable[[np.random.Generator], Turns]


@dataclass(frozen=True, slots=True)
class Batch:
    """Episodes of `b` conversations over `p` routes, `e` of each conversation with at most `r` routes.

    Attributes:
        source: Where they are from.
        conversations: What is said.
        routes: Lines of name and description.
        members: Indexes into `routes`, -1 where an episode has fewer than `r`, int64 `(e, b, r)`.
        answer: The place of the right route in its row, `r` for none, int64 `(e, b)`.
        label: Index of each label in its source, -1 for none, int64 `(b,)`.
    """

    source: str
    conversations: Sequence[Conversation]
    routes: Sequence[str]
    members: NDArray[np.int64]
    answer: NDArray[np.int64]
    label: NDArray[np.int64]


class Draws(Protocol):
    """Whatever draws batches from a source.

    Attributes:
        name: The source's name.
        labels: Its labels, in the order of `Batch.label`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def labels(self) -> Sequence[str]: ...  # noqa: D102

    def draw(self, conversations: int, rng: np.random.Generator) -> Batch:
        """Return a batch."""
        ...


class Sampler:
    """Draws episodes from one source."""

    def __init__(
        self, source: Source, chosen: Sequence[LabelledConversation] | None = None, *, strange: Strange
    ) -> None:
        """Prepare the draws.

        Args:
            source: The conversations and their routes.
            chosen: Those of its conversations to draw from, all by default.
            strange: Draws turns of some other talk, to stand before or between.
        """
        self.name = source.name
        self.labels = tuple(sorted({c.label for c in source.conversations if c.label is not None}))
        self._index = {label: number for number, label in enumerate(self.labels)}
        self._routes = source.routes
        self._strange = strange
        self._by_label: dict[str | None, list[LabelledConversation]] = {}
        for conversation in chosen if chosen is not None else source.conversations:
            self._by_label.setdefault(conversation.label, []).append(conversation)
        self._drawn_from = list(self._by_label)
        counts = np.array([len(self._by_label[label]) for label in self._drawn_from], float)
        shares = np.sqrt(counts)
        self._shares = shares / shares.sum()
        self._covering = {
            label: [i for i, r in enumerate(self._routes) if label in r.covers] for label in self._drawn_from
        }
        self._open = {
            label: np.array([label is None or (label not in r.covers and label not in r.near) for r in self._routes])
            for label in self._drawn_from
        }
        self._close = _closeness([route_line(r.name, r.description) for r in self._routes])

    def draw(self, conversations: int, rng: np.random.Generator) -> Batch:
        """Return a batch of so many conversations."""
        picks = rng.choice(len(self._drawn_from), size=conversations, p=self._shares)
        labelled = [self._pick(self._drawn_from[int(pick)], rng) for pick in picks]
        pool, right = self._pool(labelled, rng)
        drawn = [
            [self._episode(c.label, right[i], pool, most, rng) for i, c in enumerate(labelled)]
            for most in rng.integers(2, MOST_ROUTES + 1, size=EPISODES_EACH).tolist()
        ]
        members, answer = as_arrays(drawn)
        return Batch(
            source=self.name,
            conversations=[self._told(c, rng) for c in labelled],
            routes=[route_line(*reworded(self._routes[i].name, self._routes[i].description, rng)) for i in pool],
            members=members,
            answer=answer,
            label=np.array([-1 if c.label is None else self._index[c.label] for c in labelled], dtype=np.int64),
        )

    def _pick(self, label: str | None, rng: np.random.Generator) -> LabelledConversation:
        have = self._by_label[label]
        return have[int(rng.integers(len(have)))]

    def _pool(
        self, labelled: Sequence[LabelledConversation], rng: np.random.Generator
    ) -> tuple[list[int], list[int | None]]:
        """Return the routes of a batch, and for each conversation one of them that is right, if its source has one."""
        pool: dict[int, None] = {}
        right: list[int | None] = []
        by_label: dict[str | None, int] = {}
        for conversation in labelled:
            covering = self._covering[conversation.label]
            if conversation.label not in by_label and covering:
                by_label[conversation.label] = int(covering[int(rng.integers(len(covering)))])
            right.append(by_label.get(conversation.label))
            if right[-1] is not None:
                pool[right[-1]] = None
        for route in list(pool)[: POOL // 2]:
            near = self._close[route]
            pool[int(near[int(rng.integers(len(near)))])] = None
        size = min(POOL, len(self._routes))
        while len(pool) < size:
            pool[int(rng.integers(len(self._routes)))] = None
        return list(pool), right

    def _episode(
        self, label: str | None, right: int | None, pool: Sequence[int], most: int, rng: np.random.Generator
    ) -> tuple[list[int], int | None]:
        is_open = self._open[label]
        wrong = [place for place, route in enumerate(pool) if is_open[route]]
        is_none = right is None or (len(wrong) > 1 and rng.random() < NONE_SHARE)
        count = min(most - (not is_none), len(wrong))
        chosen = [int(place) for place in rng.permutation(wrong)[:count]]
        anchor = right if right is not None else (pool[chosen[0]] if chosen else None)
        if anchor is not None and wrong:
            near = set(self._close[anchor].tolist())
            close = [place for place in wrong if pool[place] in near and place not in chosen]
            for at, place in zip(
                range(count), rng.permutation(close)[: rng.binomial(count, CLOSE_SHARE)], strict=False
            ):
                chosen[at] = int(place)
        if is_none or right is None:
            return chosen, None
        at = int(rng.integers(len(chosen) + 1))
        chosen.insert(at, pool.index(right))
        return chosen, at

    def _told(self, labelled: LabelledConversation, rng: np.random.Generator) -> Conversation:
        """Return the conversation with noise; one that is a single turn often stands behind some other talk."""
        *before, last = labelled.conversation
        last = Message(role=last.role, text=noisy(last.text, rng))
        if not before and rng.random() < 0.3:  # noqa: PLR2004 - a share
            before = list(self._strange(rng))
        elif len(last.text.split()) > 5 and before and rng.random() < 0.15:  # noqa: PLR2004 - a follow-up that says enough
            before = [*before, *self._strange(rng)]
        return (*before, last)


class PolicySampler:
    """Draws episodes from many small sources whose labels mean nothing in one another."""

    def __init__(self, sources: Sequence[Source], *, strange: Strange) -> None:
        """Prepare the draws."""
        self.name = "policies"
        self.labels: tuple[str, ...] = ()
        self._sources = sources
        self._strange = strange

    def draw(self, conversations: int, rng: np.random.Generator) -> Batch:
        """Return a batch of so many conversations, of a handful of policies."""
        chosen = rng.choice(len(self._sources), size=min(8, len(self._sources)), replace=False)
        routes: list[str] = []
        told: list[Conversation] = []
        drawn: list[list[tuple[list[int], int | None]]] = [[] for _ in range(EPISODES_EACH)]
        for source in (self._sources[int(at)] for at in chosen):
            first = len(routes)
            routes += [route_line(*reworded(r.name, r.description, rng)) for r in source.routes]
            for _ in range(conversations // len(chosen)):
                case = source.conversations[int(rng.integers(len(source.conversations)))]
                for rows in drawn:
                    row, answer = self._episode(case.label, source, rng)
                    rows.append(([first + place for place in row], answer))
                *before, last = case.conversation
                last = Message(role=last.role, text=noisy(last.text, rng))
                if not before and rng.random() < 0.25:  # noqa: PLR2004 - a share
                    before = list(self._strange(rng))
                told.append((*before, last))
        members, answers = as_arrays(drawn)
        return Batch("policies", told, routes, members, answers, np.full(len(told), -1, dtype=np.int64))

    @staticmethod
    def _episode(label: str | None, source: Source, rng: np.random.Generator) -> tuple[list[int], int | None]:
        """Return a policy's routes in any order; now and then without the right one, or without some wrong ones."""
        wrong = [i for i, route in enumerate(source.routes) if label not in route.covers]
        right = [i for i, route in enumerate(source.routes) if label in route.covers]
        if len(wrong) > 1 and rng.random() < 0.3:  # noqa: PLR2004 - a share
            wrong = [int(i) for i in rng.permutation(wrong)[: int(rng.integers(1, len(wrong) + 1))]]
        if right and wrong and rng.random() < 0.12:  # noqa: PLR2004 - as above
            right = []
        row = [int(i) for i in rng.permutation([*wrong, *right])]
        return row, row.index(right[0]) if right else None


def as_arrays(drawn: Sequence[Sequence[tuple[Sequence[int], int | None]]]) -> tuple[Indexes, Indexes]:
    """Return members `(e, b, r)` and answers `(e, b)` of a batch, from the routes and the right place of each."""
    width = max(len(row) for rows in drawn for row, _ in rows)
    members = np.full((len(drawn), len(drawn[0]), width), -1, dtype=np.int64)
    for at, rows in enumerate(drawn):
        for which, (row, _) in enumerate(rows):
            members[at, which, : len(row)] = row
    answers = [[width if answer is None else answer for _, answer in rows] for rows in drawn]
    return members, np.array(answers, dtype=np.int64)


def talk_of(conversations: Sequence[Conversation]) -> Strange:
    """Return what draws one or two exchanges out of these conversations, to stand before some other last turn."""

    def strange(rng: np.random.Generator) -> Turns:
        turns: list[Message] = []
        for _ in range(int(rng.integers(1, 3))):
            said = conversations[int(rng.integers(len(conversations)))]
            last = said[-1]
            answers = ("Sure, here you go.", "Done.", "Here is what I found.", "Of course.", "Okay, that is ready.")
            answer = Message(role=Role.ASSISTANT, text=answers[int(rng.integers(len(answers)))])
            turns += [last, answer]
        return tuple(turns)

    return strange


def _closeness(lines: Sequence[str], kept: int = 24) -> NDArray[np.int64]:
    """Return for each line the others that share most of its words, as indexes `(n, kept)`."""
    vocabulary: dict[str, int] = {}
    bags = [{vocabulary.setdefault(word, len(vocabulary)) for word in line.lower().split()} for line in lines]
    matrix = np.zeros((len(lines), len(vocabulary)), np.float32)
    for row, bag in zip(matrix, bags, strict=True):
        row[list(bag)] = 1
    matrix *= np.log(len(lines) / np.maximum(matrix.sum(0), 1))
    matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-6)
    similar = matrix @ matrix.T
    np.fill_diagonal(similar, -1)
    return np.argsort(-similar, axis=1)[:, : min(kept, len(lines) - 1)]
