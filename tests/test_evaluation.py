"""Evaluation: cases are read as the service reads them, figures are what they say, and nothing flatters a router."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from math import comb
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.classify import Classifier
from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import CasesError, ClassificationError
from plano_asgi.lab.evaluation import (
    Case,
    Comparison,
    Confusion,
    Evaluation,
    Outcome,
    RouteFigures,
    calibration_error,
    compare,
    evaluate,
    figures_of,
    mcnemar_p,
    read_cases,
)
from plano_asgi.preferences import RoutingPolicy, RoutingPreference
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier
from plano_asgi.wire import read_call, read_document

CONFIGURATION = """\
model_providers:
  - model: openai/gpt-4o-mini
    default: true
    routing_preferences:
      - {name: code, description: writing code}
      - {name: prose, description: writing prose}
"""
SECRET = "xylophone"  # noqa: S105 - a word of a prompt, which no fault may hold


def policy_of(*names: str) -> RoutingPolicy:
    """Return a policy with routes of these names."""
    return RoutingPolicy(
        preferences=tuple(RoutingPreference(name=name, description=name, models=("a/b",)) for name in names)
    )


POLICIES = {"mine.yaml": policy_of("code", "prose")}


def line_of(content: object = "Write code", expect: object = "code", **more: object) -> bytes:
    """Return a case as it is written."""
    return json.dumps({"messages": [{"role": "user", "content": content}], "expect": expect, **more}).encode()


def read(*lines: bytes, policies: Mapping[str, RoutingPolicy] = POLICIES) -> tuple[Case, ...]:
    """Return the cases of a file."""
    return read_cases(lines, origin="cases.jsonl", policies=policies)


def outcome(
    expect: str | None, route: str | None, confidence: float | None = None, ms: float = 1.0, *, fails: bool = False
) -> Outcome:
    """Return an outcome."""
    return Outcome(expect=expect, route=route, confidence=confidence, elapsed_ms=ms, is_failure=fails)


MIXED = (
    outcome("code", "code", ms=10),
    outcome("code", "code", ms=20),
    outcome("code", "prose", ms=30),
    outcome("code", None, ms=40),
    outcome("prose", "prose", ms=50),
    outcome("prose", None, ms=60, fails=True),
    outcome(None, None, ms=70),
    outcome(None, None, ms=80),
    outcome(None, None, ms=90, fails=True),
    outcome(None, "prose", ms=100),
    outcome(None, "prose", ms=110),
)


def test_lines_without_an_answer_are_cases_where_a_teacher_gives_it() -> None:
    """A line without `expect` is a fault, but where labels may be lacking: then it is a case without one."""
    unlabelled = json.dumps({"messages": [{"role": "user", "content": "Write code"}]}).encode()

    with pytest.raises(CasesError, match="expect is missing"):
        read(unlabelled)
    cases = read_cases(
        [unlabelled, line_of(expect=None)], origin="cases.jsonl", policies=POLICIES, may_lack_labels=True
    )

    assert [(case.expect, case.is_labelled) for case in cases] == [(None, False), (None, True)]


def test_shares_are_those_counted_by_hand() -> None:
    """Of eleven cases five are right: two of four, one of two, and two of five that have no route."""
    figures = figures_of(MIXED, routes=("code", "prose"))

    assert (figures.n, figures.failures) == (11, 2)
    assert figures.accuracy == pytest.approx(5 / 11)
    assert figures.in_scope_accuracy == pytest.approx(3 / 6)
    assert figures.abstain_precision == pytest.approx(2 / 3)
    assert figures.abstain_recall == pytest.approx(2 / 5)
    assert figures.per_route == (
        RouteFigures(route="code", n=4, precision=1.0, recall=0.5),
        RouteFigures(route="prose", n=2, precision=0.25, recall=0.5),
    )


def test_confusions_are_counted_and_the_commonest_comes_first() -> None:
    """Each pair of what was right and what was chosen is counted once; a failure chose nothing."""
    assert figures_of(MIXED, routes=()).confusions == (
        Confusion(expect=None, route="prose", n=2),
        Confusion(expect="code", route="prose", n=1),
        Confusion(expect="code", route=None, n=1),
    )


def test_times_are_the_median_and_the_95th_percentile_of_all_cases() -> None:
    """Of 10, 20, ... 110 ms the median is 60, and 95 % of the way from the first to the last lies at 105."""
    figures = figures_of(MIXED, routes=())

    assert (figures.p50_ms, figures.p95_ms) == pytest.approx((60, 105))


def test_failure_is_neither_right_nor_an_abstention() -> None:
    """A router that never answers has no accuracy, even where no route is right, and abstains never."""
    figures = figures_of([outcome(None, None, fails=True), outcome("code", None, fails=True)], routes=("code",))

    assert (figures.accuracy, figures.abstain_recall, figures.abstain_precision, figures.ece) == (0, 0, None, None)


def test_share_of_nothing_is_none() -> None:
    """Where no case is of a kind, its share is None and no number."""
    in_scope = figures_of([outcome("code", "code")], routes=("code", "prose"))
    out_of_scope = figures_of([outcome(None, None)], routes=())

    assert (in_scope.abstain_precision, in_scope.abstain_recall) == (None, None)
    assert in_scope.per_route[1] == RouteFigures(route="prose", n=0, precision=None, recall=None)
    assert out_of_scope.in_scope_accuracy is None


RIGHT, WRONG = partial(outcome, "code", "code"), partial(outcome, "code", "prose")
CALIBRATIONS: dict[str, tuple[list[Outcome], float | None]] = {
    "sure and right": ([RIGHT(1.0)], 0.0),
    "sure and wrong": ([WRONG(1.0)], 1.0),
    "doubtful and right": ([RIGHT(0.0)], 1.0),
    "one bin": ([RIGHT(0.9), RIGHT(0.9), WRONG(0.9), WRONG(0.9)], 0.4),
    "gaps of one bin cancel": ([RIGHT(0.51), WRONG(0.52)], 0.015),
    "gaps of two bins do not": ([RIGHT(0.5), WRONG(0.6)], 0.55),
    "upper edge belongs to a bin": ([RIGHT(0.19), WRONG(0.2)], 0.305),
    "and not to the next": ([RIGHT(0.2), WRONG(0.21)], 0.505),
    "bins weigh by size": ([RIGHT(0.9), RIGHT(0.9), RIGHT(0.9), WRONG(0.1)], 0.1),
    "unclassified does not count": ([RIGHT(0.9), WRONG(None)], 0.1),
    "nothing classified": ([RIGHT(None)], None),
}


@pytest.mark.parametrize(("outcomes", "error"), CALIBRATIONS.values(), ids=CALIBRATIONS)
def test_calibration_error_is_the_one_computed_by_hand(outcomes: list[Outcome], error: float | None) -> None:
    """The weighted mean gap over 15 bins, each with its upper edge, is what pencil and paper say."""
    assert calibration_error(outcomes) == (None if error is None else pytest.approx(error))


routes_or_none = st.sampled_from([None, "code", "prose"])
outcomes = st.one_of(
    st.builds(outcome, routes_or_none, routes_or_none, st.floats(0, 1), st.floats(0, 1e6)),
    st.builds(partial(outcome, route=None, fails=True), routes_or_none),
)


@given(given_outcomes=st.lists(outcomes, min_size=1, max_size=40), data=st.data())
def test_figures_hold_together(given_outcomes: list[Outcome], data: st.DataObject) -> None:
    """Shares are in [0, 1], parts make up their wholes, and the order of the cases is of no account."""
    figures = figures_of(given_outcomes, routes=("code", "prose"))
    without_route = figures.n - sum(row.n for row in figures.per_route)
    right = (figures.in_scope_accuracy or 0) * (figures.n - without_route)
    right += (figures.abstain_recall or 0) * without_route
    parts = [figures.in_scope_accuracy, figures.abstain_precision, figures.abstain_recall, figures.ece]
    parts += [share for row in figures.per_route for share in (row.precision, row.recall)]

    assert all(share is None or 0 <= share <= 1 for share in (figures.accuracy, *parts))
    assert figures.accuracy * figures.n == pytest.approx(right)
    assert sum(confusion.n for confusion in figures.confusions) + figures.failures == pytest.approx(figures.n - right)
    assert figures.p50_ms <= figures.p95_ms <= max(each.elapsed_ms for each in given_outcomes)
    shuffled = figures_of(data.draw(st.permutations(given_outcomes)), routes=("code", "prose"))
    assert (shuffled.accuracy, shuffled.ece, shuffled.per_route) == (figures.accuracy, figures.ece, figures.per_route)
    assert set(shuffled.confusions) == set(figures.confusions)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (3, 3, 1.0), (0, 5, 1 / 16), (6, 0, 1 / 32), (1, 5, 14 / 64), (2, 8, 112 / 1_024)],
)
def test_mcnemar_is_the_one_computed_by_hand(only_a: int, only_b: int, p: float) -> None:
    """Twice the tail of a fair coin, added up by hand, is the p-value."""
    assert mcnemar_p(only_a, only_b) == pytest.approx(p)


@pytest.mark.parametrize("tosses", range(1, 11))
def test_mcnemar_is_the_share_of_splits_as_uneven(tosses: int) -> None:
    """Of all ways in which coins can fall, p is the share at least as far from even as the one seen."""
    heads_of_all = [sum(fall) for fall in product((0, 1), repeat=tosses)]

    for heads in range(tosses + 1):
        as_uneven = [other for other in heads_of_all if abs(2 * other - tosses) >= abs(2 * heads - tosses)]
        assert mcnemar_p(heads, tosses - heads) == pytest.approx(len(as_uneven) / 2**tosses)


def test_mcnemar_has_no_largest_number_of_cases() -> None:
    """Thousands of discordant cases neither overflow nor turn into rubbish."""
    assert mcnemar_p(5_000, 5_001) == 1.0
    assert mcnemar_p(5_000, 5_000) == 1.0
    assert mcnemar_p(499, 501) == pytest.approx(1 - comb(1_000, 500) / 2**1_000)
    assert mcnemar_p(5_000, 5_200) == pytest.approx(0.0488, abs=0.001)
    assert mcnemar_p(0, 5_000) == 0.0


def test_comparison_counts_pairs_and_times() -> None:
    """Each case counts by who decides it rightly; the ratio says how many times as long b's median takes."""
    a = [RIGHT(ms=1), RIGHT(ms=2), RIGHT(ms=3), WRONG(ms=4), WRONG(ms=100)]
    b = [RIGHT(ms=2), WRONG(ms=12), WRONG(ms=12), RIGHT(ms=12), WRONG(ms=12)]

    compared = compare(a, b)

    assert compared == Comparison(both_right=1, only_a=2, only_b=1, both_wrong=1, mcnemar_p=1.0, p50_ratio=4.0)


