"""Calibration: confidence is corrected as fitted, the fit finds what is there, and nothing flatters it."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plano_asgi.assembly import build_router, build_rules, calibration_text
from plano_asgi.classify.cascade.band import Band
from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import PolicySource, RoutingDecision, Scores, Source
from plano_asgi.errors import CasesError, ConfigurationError
from plano_asgi.lab.calibration.band import choose_band
from plano_asgi.lab.calibration.calibrating import calibrate
from plano_asgi.lab.calibration.fitting import Fit, cross_validated, fit
from plano_asgi.lab.calibration.objective import Objective
from plano_asgi.lab.evaluation import Case, Outcome, figures_of, redecided
from plano_asgi.policy import Calibration, Rules, decide, tempered
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier, routed_by

NAMES = ("code", "prose")
POLICY = RoutingPolicy(
    preferences=tuple(RoutingPreference(name=name, description=name, models=(f"openai/{name}",)) for name in NAMES)
)
CONFIGURATION = """\
model_providers:
  - model: openai/gpt-4o-mini
    default: true
    routing_preferences:
      - {name: code, description: writing code}
      - {name: prose, description: writing prose}
"""
FITTED = Calibration(
    classifier="fixed", temperature=2.0, threshold=0.3, thresholds={"code": 0.6}, cases=40, date="2026-01-31"
)
CALL = LLMCall.from_text("write a parser")
chances = st.tuples(*[st.floats(1e-3, 1)] * 3)
temperatures = st.floats(0.05, 20)


def scores_of(*weights: float) -> Scores:
    """Return scores in the proportion of the weights, the last of which is that of no route."""
    *routes, other = (weight / sum(weights) for weight in weights)
    return Scores(routes=dict(zip(NAMES, routes, strict=True)), other=other)


def outcome(expect: str | None, scores: Scores) -> Outcome:
    """Return what a router with a threshold of 0.5 makes of scores."""
    bare = Outcome(expect=expect, route=None, confidence=None, elapsed_ms=1, scores=scores)
    return redecided(bare, Rules(threshold=0.5, default_model=None))


@given(weights=chances, temperature=temperatures)
def test_temperature_changes_how_sure_scores_are_and_no_more(
    weights: tuple[float, float, float], temperature: float
) -> None:
    """Probabilities stay probabilities in the same order; above 1 the likeliest is less likely, below 1 more."""
    scores = scores_of(*weights)
    before, after = [*scores.routes.values(), scores.other], tempered(scores, temperature)
    now = [*after.routes.values(), after.other]

    assert sum(now) == pytest.approx(1)
    assert all(now[a] <= now[b] + 1e-12 for a, b in product(range(3), repeat=2) if before[a] < before[b])
    assert (max(now) - max(before)) * (1 - temperature) >= -1e-9


@given(weights=chances, first=st.floats(0.5, 2), second=st.floats(0.5, 2))
def test_temperatures_multiply(weights: tuple[float, float, float], first: float, second: float) -> None:
    """Two corrections in turn are one, and going back leads back."""
    scores = scores_of(*weights)

    twice, once = tempered(tempered(scores, first), second), tempered(scores, first * second)

    assert dict(twice.routes) == pytest.approx(dict(once.routes), abs=1e-3)  # chances near 0 have a floor


def test_temperature_of_one_changes_nothing() -> None:
    """Scores that need no correction are handed on as they are, even those that do not sum to 1."""
    scores = Scores(routes={"code": 0.0, "prose": 0.0}, other=0.0)

    assert tempered(scores, 1.0) is scores


def test_certainty_can_be_doubted() -> None:
    """An answer of 1 and 0, as a generated one has, gets less sure with temperature, and stays the likeliest."""
    doubted = tempered(Scores(routes={"code": 1.0, "prose": 0.0}, other=0.0), 4.0)

    assert 0.9 < doubted.routes["code"] < 0.95
    assert doubted.other == doubted.routes["prose"] > 0.02


def test_who_gave_the_scores_is_still_known() -> None:
    """What scores bring along stays with them."""
    scores = Scores(routes={"code": 0.6, "prose": 0.1}, other=0.3, stage="embedded")

    assert tempered(scores, 2.0).stage == "embedded"


def decided(scores: Scores, source: PolicySource = PolicySource.CONFIG, temperature: float = 1.0) -> RoutingDecision:
    """Return the decision where code needs 0.8 and all else 0.3."""
    rules = Rules(threshold=0.3, default_model="openai/o", temperature=temperature, thresholds={"code": 0.8})
    return decide(CALL, POLICY, scores, rules=rules, source=Source.CLASSIFIER, policy_source=source)


@pytest.mark.parametrize(
    ("code", "prose", "route"),
    [(0.8, 0.1, "code"), (0.79, 0.1, None), (0.45, 0.4, None), (0.3, 0.35, "prose"), (0.1, 0.29, None)],
    ids=["reaches-its-own", "misses-its-own", "no-second-best", "reaches-that-of-all", "misses-that-of-all"],
)
def test_the_best_route_has_to_reach_its_own_threshold(code: float, prose: float, route: str | None) -> None:
    """A route without a threshold of its own goes by that of all; where the best misses, no other is taken."""
    assert decided(Scores(routes={"code": code, "prose": prose}, other=0.1)).route == route


def test_a_route_of_an_inline_policy_is_another() -> None:
    """A caller's own route of the same name does not go by what was fitted for ours."""
    scores = Scores(routes={"code": 0.5, "prose": 0.1}, other=0.4)

    assert decided(scores).route is None
    assert decided(scores, PolicySource.INLINE).route == "code"


