"""The tree of completions: what it scores is what the model would say, one token at a time."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plano_asgi.classify.arch_router.completion_tree import CompletionTree

Logits = npt.NDArray[np.float32]
Model = Callable[[Sequence[int]], Logits]

VOCABULARY = 8
END = 7
TOLERANCE = 1e-9

tokens = st.integers(0, VOCABULARY - 1)  # the end token may stand inside, as where a name spells it
shared_beginnings = st.builds(
    lambda shared, rests: [[*shared, *rest] for rest in rests],
    st.lists(tokens, max_size=12),
    st.lists(st.lists(tokens, max_size=4), min_size=1, max_size=8),
)
completions = st.one_of(st.lists(st.lists(tokens, max_size=5), min_size=1, max_size=8), shared_beginnings)


def model_of(seed: int) -> Model:
    """Return a model that has an opinion of its own on every text."""
    return lambda text: np.random.default_rng((seed, len(text), *text)).normal(0, 3, VOCABULARY).astype(np.float32)


def log_softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return log probabilities."""
    shifted = values - values.max()
    result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result


def by_brute_force(given: Sequence[Sequence[int]], model: Model, *, joint: bool, temperature: float) -> list[float]:
    """Return the scores that the tree should find, with the model asked after every single token."""
    ended = [(*completion, END) for completion in given]
    totals = []
    for completion in ended:
        total = -np.log(ended.count(completion))
        for at, token in enumerate(completion):
            allowed = sorted({other[at] for other in ended if other[:at] == completion[:at] and len(other) > at})
            logits = model(completion[:at]).astype(np.float64) / temperature
            total += log_softmax(logits)[token] if joint else log_softmax(logits[allowed])[allowed.index(token)]
        totals.append(total)
    return [float(score) for score in np.exp(log_softmax(np.array(totals)))]


def ways_of(tree: CompletionTree) -> list[tuple[int, ...]]:
    """Return the tokens on the way to each of the tree's, itself included, as its `until` lets it see them."""
    return [
        tuple(tree.tokens[above] for above in range(index + 1) if tree.until[above] >= index)
        for index in range(len(tree.tokens))
    ]


def logits_for(tree: CompletionTree, model: Model) -> list[Logits]:
    """Return what a session that obeys `until` gives for each branch."""
    ways = ways_of(tree)
    seen = [model((*tree.forced, *(ways[branch.after] if branch.after >= 0 else ()))) for branch in tree.branches]
    if tree.is_joint:
        return seen
    return [logits[list(branch.choices)] for logits, branch in zip(seen, tree.branches, strict=True)]


@pytest.mark.parametrize("joint", [False, True], ids=["branch", "joint"])
@settings(deadline=None, max_examples=150)
@example(given=[[]], seed=0, temperature=1.0)
@example(given=[[], [], [END]], seed=0, temperature=1.0)
@example(given=[[1, 2, 3], [1, 2], [1, 2, 3], [1]], seed=1, temperature=0.5)
@given(given=completions, seed=st.integers(0, 99), temperature=st.sampled_from([0.5, 1.0, 3.0]))
def test_scores_are_those_of_brute_force(given: list[list[int]], seed: int, temperature: float, *, joint: bool) -> None:
    """Whatever the completions are, equal ones and beginnings of one another included, the tree is brute force.

    The scores sum to 1, and equal completions share theirs equally.
    """
    model = model_of(seed)
    tree = CompletionTree.build(given, end=END, joint=joint)

    scores = tree.scores(logits_for(tree, model), temperature=temperature)

    assert scores.sum() == pytest.approx(1, abs=TOLERANCE)
    assert list(scores) == pytest.approx(
        by_brute_force(given, model, joint=joint, temperature=temperature), abs=TOLERANCE
    )


@pytest.mark.parametrize("joint", [False, True], ids=["branch", "joint"])
@settings(deadline=None, max_examples=100)
@given(given=completions)
def test_each_token_sees_its_own_way_and_nothing_else(given: list[list[int]], *, joint: bool) -> None:
    """What a token sees begins some completion, is as long as its depth says, and no two tokens see the same."""
    tree = CompletionTree.build(given, end=END, joint=joint)

    ways = ways_of(tree)

    ended = [(*completion, END) for completion in given]
    assert [len(way) for way in ways] == [depth + 1 for depth in tree.depths]
    assert len(set(ways)) == len(ways)
    for way in ways:
        whole = (*tree.forced, *way)
        assert any(completion[: len(whole)] == whole for completion in ended)
    assert all(index <= until < len(tree.tokens) for index, until in enumerate(tree.until))


@settings(deadline=None, max_examples=100)
@given(given=completions.filter(lambda given: not any(END in each for each in given)))
def test_only_tokens_on_the_way_to_a_branch_are_read(given: list[list[int]]) -> None:
    """In branch scoring every leaf of the tree is followed by a branch; nothing is read in vain."""
    tree = CompletionTree.build(given, end=END)

    leaves = {index for index, until in enumerate(tree.until) if until == index}

    assert leaves <= {branch.after for branch in tree.branches}
    assert all(len(branch.choices) > 1 for branch in tree.branches)


def test_one_completion_needs_no_model() -> None:
    """A single candidate has everything, and not one logit is asked for."""
    tree = CompletionTree.build([[1, 2, 3]], end=END)

    assert (tree.tokens, tree.branches) == ((), ())
    assert list(tree.scores([], temperature=1.0)) == [1.0]


@pytest.mark.parametrize("joint", [False, True], ids=["branch", "joint"])
def test_a_very_long_completion_has_a_tree(*, joint: bool) -> None:
    """Names of thousands of tokens, which part at their ends, make a tree like any others."""
    long = [1] * 5_000
    tree = CompletionTree.build([[*long, 2], [*long, 3], [4]], end=END, joint=joint)

    assert len(tree.tokens) == 5_000 + (2 + 1 if joint else 0)
    assert tree.until[0] == 5_000 - 1 + (2 if joint else 0)


def test_even_logits_beyond_what_exponentials_hold_give_probabilities() -> None:
    """Logits of thousands, either way, are no overflow: the likelier candidate has it all."""
    tree = CompletionTree.build([[1], [2]], end=END)

    scores = tree.scores([np.array([5_000, -5_000], np.float32)], temperature=0.01)

    assert list(scores) == [1.0, 0.0]
