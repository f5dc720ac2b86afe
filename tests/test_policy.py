"""Decisions: from scores, preferences and rules to the model that serves a call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano_asgi.conversation import ApiFormat, LLMCall, Message, Role
from plano_asgi.decisions import PolicySource, Reason, RoutingDecision, Scores, Source
from plano_asgi.errors import PolicyRefusedError
from plano_asgi.policy import Rules, Unmatched, checked_inline, decide, undecided
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.providers import ModelCatalog, ModelProvider

DEFAULT = "openai/gpt-4o-mini"
NAMES = ("code", "maths", "chat")
POLICY = RoutingPolicy(
    preferences=tuple(
        RoutingPreference(name=name, description=f"all about {name}", models=(f"openai/{name}", f"spare/{name}"))
        for name in NAMES
    )
)
CATALOG = ModelCatalog(
    providers=(ModelProvider(model=DEFAULT, is_default=True), ModelProvider(model="openai/gpt-4o")),
)
chances = st.floats(0, 1)


def call(model: str | None = None) -> LLMCall:
    """Return a call that names a model, or none."""
    message = Message(role=Role.USER, text="write a parser")
    return LLMCall(api_format=ApiFormat.CHAT_COMPLETIONS, conversation=(message,), model=model)


def decided(
    *routes: float, threshold: float = 0.5, unmatched: Unmatched = Unmatched.DEFAULT, model: str | None = None
) -> RoutingDecision:
    """Return the decision for the chances of the three routes, in their order."""
    scores = Scores(routes=dict(zip(NAMES, routes, strict=True)), other=max(0.0, 1 - sum(routes)))
    rules = Rules(threshold=threshold, default_model=DEFAULT, unmatched=unmatched)
    return decide(call(model), POLICY, scores, rules=rules, source=Source.CACHE, policy_source=PolicySource.INLINE)


def test_the_best_route_above_the_threshold_gives_its_models() -> None:
    """A match carries the route, its models in their order, its confidence, and whence scores and policy came."""
    decision = decided(0.2, 0.7, 0.1)

    assert (decision.route, decision.models) == ("maths", ("openai/maths", "spare/maths"))
    assert (decision.would_use, decision.confidence) == ("openai/maths", 0.7)
    assert (decision.reason, decision.source, decision.policy) == (Reason.MATCHED, Source.CACHE, PolicySource.INLINE)
    assert decision.scores is not None
    assert dict(decision.scores.routes) == {"code": 0.2, "maths": 0.7, "chat": 0.1}


@pytest.mark.parametrize(
    ("confidence", "route"),
    [(0.5, "maths"), (0.49999, None), (1.0, "maths"), (0.0, None)],
    ids=["at-the-threshold", "just-below", "certain", "nothing"],
)
def test_a_route_is_taken_from_the_threshold_on(confidence: float, route: str | None) -> None:
    """A confidence equal to the threshold is enough, and anything less is not."""
    decision = decided(0.0, confidence, 0.0)

    assert decision.route == route
    assert decision.confidence == confidence


def test_no_match_keeps_the_best_confidence_and_uses_the_default() -> None:
    """A call that no route matches has no route and no models, and says how close the best one was."""
    decision = decided(0.1, 0.3, 0.2, model="gpt-4")

    assert (decision.route, decision.models, decision.reason) == (None, (), Reason.NO_MATCH)
    assert (decision.would_use, decision.confidence) == (DEFAULT, 0.3)


@pytest.mark.parametrize(
    ("routes", "route"),
    [((0.5, 0.5, 0.0), "code"), ((0.0, 0.5, 0.5), "maths"), ((0.6, 0.6, 0.6), "code")],
    ids=["first-two", "last-two", "all"],
)
def test_ties_go_to_the_earlier_route(routes: tuple[float, float, float], route: str) -> None:
    """Of equal routes the one that the policy names first is taken."""
    assert decided(*routes).route == route


def test_a_tie_is_broken_by_the_policy_not_by_the_order_of_the_scores() -> None:
    """The policy's order counts, in whatever order the classifier names the routes."""
    scores = Scores(routes={"chat": 0.5, "maths": 0.1, "code": 0.5}, other=0.0)

    decision = decide(
        call(),
        POLICY,
        scores,
        rules=Rules(threshold=0.5, default_model=None),
        source=Source.CLASSIFIER,
        policy_source=PolicySource.CONFIG,
    )

    assert decision.route == "code"


@given(routes=st.tuples(chances, chances, chances), low=chances, high=chances)
def test_raising_the_threshold_never_adds_a_match(routes: tuple[float, float, float], low: float, high: float) -> None:
    """What matches at a high threshold matches the same route at every lower one."""
    low, high = min(low, high), max(low, high)

    lenient, severe = decided(*routes, threshold=low), decided(*routes, threshold=high)

    assert severe.route in {None, lenient.route}


