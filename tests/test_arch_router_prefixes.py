"""The prefix cache: what prompts begin with is run once, within a bound in bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.classify import IsAwaited
from plano_asgi.classify.arch_router.prefixes import PREFIXES_MET, PrefixCache
from plano_asgi.classify.arch_router.session import KeyValues

BYTES_OF_A_TOKEN = 10
Tokens = tuple[int, ...]


class Model:
    """Remembers what it was asked to run; the keys and values of a text take 10 bytes a token."""

    def __init__(self) -> None:
        """Begin without any run."""
        self.runs: list[Tokens] = []

    def run(self, tokens: Tokens, is_awaited: IsAwaited) -> KeyValues:
        """Return keys and values."""
        assert is_awaited()
        self.runs.append(tokens)
        return KeyValues(tokens, len(tokens), BYTES_OF_A_TOKEN * len(tokens))


def cache_of(model: Model, *, tokens: int) -> PrefixCache:
    """Return a cache with room for so many tokens."""
    return PrefixCache(model.run, nothing=KeyValues((), 0, 0), most_bytes=BYTES_OF_A_TOKEN * tokens)


def test_a_policys_own_prefix_is_run_the_second_time() -> None:
    """The first prompt of a policy reads on from what all prompts begin with, the next ones from what theirs do."""
    model = Model()
    cache = cache_of(model, tokens=100)
    cache.pin((1, 2))

    used = [cache.of((1, 2, 3, 4, last), (1, 2, 3, 4)).tokens for last in (5, 6, 7)]

    assert used == [(1, 2), (1, 2, 3, 4), (1, 2, 3, 4)]
    assert model.runs == [(1, 2), (1, 2, 3, 4)]


def test_a_pinned_prefix_is_used_at_once() -> None:
    """The prefix of a prepared policy is there for its first prompt, and costs no other policy its own."""
    model = Model()
    cache = cache_of(model, tokens=100)
    cache.pin((1,), (1, 2, 3))

    assert cache.of((1, 2, 3, 4), (1, 2, 3)).tokens == (1, 2, 3)
    assert cache.of((1, 9, 9), (1, 9)).tokens == (1,)
    assert cache.of((8, 8), (8,)).tokens == ()
    assert model.runs == [(1,), (1, 2, 3)]


def test_the_prefix_used_longest_ago_makes_room() -> None:
    """Beyond its bytes the cache lets go of what was used longest ago, and a dropped one has to be met twice again."""
    model = Model()
    cache = cache_of(model, tokens=4)
    for static in ((1, 1), (2, 2)):
        for last in (7, 8):
            cache.of((*static, last), static)
    cache.of((1, 1, 9), (1, 1))

    for last in (7, 8):
        cache.of((3, 3, last), (3, 3))

    ran = len(model.runs)
    assert cache.of((1, 1, 9), (1, 1)).tokens == (1, 1)
    assert cache.of((3, 3, 9), (3, 3)).tokens == (3, 3)
    assert cache.of((2, 2, 9), (2, 2)).tokens == ()
    assert len(model.runs) == ran


def test_pinned_prefixes_are_never_dropped_and_take_no_room() -> None:
    """Whatever else comes by, pinned prefixes stay, until others are pinned in their place."""
    model = Model()
    cache = cache_of(model, tokens=2)
    cache.pin((1,), (1, 2, 3))

    for other in range(10, 40):
        for last in (7, 8):
            cache.of((other, other, last), (other, other))

    ran = len(model.runs)
    assert cache.of((1, 2, 3, 4), (1, 2, 3)).tokens == (1, 2, 3)
    assert cache.of((39, 39, 9), (39, 39)).tokens == (39, 39)
    assert len(model.runs) == ran
    cache.pin((5,))
    assert cache.of((1, 2, 3, 4), (9,)).tokens == ()


def test_a_prefix_beyond_the_bound_serves_its_prompt_and_is_not_kept() -> None:
    """A prefix that alone is too large is run for a prompt, and forgotten."""
    model = Model()
    cache = cache_of(model, tokens=0)

    used = [cache.of((1, 2, last), (1, 2)).tokens for last in (7, 8, 9)]

    assert used == [(), (1, 2), ()]


@pytest.mark.parametrize(
    ("prompt", "static"),
    [((9, 2, 3), (1, 2)), ((1, 2), (1, 2)), ((1,), (1, 2))],
    ids=["another beginning", "nothing behind it", "shorter"],
)
def test_what_does_not_begin_the_prompt_is_not_used(prompt: Tokens, static: Tokens) -> None:
    """A prefix that the prompt does not begin with, or that leaves nothing to read, is neither used nor run."""
    model = Model()
    cache = cache_of(model, tokens=100)

    assert {cache.of(prompt, static).tokens for _ in range(3)} == {()}
    assert model.runs == []


def test_a_failed_pin_changes_nothing() -> None:
    """Where a prefix cannot be run, those that were pinned before still are."""
    model = Model()

    def run(tokens: Tokens, is_awaited: IsAwaited) -> KeyValues:
        """Fail at 6."""
        if 6 in tokens:
            raise RuntimeError
        return model.run(tokens, is_awaited)

    cache = PrefixCache(run, nothing=KeyValues((), 0, 0))
    cache.pin((1,))

    with pytest.raises(RuntimeError):
        cache.pin((5,), (6,))

    assert cache.of((1, 2), (1,)).tokens == (1,)


small = st.lists(st.integers(0, 2), max_size=5).map(tuple)


@settings(max_examples=200, deadline=None)
@given(pinned=st.lists(small, max_size=3), asked=st.lists(st.tuples(small, small.filter(bool)), max_size=40))
def test_a_prefix_always_begins_its_prompt_and_leaves_something(
    pinned: list[Tokens], asked: list[tuple[Tokens, Tokens]]
) -> None:
    """Whatever is pinned and asked, what is returned begins the prompt, is shorter, and has keys of its own."""
    cache = cache_of(Model(), tokens=12)
    cache.pin(*pinned)

    for static, behind in asked:
        prompt = (*static, *behind)
        prefix = cache.of(prompt, static)

        assert prompt[: len(prefix.tokens)] == prefix.tokens
        assert len(prefix.tokens) < len(prompt)
        assert prefix.key_values.value == prefix.tokens


def test_what_was_met_once_is_forgotten_in_the_end() -> None:
    """The policies that were met once are bounded in number."""
    model = Model()
    cache = cache_of(model, tokens=100)
    cache.of((1, 2), (1,))

    for other in range(2, PREFIXES_MET + 3):
        cache.of((other, other), (other,))

    assert cache.of((1, 2), (1,)).tokens == ()
    assert model.runs == []
