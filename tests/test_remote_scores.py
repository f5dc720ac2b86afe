"""From log-probabilities to scores: alternatives go to the routes they point to, and the server's choice stands."""

import json
import math
from collections.abc import Mapping
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano_asgi.classify.remote.completions import read_completion
from plano_asgi.classify.remote.scoring import LEAST_OF_THE_ANSWER, Step, certain, scores_of

ROUTES: Final = ("code_generation", "code_review", "maths")


def steps(*positions: tuple[str, float] | tuple[str, float, Mapping[str, float]]) -> list[Step]:
    """Return the steps of tokens with their probabilities, and those of their alternatives."""
    made = []
    for token, chance, *others in positions:
        chances = {token: chance, **(others[0] if others else {})}
        made.append(Step(token.encode(), {text.encode(): each for text, each in chances.items()}))
    return made


def test_an_answer_without_alternatives_has_all() -> None:
    """Where the server named no alternative, its choice has probability 1."""
    scores = scores_of(steps(('{"', 0.9), ("route", 1.0), ('": "', 1.0), ("maths", 0.8), ('"}', 1.0)), "maths", ROUTES)

    assert scores == certain("maths", ROUTES)


def test_alternatives_go_to_the_routes_they_point_to() -> None:
    """Probabilities along the walk multiply; each alternative's goes to the one candidate that it can become."""
    walked = steps(
        ('{"', 1.0),
        ("route", 1.0),
        ('":', 1.0),
        (' "', 1.0),
        ("code", 0.8, {"math": 0.15, "other": 0.05}),
        ("_gen", 0.75, {"_re": 0.25}),
        ("eration", 1.0, {"maths": 0.5}),
    )

    scores = scores_of(walked, "code_generation", ROUTES)

    assert scores.routes == pytest.approx({"code_generation": 0.6, "code_review": 0.2, "maths": 0.15})
    assert scores.other == pytest.approx(0.05)


def test_alternatives_that_no_answer_begins_with_are_left_out() -> None:
    """What could never become an answer takes nothing from anybody, as if a grammar had forbidden it."""
    walked = steps(('{"', 0.5, {"Sure": 0.4}), ('route": "', 1.0), ("maths", 0.6, {"code_r": 0.2, "poems": 0.2}))

    scores = scores_of(walked, "maths", ROUTES)

    assert scores.routes == pytest.approx({"code_generation": 0.0, "code_review": 0.25, "maths": 0.75})


def test_another_way_to_write_the_same_tells_nothing() -> None:
    """An alternative that leads to every candidate, such as a single quote, leaves their proportions as they are."""
    plain = steps(('{"', 1.0), ('route": "', 1.0), ("maths", 0.75, {"code_r": 0.25}))
    mixed = steps(('{"', 0.5, {"{'": 0.3, "{": 0.2}), ('route": "', 1.0), ("maths", 0.75, {"code_r": 0.25}))

    assert scores_of(mixed, "maths", ROUTES).routes == pytest.approx(scores_of(plain, "maths", ROUTES).routes)


def test_an_alternative_that_several_routes_begin_with_is_shared_in_proportion() -> None:
    """`code` leads to two routes: they share it as what is theirs alone says, evenly where nothing does."""
    even = steps(('{"route": "', 1.0), ("maths", 0.6, {"code": 0.4}))
    weighed = steps(('{"route": "', 1.0), ("maths", 0.6, {"code": 0.2, "code_gen": 0.15, "code_rev": 0.05}))

    assert scores_of(even, "maths", ROUTES).routes == pytest.approx(
        {"code_generation": 0.2, "code_review": 0.2, "maths": 0.6}
    )
    assert scores_of(weighed, "maths", ROUTES).routes == pytest.approx(
        {"code_generation": 0.3, "code_review": 0.1, "maths": 0.6}
    )


def test_a_route_that_begins_like_another_is_told_from_it() -> None:
    """The end of the shorter name decides between it and the longer one."""
    walked = steps(('{"route": "', 1.0), ("code", 1.0), ('"}', 0.75, {"_review": 0.25}))

    scores = scores_of(walked, "code", ("code", "code_review"))

    assert scores.routes == pytest.approx({"code": 0.75, "code_review": 0.25})
    assert scores.other == 0.0