@given(routes=st.tuples(chances, chances, chances), threshold=chances)
def test_every_decision_names_a_model_and_agrees_with_itself(
    routes: tuple[float, float, float], threshold: float
) -> None:
    """A match has a pool whose first model is used; no match has neither pool nor route; the default serves it."""
    decision = decided(*routes, threshold=threshold)

    assert decision.confidence == max(routes)
    if decision.reason is Reason.MATCHED:
        assert decision.route in NAMES
        assert decision.would_use == decision.models[0]
    else:
        assert (decision.route, decision.models, decision.would_use) == (None, (), DEFAULT)


@pytest.mark.parametrize(
    ("unmatched", "model", "default", "would_use"),
    [
        (Unmatched.DEFAULT, "gpt-4", DEFAULT, DEFAULT),
        (Unmatched.DEFAULT, None, DEFAULT, DEFAULT),
        (Unmatched.REQUESTED, "gpt-4", DEFAULT, "gpt-4"),
        (Unmatched.REQUESTED, None, DEFAULT, DEFAULT),
        (Unmatched.REQUESTED, None, None, None),
    ],
    ids=["default", "default-none-named", "requested", "requested-none-named", "requested-no-default"],
)
@pytest.mark.parametrize("reason", [Reason.NO_MATCH, Reason.ERROR, Reason.FORMAT])
def test_an_unmatched_call_gets_what_the_rules_say(
    unmatched: Unmatched, model: str | None, default: str | None, would_use: str | None, reason: Reason
) -> None:
    """Unmatched calls get the default, or under `requested` the model they name, where they name one."""
    rules = Rules(threshold=0.5, default_model=default, unmatched=unmatched)

    decision = undecided(call(model), rules=rules, reason=reason, policy_source=PolicySource.CONFIG)

    assert (decision.reason, decision.would_use, decision.route, decision.models) == (reason, would_use, None, ())
    assert (decision.source, decision.confidence, decision.scores) == (Source.NONE, None, None)


@pytest.mark.parametrize("reason", [Reason.BYPASSED, Reason.NOT_APPLICABLE])
@pytest.mark.parametrize(("model", "would_use"), [("gpt-4", "gpt-4"), (None, DEFAULT)], ids=["named", "none-named"])
def test_a_call_that_is_not_to_be_routed_keeps_its_model(reason: Reason, model: str | None, would_use: str) -> None:
    """Bypassed calls and those that routing does not apply to are served as named, else by the default."""
    rules = Rules(threshold=0.5, default_model=DEFAULT, unmatched=Unmatched.DEFAULT)

    decision = undecided(call(model), rules=rules, reason=reason, policy_source=PolicySource.INLINE)

    assert (decision.would_use, decision.reason, decision.policy) == (would_use, reason, PolicySource.INLINE)


def test_no_match_keeps_the_requested_model() -> None:
    """Under `unmatched: requested` a classified call that matches nothing keeps the model it names."""
    assert decided(0.0, 0.1, 0.0, unmatched=Unmatched.REQUESTED, model="gpt-4").would_use == "gpt-4"


@pytest.mark.parametrize(
    ("patterns", "model", "applies"),
    [
        (("*",), "openai/gpt-4o", True),
        (("auto",), "auto", True),
        (("auto",), "AUTO", False),
        (("auto",), "auto-2", False),
        (("auto", "openai/*"), "openai/gpt-4o", True),
        (("auto", "openai/*"), "anthropic/claude", False),
        (("gpt-?",), "gpt-4", True),
        (("auto",), None, True),
    ],
    ids=["any", "equal", "case", "whole-name", "second-pattern", "no-pattern", "one-character", "none-named"],
)
def test_routing_applies_to_models_that_a_pattern_matches(
    patterns: tuple[str, ...], model: str | None, *, applies: bool
) -> None:
    """Patterns match the whole model name, letter for letter; a call that names no model is always routed."""
    rules = Rules(threshold=0.5, default_model=DEFAULT, applies_to=patterns)

    assert rules.apply_to(call(model)) is applies


def inline(*models: str) -> RoutingPolicy:
    """Return a policy with one route for each model."""
    return RoutingPolicy(
        preferences=tuple(
            RoutingPreference(name=f"route {number}", description="anything", models=(DEFAULT, model))
            for number, model in enumerate(models)
        )
    )


def test_an_inline_policy_of_declared_models_is_allowed() -> None:
    """A policy that chooses among declared models passes, and so does one without routes."""
    checked_inline(inline(DEFAULT, "openai/gpt-4o"), CATALOG, allowed=True)
    checked_inline(RoutingPolicy(), CATALOG, allowed=True)


def test_an_undeclared_model_is_refused_without_being_quoted() -> None:
    """A model that is not declared is refused with 403, by the number of its route and not by its name."""
    with pytest.raises(PolicyRefusedError, match="route 1 ") as caught:
        checked_inline(inline("openai/gpt-4o", "evil/planted"), CATALOG, allowed=True)

    assert (caught.value.status, caught.value.code) == (403, "model_not_allowed")
    assert "planted" not in caught.value.message


def test_a_service_may_refuse_every_inline_policy() -> None:
    """Where inline policies are not allowed, even one that names declared models only is refused with 403."""
    with pytest.raises(PolicyRefusedError) as caught:
        checked_inline(inline(DEFAULT), CATALOG, allowed=False)

    assert (caught.value.status, caught.value.code) == (403, "inline_policy_not_allowed")
