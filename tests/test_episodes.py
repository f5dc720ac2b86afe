"""Training episodes: the answer is what they say, and nothing debatable is in them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from plano_asgi.conversation import Message, Role
from plano_asgi.lab.corpus_files import LabelledConversation, LabelledRoute, Source
from plano_asgi.lab.embedding import COVERED, DEBATABLE, MISS, EmbeddedSource, embed
from plano_asgi.lab.episodes import CLOSE_SHARE, NONE_SHARE, Batch, Sampler

LABELS = ("code", "prose")
WIDTH = 32


def source_of(relation: NDArray[np.int8]) -> EmbeddedSource:
    """Return a source of two conversations a label, and two of none; every vector tells whose it is."""
    labels, routes = relation.shape
    label_of = np.repeat(np.arange(labels, dtype=np.int64), 2)
    vectors = np.eye(WIDTH, dtype=np.float32)
    return EmbeddedSource(
        name="synthetic",
        labels=tuple(f"label {number}" for number in range(labels - 1)),
        latest=vectors[: len(label_of)],
        in_context=2 * vectors[: len(label_of)],
        label_of=label_of,
        routes=vectors[:routes],
        relation=relation,
    )


def everything(source: EmbeddedSource) -> NDArray[np.int64]:
    """Return the numbers of all conversations of a source."""
    return np.arange(len(source.label_of), dtype=np.int64)


def routes_in(batch: Batch) -> NDArray[np.int64]:
    """Return the numbers of the routes in each episode, told from their vectors, `(b, r)`."""
    numbers: NDArray[np.int64] = np.argmax(batch.routes, axis=2)
    return numbers


def check(batch: Batch, source: EmbeddedSource) -> None:
    """Hold every episode of a batch against the source's own word."""
    for chosen, routes, answer in zip(batch.chosen, routes_in(batch), batch.answer, strict=True):
        relation = source.relation[source.label_of[chosen], routes]
        expected = np.full(len(routes), MISS)
        if answer < len(routes):
            expected[answer] = COVERED
        assert relation.tolist() == expected.tolist()
        assert len(set(routes.tolist())) == len(routes)
    assert np.array_equal(batch.latest, source.latest[batch.chosen])
    assert np.array_equal(batch.in_context, source.in_context[batch.chosen])


@st.composite
def relations(draw: st.DrawFn) -> NDArray[np.int8]:
    """Draw relations of labels and routes; none is covered by nothing, and every label has a certain miss."""
    labels, routes = draw(st.integers(1, 4)), draw(st.integers(2, 12))
    cells = st.sampled_from([MISS, COVERED, DEBATABLE])
    rows = [draw(st.lists(cells, min_size=routes, max_size=routes)) for _ in range(labels)]
    for row in rows:
        row[draw(st.integers(0, routes - 1))] = MISS
    return np.array([*rows, [MISS] * routes], dtype=np.int8)


@settings(max_examples=100, deadline=None)
@given(relation=relations(), wanted=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_answer_is_covered_and_everything_else_a_certain_miss(
    relation: NDArray[np.int8], wanted: int, seed: int
) -> None:
    """Whatever covers what: the route that is called right is right, no other could be, and none is drawn twice."""
    source = source_of(relation)

    batch = Sampler(source, everything(source)).draw(8, wanted, np.random.default_rng(seed))

    assert batch.routes.shape[1] <= wanted
    check(batch, source)


def test_route_that_is_closer_to_others_than_to_itself_is_drawn_once() -> None:
    """No route is in an episode twice, even where rounding or equal wording makes it its own close neighbour."""
    source = source_of(np.zeros((1, 6), dtype=np.int8))
    lengths = np.arange(1, 7, dtype=np.float32)[:, np.newaxis]
    source = replace(source, routes=lengths * np.ones((6, WIDTH), dtype=np.float32))

    batch = Sampler(source, everything(source)).draw(100, 6, np.random.default_rng(0))

    assert [len(set(episode[:, 0].tolist())) for episode in batch.routes] == [6] * 100


def test_a_third_of_the_episodes_has_no_right_route() -> None:
    """Conversations that routes cover are drawn without one often enough that "none" is learnt."""
    source = source_of(np.array([[COVERED, *[MISS] * 9], [MISS] * 10], dtype=np.int8))

    batch = Sampler(source, np.array([0, 1])).draw(2_000, 5, np.random.default_rng(0))

    assert np.mean(batch.answer == 5) == pytest.approx(NONE_SHARE, abs=0.05)


def test_right_routes_stand_anywhere() -> None:
    """The place of the right route says nothing."""
    source = source_of(np.array([[COVERED, *[MISS] * 9], [MISS] * 10], dtype=np.int8))

    batch = Sampler(source, np.array([0, 1])).draw(2_000, 5, np.random.default_rng(0))

    shares = np.bincount(batch.answer[batch.answer < 5], minlength=5) / np.sum(batch.answer < 5)
    assert shares == pytest.approx(np.full(5, 0.2), abs=0.05)


def test_only_the_given_conversations_are_drawn() -> None:
    """What is held out of training is in no episode."""
    source = source_of(np.array([[COVERED, MISS, MISS], [MISS] * 3], dtype=np.int8))

    batch = Sampler(source, np.array([1, 2])).draw(200, 3, np.random.default_rng(0))

    assert set(batch.chosen.tolist()) == {1, 2}


def test_same_seed_draws_the_same_episodes() -> None:
    """Training can be repeated."""
    source = source_of(np.array([[COVERED, *[MISS] * 9], [MISS] * 10], dtype=np.int8))
    sampler = Sampler(source, everything(source))

    one, other = (sampler.draw(50, 4, np.random.default_rng(7)) for _ in range(2))

    assert np.array_equal(one.routes, other.routes)
    assert np.array_equal(one.answer, other.answer)


def test_embedding_keeps_labels_and_marks_what_routes_say() -> None:
    """A source becomes arrays in its own order: labels by number, none last; covered, debatable and missed apart."""
    said = [("write a loop", "code"), ("hello", None), ("a poem", "prose")]
    conversations = tuple(LabelledConversation((Message(role=Role.USER, text=text),), label) for text, label in said)
    routes = (
        LabelledRoute("coding", "programs", frozenset({"code"}), frozenset({"prose"})),
        LabelledRoute("writing", "poems", frozenset({"prose"})),
    )
    counted: list[int] = []

    source = embed(
        Source("small", conversations, routes),
        lambda text: np.full(3, len(text), dtype=np.float32),
        threads=2,
        on_text=lambda: counted.append(1),
    )

    assert source.labels == LABELS
    assert source.label_of.tolist() == [0, 2, 1]
    assert source.relation.tolist() == [[COVERED, MISS], [DEBATABLE, COVERED], [MISS, MISS]]
    assert source.latest[:, 0].tolist() == [len(text) for text, _ in said]
    assert source.routes[:, 0].tolist() == [len("coding: programs"), len("writing: poems")]
    assert len(counted) == 5
    assert 0 < CLOSE_SHARE < 1
