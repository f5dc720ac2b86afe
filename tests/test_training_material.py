"""What the shipped router is trained on: episodes that say what is right, and nothing that the exam asks about."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.conversation import Conversation, Role
from plano_asgi.lab.corpus_files import LabelledConversation, LabelledRoute, Source, said
from plano_asgi.lab.train import public_sets
from plano_asgi.lab.train.episodes import MOST_ROUTES, NONE_SHARE, Batch, Draws, PolicySampler, Sampler, talk_of
from plano_asgi.lab.train.held_out import held_out
from plano_asgi.lab.train.mixture import OUR_OWN, SHARES, Material, Mixture, material

NOTHING_STRANGE = talk_of([said("strange")])
WRONG, RIGHT, DEBATABLE = "wrong", "right", "debatable"


def source_of(relation: Sequence[Sequence[str]]) -> Source:
    """Return a source from what each route (column) is to each label (row), with texts of no label as well."""
    labels = [f"label{number}" for number in range(len(relation))]
    routes = (
        LabelledRoute(
            f"name{column}",
            f"description{column}",
            frozenset(label for label, row in zip(labels, relation, strict=True) if row[column] == RIGHT),
            frozenset(label for label, row in zip(labels, relation, strict=True) if row[column] == DEBATABLE),
        )
        for column in range(len(relation[0]))
    )
    conversations = (LabelledConversation(said(f"text {label}"), label) for label in (*labels, None) for _ in range(2))
    return Source("synthetic", tuple(conversations), tuple(routes))


def episodes(batch: Batch) -> Iterator[tuple[int, list[int], int | None]]:
    """Yield each episode: the conversation's number, its routes, and which of them is right."""
    for members, answers in zip(batch.members, batch.answer, strict=True):
        for number, (row, answer) in enumerate(zip(members, answers, strict=True)):
            routes = [int(route) for route in row if route >= 0]
            yield number, routes, None if answer == len(row) else int(row[answer])


def column_of(line: str) -> int:
    """Return the number of a synthetic route, told from its line, however it was reworded."""
    return int(line.rstrip(".").removesuffix(" and similar").rpartition("description")[2])


@st.composite
def relations(draw: st.DrawFn) -> list[list[str]]:
    """Draw what routes are to labels; every label has one that is certainly wrong."""
    labels, routes = draw(st.integers(1, 4)), draw(st.integers(2, 12))
    cells = st.sampled_from([WRONG, RIGHT, DEBATABLE])
    rows = [draw(st.lists(cells, min_size=routes, max_size=routes)) for _ in range(labels)]
    for row in rows:
        row[draw(st.integers(0, routes - 1))] = WRONG
    return rows


@settings(max_examples=100, deadline=None)
@given(relation=relations(), seed=st.integers(0, 2**32 - 1))
def test_right_route_is_right_and_all_others_are_certainly_wrong(relation: list[list[str]], seed: int) -> None:
    """Whatever covers what: the route that is called right is right, no other could be, and none is there twice."""
    batch = Sampler(source_of(relation), strange=NOTHING_STRANGE).draw(8, np.random.default_rng(seed))

    for number, routes, right in episodes(batch):
        label = int(batch.label[number])
        found = {route: relation[label][column_of(batch.routes[route])] if label >= 0 else WRONG for route in routes}
        assert found == {route: RIGHT if route == right else WRONG for route in routes}
        assert len(set(routes)) == len(routes) <= MOST_ROUTES


def test_a_third_of_the_episodes_has_no_right_route() -> None:
    """Conversations that routes cover are drawn without one often enough that "none" is learnt."""
    source = source_of([[RIGHT, *[WRONG] * 9]])
    only = [c for c in source.conversations if c.label is not None]

    batch = Sampler(source, only, strange=NOTHING_STRANGE).draw(1_000, np.random.default_rng(0))

    assert np.mean([right is None for _, _, right in episodes(batch)]) == pytest.approx(NONE_SHARE, abs=0.05)


def test_right_routes_stand_anywhere() -> None:
    """The place of the right route says nothing: first, last and between are as likely as in a shuffled deck."""
    sampler = Sampler(source_of([[RIGHT, *[WRONG] * 9]]), strange=NOTHING_STRANGE)
    rng = np.random.default_rng(0)

    drawn = [episode for _ in range(40) for episode in episodes(sampler.draw(50, rng))]

    places = [routes.index(right) / (len(routes) - 1) for _, routes, right in drawn if right is not None and routes[1:]]
    assert len(places) > 1_000
    assert np.mean(places) == pytest.approx(0.5, abs=0.04)


def test_only_the_given_conversations_are_drawn() -> None:
    """What is kept back is in no episode."""
    source = source_of([[RIGHT, WRONG, WRONG], [WRONG, RIGHT, WRONG]])
    chosen = [c for c in source.conversations if c.label != "label0"]

    batch = Sampler(source, chosen, strange=NOTHING_STRANGE).draw(200, np.random.default_rng(0))

    assert set(batch.label.tolist()) == {-1, 1}