def test_a_decision_tells_the_corrected_confidence() -> None:
    """What is decided by is what is shown."""
    decision = decided(scores_of(0.7, 0.2, 0.1), temperature=0.5)

    assert decision.route == "code"
    assert decision.confidence == pytest.approx(0.49 / 0.54)
    assert decision.scores == tempered(scores_of(0.7, 0.2, 0.1), 0.5)


Load = Callable[..., Settings]


@pytest.fixture
def calibrated(settings_of: Callable[[str], Settings], tmp_path: Path) -> Load:
    """Return what makes settings that name a calibration file with this content."""

    def load(content: str = calibration_text(FITTED), more: str = "") -> Settings:
        """Write it, and load the settings."""
        path = tmp_path / "calibration.json"
        path.write_text(content, encoding="utf-8")
        return settings_of(f"{CONFIGURATION}classifier: {{calibration: {path}}}\n{more}")

    return load


def test_the_router_decides_by_the_calibration(calibrated: Load) -> None:
    """Temperature, threshold and thresholds are those of the file, and the answer shows it."""
    router = build_router(calibrated(), classifier=FixedClassifier({"code": 0.9, "prose": 0.05}))

    decision = router.route(CALL)
    router.close()

    assert (router.rules.temperature, router.rules.threshold) == (2.0, 0.3)
    assert dict(router.rules.thresholds) == {"code": 0.6}
    assert decision.confidence == pytest.approx(0.9**0.5 / (0.9**0.5 + 2 * 0.05**0.5))
    assert decision.route == "code"


def test_a_rule_that_stands_in_for_the_classifier_is_not_corrected(calibrated: Load) -> None:
    """A test of a service that is calibrated gets the routes that it asks for, as certain as it says them."""
    router = build_router(calibrated(said(temperature=20.0)), classifier=FixedClassifier({}))

    with routed_by({"parser": "code"}):
        decision = router.route(CALL)
    router.close()

    assert (decision.route, decision.confidence) == ("code", 1.0)


def test_a_threshold_that_is_set_wins_over_all_that_were_fitted(calibrated: Load) -> None:
    """`routing.threshold` is one for all routes; the temperature holds all the same."""
    rules = build_rules(calibrated(more="routing: {threshold: 0.9}"), FixedClassifier({}))

    assert (rules.threshold, dict(rules.thresholds), rules.temperature) == (0.9, {}, 2.0)