def test_comparison_of_different_cases_is_refused() -> None:
    """Outcomes that are not of the same cases are not compared."""
    with pytest.raises(ValueError, match="shorter"):
        compare([RIGHT(), RIGHT()], [RIGHT()])


def test_ratio_to_no_time_is_none() -> None:
    """Where a took no time at all there is no ratio, and no crash."""
    assert compare([RIGHT(ms=0)], [RIGHT(ms=1)]).p50_ratio is None


@given(st.lists(st.tuples(outcomes, outcomes), min_size=1, max_size=30))
def test_comparison_turned_around_says_the_same(pairs: list[tuple[Outcome, Outcome]]) -> None:
    """Every case is counted once, and whoever comes first, chance is judged alike."""
    a, b = [first for first, _ in pairs], [second for _, second in pairs]
    forth, back = compare(a, b), compare(b, a)

    assert forth.both_right + forth.only_a + forth.only_b + forth.both_wrong == len(pairs)
    assert (forth.only_a, forth.only_b) == (back.only_b, back.only_a)
    assert 0 < forth.mcnemar_p == back.mcnemar_p <= 1


def test_messages_are_read_as_the_service_reads_them() -> None:
    """Parts, tools and developer messages mean in a case what they mean in a Chat Completions body."""
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be brief"},
        {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "look"}}]},
        {"role": "tool", "content": "a cat", "tool_call_id": "1"},
        {"role": "user", "content": [{"type": "text", "text": "Now"}, {"type": "text", "text": "in Go"}]},
    ]
    served = read_call(read_document(json.dumps({"messages": messages}).encode()), ApiFormat.CHAT_COMPLETIONS)

    (case,) = read(json.dumps({"expect": "code", "messages": messages}).encode())

    assert case == Case(call=served, expect="code")


