"""The exam of the embedded router: it passes what was written by hand, and every suite of public sets can be built."""

import json
import math
import os
import string
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from benchmarks.routing_suites.contenders import Guess, NearestUtterance, Routed, Vectors, ZeroShot
from benchmarks.routing_suites.figures import figures_by_family, interval, overall
from benchmarks.routing_suites.flips import CHANGES, flip_rates
from benchmarks.routing_suites.suites import Case, Suite, hand_written, policy_of, public
from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.lab.corpus_files import said

ROOT: Final = Path(__file__).parents[1]
LEAST_ACCURACY: Final = {  # two points below what the shipped model reaches
    "hand-written": 0.874,
    "support_desk": 0.624,
    "enterprise_assistant": 0.677,
    "coding_gateway": 0.745,
}


SNIPS_CASES: Final = (Case(said("PlayMusic"), "PlayMusic"), Case(said("AddToPlaylist"), "AddToPlaylist"))


@pytest.fixture(scope="module")
def router() -> EmbeddedClassifier:
    """Return the shipped router."""
    return EmbeddedClassifier()


@pytest.fixture(scope="module")
def guesses(router: EmbeddedClassifier) -> dict[str, list[Guess]]:
    """Return what the shipped router makes of the suites that were written by hand, by family."""
    found: dict[str, list[Guess]] = defaultdict(list)
    for suite in hand_written():
        found[suite.family] += Routed("shipped", router).sit(suite)
    return found


@pytest.fixture(scope="module")
def suites(datasets: Path) -> list[Suite]:
    """Return the suites of the made-up public sets."""
    return list(public(datasets))


@pytest.mark.parametrize("family", LEAST_ACCURACY)
def test_shipped_router_passes_the_exam(
    family: str, guesses: dict[str, list[Guess]], router: EmbeddedClassifier
) -> None:
    """On policies that nobody trained on, the shipped model with its own threshold is as good as it was."""
    right = [guess.is_right(router.threshold) for guess in guesses[family]]

    assert sum(right) / len(right) >= LEAST_ACCURACY[family]


def test_every_family_has_a_floor(guesses: dict[str, list[Guess]]) -> None:
    """No suite that was written by hand is left out of the exam."""
    assert guesses.keys() == LEAST_ACCURACY.keys()
    assert sum(map(len, guesses.values())) == 756


def test_every_suite_is_built(suites: list[Suite]) -> None:
    """Out of a folder of public sets come all seven families, each with all its suites."""
    assert Counter(suite.family for suite in suites) == {
        "CLINC150": 3,
        "BANKING77": 2,
        "SNIPS": 2,
        "SGD": 3,
        "MT-Bench": 1,
        "topic shift": 2,
        "semantic-router": 1,
    }
    assert len({suite.name for suite in suites}) == len(suites)


def test_suites_ask_about_their_own_routes(suites: list[Suite]) -> None:
    """Every case expects a route of its suite or none, is out of a test split, and ends with the user."""
    for suite in suites:
        routes = {preference.name for preference in suite.policy.preferences}
        assert {case.expect for case in suite.cases} <= {None, *routes}, suite.name
        assert all("examined" in case.conversation[-1].text or suite.family == "SGD" for case in suite.cases)
        assert not [text for texts in suite.utterances.values() for text in texts if text.count("examined") > 3]
        assert set(suite.utterances) <= routes


@pytest.mark.parametrize(
    ("family", "routed", "none"),
    [("CLINC150", 40, 200), ("SNIPS", 15, 6), ("SGD", 240, 160), ("MT-Bench", 3, 0), ("semantic-router", 1, 1)],
)
def test_suites_hold_their_share_of_strangers(family: str, routed: int, none: int, suites: list[Suite]) -> None:
    """Each suite has all that its routes are right for, and as many cases of none as the exam says."""
    suite = next(suite for suite in suites if suite.family == family)

    expected = [case.expect is None for case in suite.cases]

    assert (expected.count(False), expected.count(True)) == (routed, none)


def test_dialogue_that_comes_back_is_asked_twice(suites: list[Suite]) -> None:
    """A dialogue that leaves its topic is asked where it leaves and where it comes back, with all that was said."""
    suite = next(suite for suite in suites if suite.name == "topic_shift_704")

    assert [(len(case.conversation), case.expect) for case in suite.cases] == [(3, "sports"), (5, "customs")]


def test_same_suites_are_built_again(datasets: Path, suites: list[Suite]) -> None:
    """What is drawn depends on nothing but the files."""
    assert list(public(datasets)) == suites


def letters(text: str) -> Vectors:
    """Return how often each letter stands in a text, as a unit vector."""
    counts = np.array([text.lower().count(letter) for letter in string.ascii_lowercase], np.float32)
    return counts / np.linalg.norm(counts)


