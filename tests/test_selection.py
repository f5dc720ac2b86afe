"""Which model of a route is tried first, and what a switch may cost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano_asgi.assembly import build_router
from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
from plano_asgi.decisions import RoutingDecision, Source
from plano_asgi.policy.selection import answer_s, cost_of, ranked
from plano_asgi.policy.switching import SwitchBudget, weighed
from plano_asgi.prices import Price
from plano_asgi.providers import ModelCatalog, ModelProvider
from plano_asgi.router import ModelSpeeds
from plano_asgi.sessions import SwitchReason
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

SettingsOf = Callable[[str], Settings]
NAN: Final = float("nan")
CHEAP: Final = Price(input=1, output=2)
CACHED: Final = Price(input=10, output=30, cache_read=1)


@pytest.mark.parametrize(
    ("measures", "order"),
    [
        ({"a": 3, "b": 1, "c": 2}, "bca"),
        ({"a": 1, "b": 1, "c": 0}, "cab"),
        ({"b": 1}, "bac"),
        ({}, "abc"),
        ({"a": NAN, "c": 5}, "cab"),
        ({"a": 0, "b": NAN, "c": 0}, "acb"),
    ],
    ids=["all-known", "equals-keep-their-order", "unknown-last", "nobody-known", "nan-is-unknown", "zero-is-known"],
)
def test_least_measure_comes_first_and_the_unknown_last(measures: dict[str, float], order: str) -> None:
    """What is known is ordered by it, the rest follows in the order as written."""
    assert ranked("abc", measures.get) == tuple(order)


@given(st.dictionaries(st.text(max_size=2), st.none() | st.floats(), max_size=9))
def test_pool_keeps_its_members(measures: dict[str, float | None]) -> None:
    """Whatever is known of models, none is lost and none is there twice."""
    assert sorted(ranked(list(measures), measures.__getitem__)) == sorted(measures)


def test_price_is_that_of_both_directions() -> None:
    """A model is as dear as what it reads and what it writes together; one without a price is not compared."""
    assert (cost_of(CHEAP), cost_of(None)) == (3, None)


@pytest.mark.parametrize(
    ("first_token_s", "token_s", "expected"),
    [(None, None, None), (1.0, None, 1.0), (None, 0.01, 2.0), (1.0, 0.01, 3.0)],
    ids=["nothing", "beginning", "pace", "both"],
)
def test_speed_is_that_of_a_typical_answer(
    first_token_s: float | None, token_s: float | None, expected: float | None
) -> None:
    """A model is as slow as an answer of two hundred tokens."""
    assert answer_s(first_token_s=first_token_s, token_s=token_s) == expected


def test_speeds_follow_the_latest_answers_and_stay_bounded() -> None:
    """A model that has become slow is known as such soon; what nobody declares is not noted."""
    speeds = ModelSpeeds(ModelCatalog(providers=(ModelProvider(model="a/b"),)))
    speeds.note("a/b", first_token_s=1.0, token_s=None)
    speeds.note("x/y", first_token_s=1.0, token_s=None)
    first = speeds.answer_s("a/b")
    for _ in range(20):
        speeds.note("a/b", first_token_s=5.0, token_s=None)

    assert (first, speeds.answer_s("x/y")) == (1.0, None)
    assert speeds.answer_s("a/b") == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "reason", "spent", "baseline"),
    [
        ({"is_same": True}, SwitchReason.SAME, 0, 1),
        ({"after": Price(input=1, output=9)}, SwitchReason.FREE, 0, 1),
        ({"after": Price(input=1.5, output=9)}, SwitchReason.WITHIN_BUDGET, 0.5, 1),
        ({"after": Price(input=1.6, output=9)}, SwitchReason.OVER_BUDGET, 0, 1),
        ({"most_pct": 0, "after": Price(input=1.1, output=9)}, SwitchReason.OVER_BUDGET, 0, 1),
        ({"is_warm": False, "after": Price(input=9, output=9)}, SwitchReason.FREE, 0, 10),
        ({"after": None}, SwitchReason.NO_PRICE, 0, 1),
        ({"before": None}, SwitchReason.NO_PRICE, 0, 0),
        ({"before": None, "is_same": True}, SwitchReason.SAME, 0, 0),
        (
            {"budget": SwitchBudget(spent_usd=0.2, baseline_usd=1), "after": Price(input=1.7, output=9)},
            SwitchReason.WITHIN_BUDGET,
            0.9,
            2,
        ),
        (
            {"budget": SwitchBudget(spent_usd=0.4, baseline_usd=1), "after": Price(input=1.7, output=9)},
            SwitchReason.OVER_BUDGET,
            0.4,
            2,
        ),
    ],
    ids=[
        "same",
        "cheaper",
        "within",
        "over",
        "none-allowed",
        "cache-lost-anyway",
        "no-price-after",
        "no-price-before",
        "same-without-price",
        "saved-up",
        "spent-already",
    ],
)
def test_switch_is_weighed_by_what_is_lost(
    changes: dict[str, Any], reason: SwitchReason, spent: float, baseline: float
) -> None:
    """A million tokens that cost a dollar to go on with, and up to half a dollar of every one for switches."""
    said: dict[str, Any] = {
        "tokens": 1_000_000,
        "before": CACHED,
        "after": Price(input=20, output=60),
        "is_same": False,
        "is_warm": True,
        "budget": SwitchBudget(),
        "most_pct": 50,
    }

    told = weighed(**{**said, **changes})

    assert told.reason is reason
    assert told.budget.spent_usd == pytest.approx(spent)
    assert told.budget.baseline_usd == pytest.approx(baseline)


amounts = st.none() | st.builds(
    Price, input=st.floats(0, 100), output=st.just(1.0), cache_read=st.none() | st.floats(0, 100)
)
turns = st.tuples(st.integers(0, 10**6), amounts, amounts, st.booleans(), st.booleans())


@given(told=st.lists(turns, max_size=30), most_pct=st.floats(0, 100))
def test_spend_never_passes_its_cap(told: list[tuple[int, Any, Any, bool, bool]], most_pct: float) -> None:
    """Over any course of turns and prices, switches have cost no more than their share of never switching."""
    budget = SwitchBudget()
    for tokens, before, after, is_same, is_warm in told:
        budget = weighed(
            tokens=tokens,
            before=before,
            after=before if is_same else after,
            is_same=is_same,
            is_warm=is_warm,
            budget=budget,
            most_pct=most_pct,
        ).budget

        assert budget.spent_usd <= budget.baseline_usd * most_pct / 100 * (1 + 1e-9)


POOL: Final = """
model_providers:
  - {model: a/dear, default: true}
  - {model: b/unknown}
  - {model: c/cheap}