def said(**other: object) -> str:
    """Return a calibration file with something else in it."""
    return json.dumps({**json.loads(calibration_text(FITTED)), **other})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            said(classifier="fixed-2"),
            "is for the classifier fixed-2; the one in use is fixed; run plano-asgi calibrate",
        ),
        (
            said(thresholds={"verse": 0.5}),
            "has a threshold for 'verse', which is no route of the policy; run plano-asgi",
        ),
        ("", "is not a calibration"),
        ("[]", "is not a calibration"),
        ("{}", "is not a calibration"),
        ("[" * 100_000, "is not a calibration"),
        (said(temperature=0), "is not a calibration"),
        (said(temperature=-1), "is not a calibration"),
        (said(temperature=float("nan")), "is not a calibration"),
        (said(temperature=float("inf")), "is not a calibration"),
        (said(temperature="warm"), "is not a calibration"),
        (said(threshold=1.1), "is not a calibration"),
        (said(threshold=None), "is not a calibration"),
        (said(thresholds={"code": -0.1}), "is not a calibration"),
        (said(thresholds=[0.5]), "is not a calibration"),
        (said(cases=[]), "is not a calibration"),
    ],
    ids=lambda part: part[:24] if part.startswith("is ") else "",
)
def test_a_calibration_that_cannot_hold_is_refused(calibrated: Load, content: str, why: str) -> None:
    """What was fitted for another classifier or other routes, or is no calibration, is told before anything starts."""
    with pytest.raises(ConfigurationError) as refused:
        build_router(calibrated(content), classifier=FixedClassifier({}))

    (fault,) = refused.value.faults
    assert fault.where == "classifier.calibration"
    assert why in fault.what
    assert "calibrate" in fault.what


def test_a_calibration_that_is_not_there_is_refused(settings_of: Callable[[str], Settings]) -> None:
    """A missing file is named with the command that writes it."""
    nowhere = settings_of(f"{CONFIGURATION}classifier: {{calibration: /nowhere/calibration.json}}\n")

    with pytest.raises(
        ConfigurationError, match=r"/nowhere/calibration\.json does not exist; write it with plano-asgi"
    ):
        build_rules(nowhere, FixedClassifier({}))


def test_the_file_is_read_as_it_was_written(calibrated: Load) -> None:
    """Names in any script survive, and the file holds what the pages promise."""
    content = calibration_text(FITTED)

    assert list(json.loads(content)) == ["classifier", "temperature", "threshold", "thresholds", "cases", "date"]
    assert build_rules(calibrated(content), FixedClassifier({})).thresholds == FITTED.thresholds


def drawn(temperature: float, cases: int, seed: int = 1) -> list[Outcome]:
    """Return outcomes whose right answers follow the scores at this temperature."""
    rng = np.random.default_rng(seed)
    weights = np.exp(rng.normal(scale=2, size=(cases, 3)))
    true = weights ** (1 / temperature)
    right = [rng.choice(3, p=row / row.sum()) for row in true]
    answers = (*NAMES, None)
    return [outcome(answers[index], scores_of(*row)) for index, row in zip(right, weights, strict=True)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_that_is_there_is_found(temperature: float) -> None:
    """Where confidence is wrong by a temperature, many cases tell it, and the calibration error all but vanishes."""
    outcomes = drawn(temperature, 2_000)

    found = fit(outcomes)

    assert found.temperature == pytest.approx(temperature, rel=0.1)
    rules = Rules(threshold=0.0, default_model=None, temperature=found.temperature)
    corrected = [redecided(each, rules) for each in outcomes]
    assert (figures_of(corrected, routes=()).ece or 0) < 0.04


def test_few_cases_move_the_temperature_little() -> None:
    """A handful of cases that are all right make no router certain."""
    outcomes = [outcome("code", scores_of(0.6, 0.2, 0.2))] * 3

    assert 0.7 < fit(outcomes).temperature < 1
    assert fit(outcomes * 200).temperature < 0.3


def at(confidence: float, expect: str | None, route: str = "code") -> Outcome:
    """Return an outcome of that confidence in a route, what else there is being on none."""
    rest = {name: 0.0 for name in NAMES if name != route}
    return outcome(expect, Scores(routes={route: confidence, **rest}, other=1 - confidence))


def parted(by: float, route: str, cases: int) -> list[Outcome]:
    """Return outcomes in which a route is right from a confidence on, evenly spread over all."""
    spread = ((number + 0.5) / cases for number in range(cases))
    return [at(sure, route if sure >= by else None, route) for sure in spread]


def confidence_at(found: Fit, confidence: float) -> float:
    """Return what a confidence is corrected to."""
    return tempered(Scores(routes={"code": confidence, "prose": 0.0}, other=1 - confidence), found.temperature).routes[
        "code"
    ]


def test_each_route_gets_the_threshold_of_its_own_cases() -> None:
    """Where one route is right from 0.3 on and another from 0.7, hundreds of cases give each its own."""
    found = fit([*parted(0.3, "code", 300), *parted(0.7, "prose", 300)])

    assert confidence_at(found, 0.28) < found.thresholds["code"] < confidence_at(found, 0.32)
    assert confidence_at(found, 0.68) < found.thresholds["prose"] < confidence_at(found, 0.72)


def test_a_route_with_few_cases_goes_by_all() -> None:
    """Two cases do not outweigh hundreds of others, and a route without cases has the threshold of all."""
    many = parted(0.3, "code", 300)

    few = fit([*many, at(0.6, None, "prose"), at(0.9, "prose", "prose")])

    assert fit(many).thresholds["prose"] == fit(many).threshold
    assert few.thresholds["prose"] == pytest.approx(few.threshold, abs=0.02)


def test_balance_weighs_the_rare_cases_up() -> None:
    """Where hardly any case has no route, accuracy takes every route, and balance leaves some to have those right."""
    outcomes = [at(0.2 + number / 250, "code") for number in range(180)] + [at(0.4, None)] * 20

    bold, even = fit(outcomes), fit(outcomes, objective=Objective.BALANCED)

    assert bold.threshold < confidence_at(bold, 0.4) < even.threshold


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.builds(outcome, st.sampled_from([*NAMES, None]), st.builds(scores_of, *[st.floats(1e-6, 1)] * 3)),
        min_size=1,
        max_size=30,
    )
)
def test_whatever_the_cases_the_fit_can_be_used(outcomes: list[Outcome]) -> None:
    """Any answers give a temperature above 0 and thresholds in [0, 1], no worse than always taking a route."""
    found = fit(outcomes)
    fitted, bold = (
        Rules(threshold=threshold, default_model=None, temperature=found.temperature)
        for threshold in (found.threshold, 0.0)
    )

    assert 0.05 <= found.temperature <= 20.01
    assert all(0 <= threshold <= 1 for threshold in (found.threshold, *found.thresholds.values()))
    assert found.thresholds.keys() == set(NAMES)
    right, right_if_bold = (sum(redecided(each, rules).is_right for each in outcomes) for rules in (fitted, bold))
    assert right >= right_if_bold