def test_same_seed_draws_the_same_episodes() -> None:
    """Training can be repeated."""
    sampler = Sampler(source_of([[RIGHT, *[WRONG] * 9], [WRONG] * 10]), strange=NOTHING_STRANGE)

    one, other = (sampler.draw(50, np.random.default_rng(7)) for _ in range(2))

    assert (one.routes, one.conversations) == (other.routes, other.conversations)
    assert np.array_equal(one.members, other.members)
    assert np.array_equal(one.answer, other.answer)


def test_policies_are_drawn_apart() -> None:
    """An episode of a hand-written policy has routes of that policy alone, and its own case's right one or none."""
    policies = [
        Source(
            name,
            (LabelledConversation(said(f"{name} one"), "one"), LabelledConversation(said(f"{name} none"), None)),
            tuple(LabelledRoute(route, f"{name} {route}", frozenset({route})) for route in ("one", "two", "three")),
        )
        for name in ("apples", "pears", "plums")
    ]
    rng = np.random.default_rng(0)
    sampler = PolicySampler(policies, strange=NOTHING_STRANGE)

    for batch in (sampler.draw(30, rng) for _ in range(20)):
        for number, routes, right in episodes(batch):
            text = batch.conversations[number][-1].text
            (name,) = {next(n for n in ("apples", "pears", "plums") if n in batch.routes[route]) for route in routes}
            assert text[:1] == name[:1]
            assert right is None or f"{name} one" in batch.routes[right]
            assert right is None or "none" not in text


@pytest.fixture(scope="module")
def found(datasets: Path) -> Material:
    """Return the material of the made-up sets and of our own corpus."""
    return material(datasets)


def drawn_from(source: Draws, batches: int) -> Iterator[Batch]:
    """Yield batches."""
    rng = np.random.default_rng(0)
    yield from (source.draw(24, rng) for _ in range(batches))


def spoken(conversations: Sequence[Conversation]) -> Iterator[str]:
    """Yield what users say."""
    yield from (m.text for conversation in conversations for m in conversation if m.role is Role.USER)


def test_held_out_labels_are_in_no_batch(found: Material) -> None:
    """No text, route or label that the exam asks about, and nothing of a test split, is trained or calibrated with."""
    asked = {"clinc150": held_out("clinc150"), "banking77": held_out("banking77")}
    services = held_out("sgd_services")

    for source in (*found.mixture.sources, *found.kept_back):
        assert not asked.get(source.name, frozenset()) & {*source.labels}
        assert not services & {label.partition(".")[0] for label in source.labels}
        for batch in drawn_from(source, 25):
            assert [text for text in spoken(batch.conversations) if "examined" in text] == []
            assert [line for line in batch.routes if any(service in line for service in services)] == []


def test_every_source_has_a_share(found: Material) -> None:
    """What is mixed are all sources that have a share, and shares add up to one."""
    assert {source.name for source in found.mixture.sources} == SHARES.keys()
    assert sum(found.mixture.shares) == pytest.approx(1)
    assert len(found.mixture.task_labels) >= 80


@pytest.mark.parametrize("name", sorted(set(SHARES) - OUR_OWN))
def test_a_public_set_can_be_left_out(name: str, datasets: Path) -> None:
    """Without a set, nothing of it is mixed in, and all others are."""
    found = material(datasets, without=[name])

    assert {source.name for source in found.mixture.sources} == SHARES.keys() - {name}


def test_what_is_kept_back_is_not_trained_on(found: Material) -> None:
    """The policies, intents and texts that calibrate the router are not those that it is trained with."""
    trained = {source.name: source for source in found.mixture.sources}
    for kept in found.kept_back:
        texts, others = (
            {batch_text for batch in drawn_from(each, 20) for batch_text in (c[-1].text for c in batch.conversations)}
            for each in (kept, trained[kept.name])
        )
        if kept.name == "clinc150":
            assert not {*kept.labels} & {*trained["clinc150"].labels}
        else:
            assert len(texts & others) <= 0.01 * len(texts), kept.name


def test_mixture_draws_by_its_shares(found: Material) -> None:
    """A source with three times the share is drawn about three times as often."""
    few, many = found.mixture.sources[-1], found.mixture.sources[-2]
    mixture = Mixture([few, many], [1, 3])
    rng = np.random.default_rng(0)

    names = [mixture.draw(4, rng)[0].name for _ in range(400)]

    assert names.count(many.name) / len(names) == pytest.approx(0.75, abs=0.07)


def test_turns_of_a_service_that_the_exam_asks_about_are_left_out(datasets: Path) -> None:
    """Dialogues with a service of the exam are no training turns, though they stand in the training split."""
    sgd = public_sets.sgd(datasets)

    assert {c.label for c in sgd.conversations} == {
        None,
        "Recipes_1.AskRecipes1",
        "Recipes_2.AskRecipes2",
        "Ferries_1.AskFerries1",
    }
    near = {route.name: route.near for route in sgd.routes}
    assert near["AskRecipes1"] == {"Recipes_2.AskRecipes2"}
    assert near["AskFerries1"] == frozenset()
