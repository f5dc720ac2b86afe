"""What a generative router wrote: every way to write a route is read, and nothing else is taken for one."""

import json
from contextlib import suppress
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano_asgi.classify.answers import RouteAnswer, read_answer
from plano_asgi.errors import UnreadableAnswerError
from plano_asgi.preferences import name_fault

ROUTES: Final = ("code", "code_review", "it's fine", 'say "hi"', "a}b", "back\\slash", "Übersetzung", "x'} y", "null")
NAMES: Final = st.text(min_size=1, max_size=64).filter(lambda name: name_fault(name) is None and name == name.strip())


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ('{"route": "code"}', "code"),
        ("{'route': 'code'}", "code"),
        ('{"route":"code"}', "code"),
        ('\n { "route" : "code" } \n', "code"),
        ('{"route": " code "}', "code"),
        ('{"route": "code"', "code"),
        ('{"route": "code"}<|im_end|>', "code"),
        ('```json\n{"route": "code"}\n```', "code"),
        ("```\n{'route': 'code'}\n```\n", "code"),
        ('The best one is {"route": "code"}, I think.', "code"),
        ("{'route': 'code'} because it's code", "code"),
        ('{"reason": "it is about code", "route": "code"}', "code"),
        ('{"answer": {"route": "code"}}', "code"),
        ('{route: "code"}', "code"),
        ("code", "code"),
        ('"code"', "code"),
        ("`code`", "code"),
        ('{"route": "code_review"}', "code_review"),
        ("{'route': 'it's fine'}", "it's fine"),
        ("{'route': 'it\\'s fine'}", "it's fine"),
        ('{"route": "it\'s fine"}', "it's fine"),
        ("""{'route': "it's fine"}""", "it's fine"),
        ('{"route": "say \\"hi\\""}', 'say "hi"'),
        ('{"route": "say "hi""}', 'say "hi"'),
        ("{'route': 'a}b'}", "a}b"),
        ("{'route': 'x'} y'}", "x'} y"),
        ('{"route": "back\\\\slash"}', "back\\slash"),
        ('{"route": "\\u00dcbersetzung"}', "Übersetzung"),
        ('{"route": "Übersetzung"}', "Übersetzung"),
        ('{"route": "null"}', "null"),
        ('first {"route": "code"} then {"route": "null"}', "code"),
        ('{"route": 5} or rather {"route": "code"}', "code"),
    ],
)
def test_route_is_read_however_it_is_written(text: str, route: str) -> None:
    """JSON, Python's way, fences, words around, unescaped quotes: a declared route is found."""
    assert read_answer(text, ROUTES) == RouteAnswer(route)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "other",
        '{"route": "other"}',
        "{'route': 'other'}",
        '{"route": ""}',
        "{'route': ''}",
        '{"route": null}',
        "{'route': None}",
        '{"route":null, "why": "code"}',
        '```json\n{"route": "other"}\n```',
    ],
)
def test_no_route_is_an_honest_no(text: str) -> None:
    """Nothing, null, the empty name and `other` say that no route fits."""
    assert read_answer(text, ROUTES) == RouteAnswer(None)


@pytest.mark.parametrize(
    "text",
    [
        '{"route": "codes"}',
        "{'route': 'CODE'}",
        '{"route": "Other"}',
        "{'route': 'it's not'}",
        '{"route": "\\ud800"}',
        '{"route": "code, code_review"}',
        '{"route": "cod\\u0000e"}',
    ],
)
def test_name_that_the_policy_lacks_is_no_match_and_said_to_be_unknown(text: str) -> None:
    """A route that is not declared is never chosen, and not taken for an honest no."""
    assert read_answer(text, ROUTES) == RouteAnswer(None, is_unknown=True)


@pytest.mark.parametrize(
    "text",
    [
        "I cannot help with that.",
        '{"route": "co',
        "{'route': 'cod",
        '{"route": 5}',
        '{"route": ["code"]}',
        '{"route":',
        '{"route": {"name": "code"}}',
        "[]",
        "{",
        "route code",
        "the route: code",
        "null and void",
        "<html>" * 2000,
    ],
)
def test_text_that_decides_nothing_is_unreadable(text: str) -> None:
    """Nonsense and answers that were cut short are told apart from an honest no, and are not quoted."""
    with pytest.raises(UnreadableAnswerError) as caught:
        read_answer(text, ROUTES)

    assert text not in str(caught.value)


@given(names=st.lists(NAMES, min_size=1, max_size=5, unique=True), data=st.data())
def test_every_legal_name_is_read_back(names: list[str], data: st.DataObject) -> None:
    """Whatever a route is called, an answer that names it in JSON, or as Python would, is read as it."""
    name = data.draw(st.sampled_from(names))

    written = [json.dumps({"route": name}), json.dumps({"route": name}, ensure_ascii=False), f"{{'route': '{name}'}}"]

    assert [read_answer(text, names).route for text in written] == [name] * 3


@given(
    text=st.text()
    | st.text(alphabet="{}[]\"'`\\:, \nroutecd<|>", max_size=200)
    | st.builds("{{'route': {}".format, st.text(alphabet="\"'\\}{, cod", max_size=50))
)
def test_any_text_has_a_declared_route_or_none_or_is_unreadable(text: str) -> None:
    """No text makes the reader raise anything else, or answer a route that is not declared."""
    with suppress(UnreadableAnswerError):
        answer = read_answer(text, ROUTES)

        assert answer.route is None or answer.route in ROUTES
        assert not (answer.is_unknown and answer.route)


@pytest.mark.parametrize(
    "part", ["{'route': '", '{"route": {"a":', "[", '"route":"', "{'route': ' ' ' ", '{"route":[[']
)
def test_hostile_text_is_read_in_bounded_time(part: str) -> None:
    """Megabytes of half an answer are given up after the first few thousand characters."""
    with suppress(UnreadableAnswerError):
        assert read_answer(part * 300_000, ROUTES).route is None