def test_cross_validation_does_not_flatter() -> None:
    """Where right answers are drawn by lot, nothing can be learnt; a fit looks better on its own cases than it is."""
    rng = np.random.default_rng(7)
    lots = [outcome((*NAMES, None)[rng.integers(3)], scores_of(*rng.random(3) + 0.01)) for _ in range(200)]

    honest = figures_of(cross_validated(lots), routes=()).accuracy
    flattering = figures_of([redecided(each, fit(lots).rules) for each in lots], routes=()).accuracy

    assert honest < flattering
    assert honest == pytest.approx(1 / 3, abs=0.08)


def test_cross_validation_keeps_the_order_and_what_is_right() -> None:
    """Each case is decided once, at its place, and twice the same."""
    outcomes = drawn(1.0, 50)

    decided = cross_validated(outcomes)

    assert [each.expect for each in decided] == [each.expect for each in outcomes]
    assert decided == cross_validated(outcomes)


def cases_of(*expected: str | None) -> tuple[Case, ...]:
    """Return cases with these right answers."""
    return tuple(Case(call=CALL, expect=expect) for expect in expected)


def test_a_calibration_is_fitted_without_the_one_there_is(calibrated: Load) -> None:
    """What the settings name already, for whatever classifier, plays no part in what is fitted anew."""
    classifier, cases = FixedClassifier({"code": 0.8}), cases_of(*["code"] * 8, None, None)

    found = calibrate(calibrated(said(classifier="another")), cases, classifier=classifier)

    assert (found.revision, found.cases, found.without_route, found.unanswered) == ("fixed", 10, 2, 0)
    assert found.before.accuracy == found.after.accuracy == 0.8
    assert found.before.ece == pytest.approx(0.0)
    assert found.fit.temperature == pytest.approx(1.0, abs=0.05)


def test_cases_without_an_answer_are_left_out(settings_of: Callable[[str], Settings]) -> None:
    """A failure is no evidence about confidence; too few answers are refused with how many are needed."""

    def broken() -> None:
        """Fail from the fourteenth question on."""
        if len(classifier.calls) > 13:
            raise RuntimeError("broken")

    classifier = FixedClassifier({"code": 0.8}, before=broken)
    found = calibrate(settings_of(CONFIGURATION), cases_of(*["code"] * 20), classifier=classifier)

    assert (found.cases, found.unanswered, found.before.n) == (12, 8, 12)
    with pytest.raises(CasesError, match="9 cases have an answer; at least 10 are needed"):
        calibrate(settings_of(CONFIGURATION), cases_of(*["code"] * 9), classifier=FixedClassifier({}))