@pytest.mark.parametrize("none", ["other", '"', "null"], ids=["other", "empty", "null"])
def test_every_way_to_say_no_is_other(none: str) -> None:
    """`other`, the empty name and null are alternatives that point to no route."""
    before = '{"route": ' if none == "null" else '{"route": "'

    scores = scores_of(
        steps((before, 1.0), ("maths" if before[-1] == '"' else '"maths', 0.7, {none: 0.3})), "maths", ROUTES
    )

    assert scores.other == pytest.approx(0.3)


@pytest.mark.parametrize(
    "before", [(), ("```", "json\n"), ("Sure", ": "), ("\n",)], ids=["nothing", "fence", "words", "newline"]
)
def test_what_stands_before_the_object_is_passed_over(before: tuple[str, ...]) -> None:
    """The walk begins with the bracket, whatever the model wrote first and might have written instead."""
    leading = [(token, 0.5, {'{"': 0.5}) for token in before]
    walked = steps(*leading, (' {"', 1.0), ('route": "', 1.0), ("maths", 0.8, {"other": 0.2}))

    assert scores_of(walked, "maths", ROUTES).other == pytest.approx(0.2)


def test_tokens_that_split_a_character_are_read_by_their_bytes() -> None:
    """Alternatives that differ within one character of UTF-8 go to the right routes."""
    first, second = "é".encode()
    walked = [
        Step(b'{"route": "', {b'{"route": "': 1.0}),
        Step(bytes([first]), {bytes([first]): 1.0}),
        Step(bytes([second]), {bytes([second]): 0.6, "è".encode()[1:]: 0.4}),
    ]

    assert scores_of(walked, "é", ("é", "è")).routes == pytest.approx({"é": 0.6, "è": 0.4})


def test_bytes_of_a_token_count_before_its_text() -> None:
    """A part of a character has no text of its own: where a server tells a token's bytes, those are its."""
    told = {"token": "\ufffd", "bytes": [0xC3], "logprob": 0.0, "top_logprobs": []}
    plain = {"token": "é", "logprob": 0.0}
    body = {"choices": [{"message": {"content": "é"}, "logprobs": {"content": [told, plain]}}]}

    assert [step.token for step in read_completion(json.dumps(body).encode()).steps] == [b"\xc3", "é".encode()]


@pytest.mark.parametrize("answer", ["maths", None], ids=["route", "none"])
def test_the_servers_choice_has_more_than_half(answer: str | None) -> None:
    """A choice by less than half still stands at the default threshold; the others keep their proportions."""
    chosen = answer or "other"
    others = {"maths": 0.3, "other": 0.3, "code_g": 0.2, "code_r": 0.1}
    others.pop(chosen)

    scores = scores_of(steps(('{"route": "', 1.0), (chosen, 0.4, others)), answer, ROUTES)

    assert (scores.other if answer is None else scores.routes[answer]) == LEAST_OF_THE_ANSWER > 0.5
    assert scores.routes["code_generation"] == pytest.approx(2 * scores.routes["code_review"])
    assert sum([*scores.routes.values(), scores.other]) == pytest.approx(1)


def test_a_sure_choice_keeps_its_probability() -> None:
    """What has more than half is as the model said."""
    scores = scores_of(steps(('{"route": "', 1.0), ("other", 0.7, {"maths": 0.3})), None, ROUTES)

    assert [scores.other, scores.routes["maths"]] == pytest.approx([0.7, 0.3])


TOKENS: Final = st.sampled_from(
    [b"{", b'{"', b"route", b'": "', b"code", b"_", b"maths", b'"}', b"other", b"", b"\xff"]
)
CHANCES: Final = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 1e-320])


@given(
    walked=st.lists(st.builds(Step, TOKENS, st.dictionaries(TOKENS, CHANCES, max_size=5)), max_size=8),
    answer=st.sampled_from([*ROUTES, None]),
)
def test_any_steps_give_probabilities_that_sum_to_1(walked: list[Step], answer: str | None) -> None:
    """Whatever a server says of its tokens, the scores are probabilities, and its choice has the most."""
    scores = scores_of(walked, answer, ROUTES)

    chances = [*scores.routes.values(), scores.other]
    assert list(scores.routes) == list(ROUTES)
    assert all(0 <= chance <= 1 for chance in chances)
    assert math.fsum(chances) == pytest.approx(1)
    assert max(chances) == (scores.other if answer is None else scores.routes[answer])