prices:
  a/dear: {input: 10, output: 30, cache_read: 1}
  c/cheap: {input: 1, output: 2}
routing_preferences:
  - name: work
    description: work of all kinds
    models: [b/unknown, a/dear, c/cheap]
    selection_policy: {prefer: PREFER}
"""


def call_of(*said: str, **more: Any) -> LLMCall:
    """Return a chat in which the user has said all that."""
    conversation = tuple(Message(role=Role.USER, text=text) for text in said)
    return LLMCall(api_format=ApiFormat.CHAT_COMPLETIONS, conversation=conversation, **more)


@pytest.mark.parametrize(
    ("prefer", "order"),
    [
        ("none", "b/unknown a/dear c/cheap"),
        ("cheapest", "c/cheap a/dear b/unknown"),
        ("fastest", "a/dear b/unknown c/cheap"),
    ],
    ids=["none", "cheapest", "fastest"],
)
def test_pool_is_ordered_as_its_selection_policy_says(prefer: str, order: str, settings_of: SettingsOf) -> None:
    """A decision's models stand in the order in which they are tried, and the first of them is used."""
    router = build_router(settings_of(POOL.replace("PREFER", prefer)), classifier=FixedClassifier({"work": 1.0}))
    assert router.selecting
    router.selecting.speeds.note("a/dear", first_token_s=0.5, token_s=0.01)

    decision = router.route(call_of("work"))

    assert decision.models == tuple(order.split())
    assert decision.would_use == decision.models[0]
    router.close()


def test_turn_keeps_its_model_when_speeds_change(settings_of: SettingsOf) -> None:
    """What becomes faster in the middle of a turn is for the next one."""
    router = build_router(settings_of(POOL.replace("PREFER", "fastest")), classifier=FixedClassifier({"work": 1.0}))
    assert router.selecting
    first = router.route(call_of("work"))
    router.selecting.speeds.note("c/cheap", first_token_s=0.1, token_s=0.01)
    loop = (
        *call_of("work").conversation,
        Message(role=Role.ASSISTANT, text="", tool_calls=("look",)),
        Message(role=Role.TOOL, text="ok"),
    )

    within = router.route(LLMCall(api_format=ApiFormat.CHAT_COMPLETIONS, conversation=loop))
    after = router.route(call_of("work", "more work"))

    assert (within.would_use, within.source) == (first.would_use, Source.SESSION)
    assert after.would_use == "c/cheap"
    router.close()