ROOM = 1e-9  # confidences that are nearer to each other are one
Cascade = list[tuple[Scores, str | None, str | None]]
grid = st.integers(0, 20).map(lambda tick: tick / 20)
thoughts = st.tuples(grid, grid, st.integers(1, 20)).map(lambda parts: scores_of(parts[0], parts[1], parts[2] / 20))
cascades = st.lists(
    st.tuples(thoughts, st.sampled_from(["code", None]), st.sampled_from(["code", None])), min_size=1, max_size=12
)


def outcome_of(cascade: Cascade, low: float, high: float) -> tuple[int, int]:
    """Return how often a cascade with this band asks its second, and how often it decides otherwise than that."""
    unsure = [not Band(low=low, high=high).is_sure(scores) for scores, _, _ in cascade]
    differing = [one != other for _, one, other in cascade]
    return sum(unsure), sum(differs and not asked for differs, asked in zip(differing, unsure, strict=True))


@settings(deadline=None)
@example(cascade=[(scores_of(0, 0.95, 0.5), "code", "code"), (scores_of(0.1, 0.95, 0.4), "code", None)], target=1.0)
@given(cascade=cascades, target=st.sampled_from([0.0, 0.5, 0.8, 0.9, 1.0]))
def test_band_does_what_it_says_and_asks_no_more_than_it_has_to(cascade: Cascade, target: float) -> None:
    """The cascade asks and agrees as the choice says, as often as asked for, and no other band does it asking less."""
    scores, first, second = (list(column) for column in zip(*cascade, strict=True))

    choice = choose_band(scores, first, second, target=target)

    asked, differing = outcome_of(cascade, choice.low, choice.high)
    assert (choice.share, choice.agreement) == pytest.approx((asked / len(cascade), 1 - differing / len(cascade)))
    assert 0 <= choice.low <= choice.high <= 1
    edges = sorted({0.0, 1.0, *(each.routes["code"] for each in scores), *(each.routes["prose"] for each in scores)})
    edges = sorted({*edges, *(1 - each.other for each in scores)})
    between = [0.0, *((a + b) / 2 for a, b in pairwise(edges) if b - a > ROOM), 1.0]
    rivals = [outcome_of(cascade, low, high) for low, high in product(between, between) if low <= high]
    allowed = max((1 - target) * len(cascade) + 1e-6, min(differs for _, differs in rivals))
    assert differing <= allowed
    assert asked == min(asks for asks, differs in rivals if differs <= allowed)


def test_band_of_a_first_that_is_right_when_sure() -> None:
    """Where both differ only in between, the band is what lies between, on either side."""
    sure = [(scores_of(0.9, 0, 0.1), "code", "code"), (scores_of(0.05, 0, 0.95), None, None)] * 5
    unsure = [(scores_of(0.6, 0, 0.4), "code", None), (scores_of(0.45, 0, 0.55), None, "code")]
    scores, first, second = (list(column) for column in zip(*sure, *unsure, strict=True))

    choice = choose_band(scores, first, second, target=1.0)

    assert (choice.low, choice.high) == pytest.approx((0.25, 0.75))
    assert (choice.share, choice.agreement) == pytest.approx((2 / 12, 1.0))


def test_band_that_need_not_ask_does_not() -> None:
    """Where the first agrees often enough by itself, nobody else is asked."""
    cascade = [(scores_of(0.6, 0, 0.4), "code", "code")] * 9 + [(scores_of(0.55, 0, 0.45), "code", None)]
    scores, first, second = (list(column) for column in zip(*cascade, strict=True))

    choice = choose_band(scores, first, second, target=0.9)

    assert (choice.share, choice.agreement) == (0.0, 0.9)


def test_a_calibration_does_not_change() -> None:
    """What was fitted can be shared between threads: its thresholds cannot be set, nor by whoever handed them in."""
    thresholds = {"code": 0.6}
    frozen = replace(FITTED, thresholds=thresholds)
    thresholds["code"] = 0.1

    assert frozen == FITTED
    with pytest.raises(TypeError):
        frozen.thresholds["code"] = 1.0  # type: ignore[index]
