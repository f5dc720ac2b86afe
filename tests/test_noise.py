"""Noise: other ways of saying the same, repeatable by their seed, which change no more than they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano_asgi.lab.noise import led, noisy, recased, reordered, restopped, reworded, unpunctuated, with_typos

TEXT = "Please write a parser for dates, and explain it step by step.\nThanks a lot"
texts = st.text(max_size=80)
seeds = st.integers(0, 2**32 - 1)


def rng(seed: int = 1) -> np.random.Generator:
    """Return a generator."""
    return np.random.default_rng(seed)


@given(text=texts, seed=seeds, share=st.floats(0, 1))
def test_typos_leave_words_and_space_where_they_are(text: str, seed: int, share: float) -> None:
    """Mistyped text has the same number of words between the same white space, each at most a character off."""
    typed = with_typos(text, share, rng(seed))

    assert [len(word) for word in text.split()] == pytest.approx([len(word) for word in typed.split()], abs=1)
    assert [*filter(str.isspace, text)] == [*filter(str.isspace, typed)]
    assert typed == with_typos(text, share, rng(seed))


def test_typos_are_as_many_as_asked_for() -> None:
    """A share of 0 changes nothing; of 1,000 words an eighth mistyped is about an eighth changed."""
    words = "reason " * 1_000

    changed = sum(word != "reason" for word in with_typos(words, 1 / 8, rng()).split())

    assert with_typos(words, 0, rng()) == words
    assert 90 <= changed <= 160


def test_short_words_are_never_mistyped() -> None:
    """Words of three characters and fewer are too short to be told apart when mistyped."""
    assert with_typos("a to the and it", 1, rng()) == "a to the and it"


def test_a_typo_is_a_letter_swapped_lost_doubled_or_a_neighbours() -> None:
    """Every way of mistyping a word happens, and none other: within its first and last letter."""
    forms = {with_typos("code", 1, rng(seed)) for seed in range(200)}

    assert {"cdoe", "cde", "code".replace("o", "oo")} <= forms
    assert forms <= {"cdoe", "cde", "coode", "cide", "cpde", "coed", "coe", "codde", "cose", "cofe"}


@given(text=st.text(alphabet=st.characters(codec="ascii"), max_size=40), seed=seeds)
def test_recased_text_differs_in_case_only(text: str, seed: int) -> None:
    """Casing changes no letter for another."""
    assert recased(text, rng(seed)).lower() == text.lower()


def test_unpunctuated_text_keeps_what_is_inside_words() -> None:
    """Marks at the ends of words go; those inside a number or a name stay."""
    assert unpunctuated("Well, is 3.5 more than e.g. 3,4? Yes!") == "Well is 3.5 more than e.g 3,4 Yes"


def test_noise_comes_three_times_in_ten() -> None:
    """Most texts are left as they are, and those that are not differ in the ways of hasty people."""
    kept = sum(noisy(TEXT, rng(seed)) == TEXT for seed in range(500))

    assert 330 <= kept <= 400


def test_reworded_routes_are_repeatable() -> None:
    """A seed gives the same name and description again, and different ones give several forms of both."""
    forms = [reworded("code_generation", "writing functions.", rng(seed)) for seed in range(100)]

    assert forms == [reworded("code_generation", "writing functions.", rng(seed)) for seed in range(100)]
    assert len({name for name, _ in forms}) > 3
    assert len({description for _, description in forms}) > 4


@pytest.mark.parametrize(
    ("description", "other"),
    [("writing code", "writing code."), ("writing code.", "writing code")],
    ids=["gets", "loses"],
)
def test_a_full_stop_is_given_or_taken(description: str, other: str) -> None:
    """A description gets a full stop where it had none, and loses it where it had one; a lead goes before it."""
    assert restopped(description) == other
    assert led(description) == f"Use this for {description}"


@given(items=st.lists(st.integers(), unique=True, max_size=6), seed=seeds)
def test_reordered_items_are_the_same_in_another_order(items: list[int], seed: int) -> None:
    """Nothing is lost or added, and where there can be another order, it is another."""
    other = reordered(items, rng(seed))

    assert sorted(other) == sorted(items)
    assert (list(other) != items) == (len(items) > 1)