def test_blank_lines_and_keys_of_the_author_are_passed_over() -> None:
    """Empty lines are no cases, and an id or a note makes no difference, even one that a body would have."""
    plain, noted = read(line_of(), b"\n", b"  \r\n", line_of(id=7, note="hard", model="openai/o9", stream=3) + b"\r\n")

    assert plain == noted


BROKEN: dict[str, tuple[bytes, str]] = {
    "no JSON": (b'{"messages": xylophone}', "not valid JSON"),
    "not UTF-8": (b'{"messages": "xylophone \xff"}', "not valid JSON"),
    "no object": (b'["xylophone"]', "JSON object"),
    "a key twice": (line_of(SECRET)[:-1] + b', "expect": null}', "appears twice"),
    "no messages": (b'{"expect": "code"}', "messages: Field required"),
    "empty messages": (b'{"messages": [], "expect": "code"}', "messages is empty"),
    "messages of text": (b'{"messages": "xylophone", "expect": "code"}', "messages has the wrong type"),
    "unknown role": (
        json.dumps({"messages": [{"role": SECRET, "content": SECRET}], "expect": None}).encode(),
        "messages[0].role: expected one of",
    ),
    "malformed part": (line_of([{"type": "text", "xylophone": SECRET}]), "messages[0].content[0].text"),
    "no expect": (b'{"messages": [{"role": "user", "content": "xylophone"}]}', "expect is missing"),
    "expect of another type": (line_of(SECRET, [SECRET]), "expect is a route's name, or null"),
    "unknown route": (line_of(SECRET, SECRET), "expect: mine.yaml has no route of this name; name one of its"),
    "misspelt route": (line_of(SECRET, "prosa"), "expect: mine.yaml has no route of this name; did you mean 'prose'?"),
    "reserved name": (line_of(SECRET, "other"), "expect: write null"),
    "own policy": (line_of(SECRET, routing_preferences=[SECRET]), "a case brings no policy of its own"),
}