class Undecided(FixedClassifier):
    """Takes the first route for the first words, and the other one for all that follow."""

    def classify(self, conversation: Any, policy: Any, **more: Any) -> Any:
        """Return certainty."""
        self._chances = {"dear" if len(conversation) > 1 else "cheap": 1.0}
        return super().classify(conversation, policy, **more)


BUDGET: Final = """
model_providers:
  - {model: a/dear, default: true}
  - {model: c/cheap}
prices:
  a/dear: {input: 10, output: 30}
  c/cheap: {input: 1, output: 2, cache_read: 0.1}
routing: {switch_budget_pct: 10.0}
routing_preferences:
  - {name: cheap, description: little work, models: [c/cheap]}
  - {name: dear, description: much work, models: [a/dear]}
"""


@pytest.mark.parametrize(
    ("asked", "model", "reason"),
    [(None, "c/cheap", SwitchReason.OVER_BUDGET), (0.0, "c/cheap", SwitchReason.OVER_BUDGET)],
    ids=["by-the-setting", "by-the-call"],
)
def test_switch_beyond_the_budget_is_not_made(
    asked: float | None, model: str, reason: SwitchReason, settings_of: SettingsOf
) -> None:
    """A conversation stays where it is while another model would cost more than its share, and the decision says so."""
    router = build_router(settings_of(BUDGET), classifier=Undecided({}))
    router.route(call_of("work " * 400))

    decision = anyio.run(router.aroute, call_of("work " * 400, "more", switch_budget_pct=asked))

    assert told(decision) == (model, reason, False)
    router.close()


@pytest.mark.parametrize(
    ("tokenizer", "reason"),
    [("rule", SwitchReason.WITHIN_BUDGET), ("words", SwitchReason.OVER_BUDGET)],
    ids=["by-the-rule", "by-its-own-tokenizer"],
)
def test_switch_costs_what_the_models_themselves_count(
    tokenizer: str, reason: SwitchReason, settings_of: SettingsOf, tokenizer_json: Path
) -> None:
    """Rare characters are many tokens of a tokenizer that does not know them: what seems affordable is too dear."""
    asked = tokenizer_json if tokenizer == "words" else "rule"
    text = BUDGET.replace("model: a/dear", f"model: a/dear, tokenizer: {asked}")
    text = text.replace("{input: 10, output: 30}", "{input: 1.05, output: 30}").replace(", cache_read: 0.1", "")
    router = build_router(settings_of(text), classifier=Undecided({}))
    assert router.selecting
    router.selecting.tokens.load()
    said = "日本" * 400
    router.route(call_of(said))

    decision = anyio.run(router.aroute, call_of(said, "more"))

    assert told(decision)[1] == reason
    router.close()


def test_switch_without_prices_is_made(settings_of: SettingsOf) -> None:
    """Where nobody knows what a model costs, the decision stands and says why."""
    text = BUDGET.replace("  a/dear: {input: 10, output: 30}\n", "")
    router = build_router(settings_of(text), classifier=Undecided({}))
    router.route(call_of("work"))

    assert told(router.route(call_of("work", "more"))) == ("a/dear", SwitchReason.NO_PRICE, True)
    router.close()


def test_turn_without_a_budget_forgets_nothing_that_was_spent(settings_of: SettingsOf) -> None:
    """Where clients set the budget of some turns alone, a turn of theirs knows what all before it have cost."""
    router = build_router(
        settings_of(BUDGET.replace("routing: {switch_budget_pct: 10.0}\n", "")), classifier=Undecided({})
    )
    said = ["work " * 400]
    spent = []

    for budget in (None, 10_000.0, None, None, 10.0):
        decision = anyio.run(router.aroute, call_of(*said, switch_budget_pct=budget))
        assert decision.session
        spent.append((decision.session.spent_usd, decision.session.baseline_usd))
        said.append("more")

    _, (switched, before), *_, (total, baseline) = spent
    assert total == switched > 0
    assert baseline > before > 0
    router.close()


def told(decision: RoutingDecision) -> tuple[str | None, SwitchReason | None, bool]:
    """Return what a decision tells of a switch."""
    assert decision.session
    return decision.would_use, decision.session.switch, decision.session.is_switched