def test_nearest_utterance_sits_only_suites_with_examples(suites: list[Suite]) -> None:
    """A router of example texts finds the route of the nearest one, and has nothing to say where there are none."""
    snips = next(suite for suite in suites if suite.family == "SNIPS")
    without = next(suite for suite in suites if not suite.utterances)
    contender = NearestUtterance(letters)

    guesses = contender.sit(Suite(snips.family, snips.name, snips.policy, SNIPS_CASES, snips.utterances))

    assert contender.sit(without) is None
    assert guesses is not None
    assert [guess.best for guess in guesses] == ["PlayMusic", "AddToPlaylist"]


def test_zero_shot_takes_the_nearest_description() -> None:
    """A router of descriptions is asked about all cases, and says how near the nearest route is."""
    policy = policy_of({"zebras": "zzzz", "quays": "qqqq"})

    guesses = [*ZeroShot(letters).sit(Suite("f", "s", policy, (Case(said("qqqq"), "quays"),), {}))]

    assert [(guess.expect, guess.best, guess.other) for guess in guesses] == [("quays", "quays", None)]
    assert 0.8 < guesses[0].score < 1


def test_threshold_in_hindsight_is_the_best_one() -> None:
    """A contender without a threshold of its own gets the one that is best for each family, and only for that."""
    low = [Guess("a", "a", 0.3, None, 1.0, 1), Guess(None, "a", 0.2, None, 1.0, 1)]
    high = [Guess("a", "a", 0.9, None, 1.0, 3), Guess(None, "a", 0.8, None, 1.0, 1)]

    figures = figures_by_family({"low": low, "high": high}, None)

    assert [figures[name]["accuracy"] for name in ("low", "high")] == [1, 1]
    assert 0.2 < figures["low"]["threshold"] <= 0.3
    assert 0.8 < figures["high"]["threshold"] <= 0.9
    assert figures["high"]["multi_turn_accuracy"] == 1
    assert figures["low"]["multi_turn_accuracy"] is None
    assert figures_by_family({"low": low}, 0.5)["low"]["accuracy"] == 0.5
    assert "ece" not in overall({"low": low}, figures)


def test_interval_is_wilsons() -> None:
    """The interval of 8 in 10 is that of Wilson's formula, and that of all in 10 has no end beyond 1."""
    assert interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert interval(10, 10)[1] == pytest.approx(1)


def test_order_and_case_flip_nothing(router: EmbeddedClassifier) -> None:
    """The shipped tokenizer lowers case and no route has a place: neither turns any decision over; typos turn few."""
    rates = flip_rates(router, [suite for suite in hand_written() if suite.family == "hand-written"][:2])

    assert rates.keys() == CHANGES.keys()
    assert rates["routes reordered"] == rates["upper case"] == rates["lower case"] == 0
    assert rates["typos"] < 0.3


def test_quick_exam_runs_without_data_sets(tmp_path: Path) -> None:
    """Without data sets and scikit-learn there are figures of the hand-written suites, and a picture of them."""
    script = f"""
import sys
sys.modules["sklearn"] = None
sys.argv = ["routing_quality", "--quick", "--json", {str(tmp_path / "r.json")!r}, "--plot", {str(tmp_path / "p.svg")!r}]
from benchmarks.routing_quality import main
main()
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert "pip install scikit-learn" in ran.stderr
    result = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    families = result["contenders"]["embedded router"]["families"]
    assert families.keys() == LEAST_ACCURACY.keys()
    assert all(0 <= figures["accuracy"] <= 1 and math.isfinite(figures["ece"]) for figures in families.values())
    assert all(ms > 0 for row in result["latency_ms"].values() for ms in row.values())
    assert ET.parse(tmp_path / "p.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own file


def test_curve_of_learning_is_drawn_of_what_training_left(tmp_path: Path) -> None:
    """Each router of a run sits the exam, with its own threshold and, never worse, with one chosen in hindsight."""
    for steps in ("step-00010", "step-00020"):
        (tmp_path / "run" / steps).mkdir(parents=True)
        for file in SHIPPED_FOLDER.iterdir():
            (tmp_path / "run" / steps / file.name).symlink_to(file)
    said = ["--run", f"shipped={tmp_path / 'run'}", "--quick", "--json", "curve.json", "--plot", "curve.svg"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.learning", *said],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    curve = json.loads((tmp_path / "curve.json").read_text(encoding="utf-8"))["runs"]["shipped"]
    assert curve.keys() == {"10", "20"}
    assert curve["10"] == curve["20"]
    assert curve["10"]["families"].keys() == LEAST_ACCURACY.keys()
    for accuracy, best in (figures.values() for figures in curve["10"]["families"].values()):
        assert accuracy <= best
    assert ET.parse(tmp_path / "curve.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own
