"""Robustness: what ought not to change a decision is tried, and each change that it makes is counted."""

import json
from collections.abc import Callable

import pytest

from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.conversation import Conversation, Role
from plano_asgi.decisions import Scores
from plano_asgi.lab.evaluation import Robustness, evaluate, read_cases, robustness, rounds_of
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

CONFIGURATION = """\
model_providers:
  - model: openai/gpt-4o-mini
    default: true
    routing_preferences:
      - {name: code, description: Writing code}
      - {name: prose, description: Writing prose.}
      - {name: sums, description: Adding up}
"""
WORDS = "Please write another little function"
Judge = Callable[[FixedClassifier], dict[str, Robustness]]


def case(text: str, expect: str | None) -> bytes:
    """Return a case with instructions before and an answer after what the user says."""
    said = [("system", "Be brief"), ("user", text), ("assistant", "Which one"), ("user", f"{text} now")]
    return json.dumps(
        {"messages": [{"role": role, "content": words} for role, words in said], "expect": expect}
    ).encode()


CASES = read_cases([case(WORDS, "code"), case("MAKE it SHORT", None)], origin="cases", policies={})


class Reading(FixedClassifier):
    """Takes the first route where a rule says so of what it reads, and none otherwise."""

    def __init__(self, rule: Callable[[str, RoutingPolicy], bool]) -> None:
        """Take the rule, which is given the latest words and the policy."""
        super().__init__({})
        self.rule = rule

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return certainty."""
        names = [preference.name for preference in policy.preferences]
        is_taken = self.rule(conversation[-1].text, policy)
        chances = {name: float(is_taken and name == "code") for name in names}
        return Scores(routes=chances, other=float(not is_taken))


@pytest.fixture
def judge(settings_of: Callable[[str], Settings]) -> Judge:
    """Return what tells how robust a classifier is on the two cases, by the name of the change."""

    def run(classifier: FixedClassifier) -> dict[str, Robustness]:
        """Evaluate it as it is, then changed."""
        settings = settings_of(CONFIGURATION)
        outcomes = evaluate(settings, CASES, classifier=classifier).outcomes
        return {each.change: each for each in robustness(settings, CASES, outcomes, classifier=classifier)}

    return run


def flips(judged: dict[str, Robustness]) -> dict[str, float | None]:
    """Return the share of changed decisions of each change."""
    return {name: each.flips for name, each in judged.items()}


STEADY = {"typos": 0, "lower case": 0, "upper case": 0, "reordered routes": 0, "reworded descriptions": 0}


def test_a_router_that_never_wavers_has_no_flips(judge: Judge) -> None:
    """What decides alike whatever it reads is robust, right or wrong, and is asked for each case in each round."""
    classifier = FixedClassifier({"code": 0.9})

    judged = judge(classifier)

    assert flips(judged) == STEADY
    assert {each.accuracy for each in judged.values()} == {0.5}
    assert [each.rounds for each in judged.values()] == [3, 1, 1, 3, 3]
    assert len(classifier.calls) == (1 + 2) * (1 + 11)  # a round warms up once


@pytest.mark.parametrize(
    ("rule", "change", "share"),
    [
        (lambda text, _: text != text.lower(), "lower case", 1.0),
        (lambda text, _: text != text.upper(), "upper case", 1.0),
        (lambda text, _: text[0] + text[1:].lower() == text, "upper case", 0.5),
        (lambda _, policy: policy.preferences[0].name == "code", "reordered routes", None),
        (lambda _, policy: policy.preferences[0].description == "Writing code", "reworded descriptions", 1.0),
        (lambda _, policy: policy.preferences[1].description.endswith("."), "reworded descriptions", 1 / 3),
        (lambda text, _: text == f"{WORDS} now", "typos", None),
    ],
    ids=["lower", "only-upper", "upper", "order", "any-wording", "full-stop", "typos"],
)
def test_each_change_of_a_decision_is_counted(
    judge: Judge, rule: Callable[[str, RoutingPolicy], bool], change: str, share: float | None
) -> None:
    """A router that goes by what ought not to matter is caught at it, as often as it does."""
    found = flips(judge(Reading(rule)))[change]

    assert found
    assert share is None or found == share


def test_a_failure_is_no_flip(judge: Judge) -> None:
    """Where there is no answer there is no other decision, and nothing is compared."""

    def broken() -> None:
        """Be broken but when warming up."""
        if len(classifier.calls) % 3 != 1:
            raise RuntimeError("broken")

    classifier = FixedClassifier({"code": 0.9}, before=broken)

    judged = judge(classifier)

    assert set(flips(judged).values()) == {None}
    assert {each.accuracy for each in judged.values()} == {0.0}


def test_only_what_the_user_says_is_retyped(settings_of: Callable[[str], Settings]) -> None:
    """Instructions and answers stay, what is expected stays, and so does the policy."""
    policy = settings_of(CONFIGURATION).policy

    (lower,) = rounds_of(policy, CASES)["lower case"]

    assert lower.policy == policy
    said = [(message.role, message.text) for message in lower.cases[0].call.conversation]
    assert said[:2] == [(Role.SYSTEM, "Be brief"), (Role.USER, WORDS.lower())]
    assert said[2:] == [(Role.ASSISTANT, "Which one"), (Role.USER, f"{WORDS.lower()} now")]
    assert [each.expect for each in lower.cases] == ["code", None]


def test_a_policy_is_rewritten_and_means_the_same(settings_of: Callable[[str], Settings]) -> None:
    """Routes keep names and models in any order; descriptions keep their words; a seed repeats it all."""
    policy = settings_of(CONFIGURATION).policy
    rounds = rounds_of(policy, CASES)

    for one in rounds["reordered routes"]:
        assert one.policy != policy
        assert set(one.policy.preferences) == set(policy.preferences)
        assert one.cases == CASES
    assert [[route.description for route in one.policy.preferences] for one in rounds["reworded descriptions"]] == [
        ["Use this for Writing code", "Use this for Writing prose.", "Use this for Adding up"],
        ["Writing code.", "Writing prose", "Adding up."],
        ["writing code", "writing prose.", "adding up"],
    ]
    assert rounds_of(policy, CASES) == rounds
    assert rounds_of(policy, CASES, seed=1)["typos"] != rounds["typos"]


def test_a_policy_without_routes_can_be_changed() -> None:
    """Where there is no route there is nothing to reorder, and no crash."""
    assert [len(rounds) for rounds in rounds_of(RoutingPolicy(), CASES[1:]).values()] == [3, 1, 1, 3, 3]