@pytest.mark.parametrize(("line", "why"), BROKEN.values(), ids=BROKEN)
def test_broken_case_is_told_with_its_line_and_without_its_text(line: bytes, why: str) -> None:
    """A case that cannot be used is a fault that names its line and its reason, and quotes no prompt."""
    with pytest.raises(CasesError) as refused:
        read(line_of(), b"", line, line_of())

    (fault,) = refused.value.faults
    assert fault.origin == "cases.jsonl:3"
    assert why in str(fault)
    assert SECRET not in str(refused.value)


def test_all_faults_are_told_at_once() -> None:
    """One error lists every broken line, in their order; a very long list ends with a count."""
    with pytest.raises(CasesError) as some:
        read(*(line for line, _ in BROKEN.values()))
    with pytest.raises(CasesError) as many:
        read(*[b"{"] * 250)

    assert [fault.origin for fault in some.value.faults] == [f"cases.jsonl:{n + 1}" for n in range(len(BROKEN))]
    assert str(some.value).splitlines()[1:] == [str(fault) for fault in some.value.faults]
    assert len(many.value.faults) == 250
    assert str(many.value).splitlines()[-1] == "... and 150 more"


def test_route_has_to_be_in_every_policy() -> None:
    """Where two policies are to decide the cases, a route that only one of them has is a fault of the other."""
    with pytest.raises(CasesError) as refused:
        read(line_of(), policies={**POLICIES, "theirs.yaml": policy_of("cook")})

    assert [str(fault) for fault in refused.value.faults] == [
        "cases.jsonl:1: expect: theirs.yaml has no route of this name; name one of its routes, or write null for none"
    ]


@pytest.mark.parametrize("lines", [[], [b"\n", b"  "]], ids=["empty", "blank"])
def test_file_without_cases_is_a_fault(lines: list[bytes]) -> None:
    """A file that holds no case is refused with the form of one."""
    with pytest.raises(CasesError, match=r'cases\.jsonl: there are no cases; write one a line: \{"messages"'):
        read(*lines)


@given(st.lists(st.one_of(st.binary(), st.from_regex(rb'\{"(messages|expect)": ?[\[{"n].*', fullmatch=True))))
@settings(max_examples=200)
def test_any_bytes_are_cases_or_faults(lines: list[bytes]) -> None:
    """Whatever a file holds, it is cases, or a `CasesError`; never another exception."""
    with suppress(CasesError):
        assert 0 < len(read(*lines)) <= len(lines)


CODE, NEITHER = line_of("Write code"), line_of("Good morning", None)
Judge = Callable[..., Evaluation]


@pytest.fixture
def judge(settings_of: Callable[[str], Settings]) -> Judge:
    """Return what evaluates a classifier on cases, with more lines of configuration where they are given."""

    def run(classifier: Classifier, lines: Sequence[bytes], more: str = "") -> Evaluation:
        return evaluate(settings_of(CONFIGURATION + more), read(*lines), classifier=classifier)

    return run


def test_repeated_case_is_classified_and_timed_each_time(judge: Judge) -> None:
    """The cache hides nothing: the same case three times is asked three times, after the one that warms up."""
    classifier = FixedClassifier({"code": 0.9}, before=lambda: time.sleep(0.005))

    judged = judge(classifier, [CODE] * 3)

    assert len(classifier.calls) == 1 + 3
    assert all(each.elapsed_ms >= 5 for each in judged.outcomes)


def test_outcomes_stand_in_the_order_of_the_cases(judge: Judge) -> None:
    """What is expected stays with its case."""
    judged = judge(FixedClassifier({"code": 0.9}), [CODE, NEITHER, line_of("A poem", "prose")])

    assert [(each.expect, each.route) for each in judged.outcomes] == [
        ("code", "code"),
        (None, "code"),
        ("prose", "code"),
    ]
    assert judged.figures == figures_of(judged.outcomes, routes=("code", "prose"))


@pytest.mark.parametrize(
    ("more", "threshold", "route", "confidence"),
    [("", 0.5, "code", 0.6), ("routing: {threshold: 0.7}", 0.7, None, 0.1)],
    ids=["the classifier's", "the setting's"],
)
def test_decision_and_confidence_are_those_of_the_threshold(
    judge: Judge, more: str, threshold: float, route: str | None, confidence: float
) -> None:
    """The service's threshold decides; the confidence is the chosen route's, or that of none, not that of the best."""
    judged = judge(FixedClassifier({"code": 0.6, "prose": 0.3}), [CODE], more)

    assert (judged.classifier, judged.revision, judged.threshold) == ("fixed", "fixed", threshold)
    assert judged.outcomes[0].route == route
    assert judged.outcomes[0].confidence == pytest.approx(confidence)


@pytest.mark.parametrize("on_error", ["default", "reject"])
def test_classifier_that_breaks_fails_the_case_and_no_other(judge: Judge, on_error: str) -> None:
    """A failure is one wrong case, whatever the service would answer; the rest is evaluated."""
    turns = iter([None, RuntimeError("broken"), None])

    def before() -> None:
        if error := next(turns):
            raise error

    judged = judge(FixedClassifier({}, before=before), [NEITHER, NEITHER], f"routing: {{on_error: {on_error}}}")

    assert [(each.is_failure, each.is_right) for each in judged.outcomes] == [(True, False), (False, True)]


def test_late_answer_is_a_failure(judge: Judge) -> None:
    """What takes longer than the service's deadline is no answer, and its time counts."""
    judged = judge(FixedClassifier({}, before=lambda: time.sleep(0.15)), [NEITHER], "classifier: {deadline_ms: 20}")

    assert judged.figures.failures == 1
    assert judged.figures.p50_ms >= 20


def test_what_keeps_calls_from_being_routed_keeps_no_case(judge: Judge) -> None:
    """A service that is switched off, or routes few calls, is evaluated as if it routed them all."""
    judged = judge(FixedClassifier({"code": 0.9}), [CODE], "enabled: false\nrouting: {applies_to: [auto]}")

    assert judged.figures.accuracy == 1.0


def test_conversation_without_a_user_has_no_confidence(judge: Judge) -> None:
    """Where there is nothing to classify the router abstains, and nothing is said of its calibration."""
    case = b'{"messages": [{"role": "system", "content": "Obey"}], "expect": null}'

    judged = judge(FixedClassifier({"code": 0.9}), [case])

    assert (judged.figures.accuracy, judged.figures.ece) == (1.0, None)


def test_classifier_that_cannot_start_is_an_error(judge: Judge) -> None:
    """Where the classifier answers nothing at all there are no figures but its error."""

    def before() -> None:
        """Fail."""
        raise ClassificationError("no model")

    with pytest.raises(ClassificationError, match="no model"):
        judge(FixedClassifier({}, before=before), [CODE])
