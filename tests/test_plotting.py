"""Pictures of evaluations: drawn without a display, whatever the routes are called, and right where it can be read."""

import re
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from plano_asgi.decisions import Scores
from plano_asgi.errors import MissingExtraError
from plano_asgi.lab.evaluation import Bin, Evaluation, Outcome, confusion_matrix, figures_of, reliability, sweep
from plano_asgi.lab.evaluation.plotting import check_plotting, plot

PNG = b"\x89PNG\r\n\x1a\n"


def outcome(expect: str | None, code: float, prose: float, *, fails: bool = False) -> Outcome:
    """Return what a router with a threshold of 0.5 makes of two chances."""
    if fails:
        return Outcome(expect=expect, route=None, confidence=None, elapsed_ms=1, is_failure=True)
    scores = Scores(routes={"code": code, "prose": prose}, other=1 - code - prose)
    best, chance = max(scores.routes.items(), key=lambda item: item[1])
    route, confidence = (best, chance) if chance >= 0.5 else (None, scores.other)
    return Outcome(expect=expect, route=route, confidence=confidence, elapsed_ms=1, scores=scores)


OUTCOMES = (
    outcome("code", 0.9, 0.05),
    outcome("code", 0.4, 0.1),
    outcome("prose", 0.6, 0.3),
    outcome(None, 0.1, 0.2),
    outcome(None, 0.0, 0.0, fails=True),
)
Draw = Callable[..., bytes]


def evaluation_of(*outcomes: Outcome, routes: tuple[str, ...] = ("code", "prose")) -> Evaluation:
    """Return an evaluation of outcomes."""
    return Evaluation(
        classifier="fixed",
        revision="1",
        threshold=0.5,
        thresholds={},
        temperature=1.0,
        outcomes=outcomes,
        figures=figures_of(outcomes, routes=routes),
    )


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Return what draws evaluations by name into a file with a suffix, and gives the file's content."""

    def run(suffix: str, **evaluations: Evaluation) -> bytes:
        """Draw them."""
        path = tmp_path / f"picture{suffix}"
        plot(evaluations, path)
        return path.read_bytes()

    return run


def test_png_is_a_png(draw: Draw) -> None:
    """A picture for a page or a mail is drawn without a display."""
    assert draw(".png", mine=evaluation_of(*OUTCOMES)).startswith(PNG)


def test_svg_names_what_it_shows(draw: Draw) -> None:
    """The picture has three panels with the name, the routes, the counts, the calibration error and the threshold."""
    evaluation = evaluation_of(*OUTCOMES)

    text = draw(".svg", mine=evaluation).decode()

    for said in ("mine", "code", "prose", "no route", "expected", "decided", "accuracy", "threshold 0.50"):
        assert f">{said}<" in text
    assert f"reliability, ECE {evaluation.figures.ece:.3f}" in text
    assert text == draw(".svg", mine=evaluation).decode()


def test_two_evaluations_are_two_rows(draw: Draw) -> None:
    """Configurations that are compared are in one picture, each with its own panels."""
    text = draw(".svg", first=evaluation_of(*OUTCOMES), second=evaluation_of(*OUTCOMES[:2])).decode()

    assert [len(re.findall(f">{name}<", text)) for name in ("first", "second")] == [1, 1]
    assert len(re.findall(">one threshold for all routes<", text)) == 2


@pytest.mark.parametrize(
    "name", ["costs $5 and $6", "多语言客服", "<b>&amp;", "_hidden", "x" * 64, r"\frac{a}{b}$"], ids=ascii
)
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_any_route_name_can_be_drawn(draw: Draw, suffix: str, name: str) -> None:
    """A name is no formula and no mark-up, and one in a script that the font lacks is no warning."""
    route = Outcome(expect=name, route=name, confidence=0.9, elapsed_ms=1)

    assert draw(suffix, **{name: evaluation_of(route, routes=(name,))})


@pytest.mark.parametrize(
    "name", ["costs $5 and $6", "<b>&amp;", r"$\frac{a}{b}$"], ids=["prices", "mark-up", "formula"]
)
def test_names_appear_as_they_are(draw: Draw, name: str) -> None:
    """A title, a row and a column spell the name letter by letter."""
    route = Outcome(expect=name, route=name, confidence=0.9, elapsed_ms=1)

    text = draw(".svg", **{name: evaluation_of(route, routes=(name,))}).decode()

    assert unescape(text).count(f">{name}<") == 3


def test_a_hundred_routes_can_be_drawn(draw: Draw) -> None:
    """As many routes as a policy may have fit into the picture."""
    names = tuple(f"route {number}" for number in range(100))
    outcomes = [Outcome(expect=name, route=name, confidence=0.9, elapsed_ms=1) for name in names]

    assert draw(".png", many=evaluation_of(*outcomes, routes=names)).startswith(PNG)


@pytest.mark.parametrize("fails", [False, True], ids=["no-route", "failed"])
def test_cases_without_a_share_can_be_drawn(draw: Draw, *, fails: bool) -> None:
    """Where no case has a route, or none was answered, the panels are emptier and nothing breaks."""
    assert draw(".svg", empty=evaluation_of(outcome(None, 0.1, 0.2, fails=fails)))


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can draw, the message says what to install and for which option."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(MissingExtraError, match=r"--plot needs an extra: pip install 'plano-asgi\[plot\]'"):
        check_plotting()


def test_confusion_matrix_counts_every_case_once() -> None:
    """Rows are what was right and columns what was chosen; a failure is in neither."""
    assert confusion_matrix(OUTCOMES, routes=("code", "prose")) == {
        "code": {"code": 1, "prose": 0, None: 1},
        "prose": {"code": 1, "prose": 0, None: 0},
        None: {"code": 0, "prose": 0, None: 1},
    }


def test_bins_hold_means_and_are_those_of_the_error() -> None:
    """Decisions of about the same confidence share a bin, which knows their mean and how many are right."""
    right = [Outcome(expect="code", route="code", confidence=sure, elapsed_ms=1) for sure in (0.81, 0.85)]
    wrong = Outcome(expect=None, route="code", confidence=0.86, elapsed_ms=1)

    low, high = reliability(
        [*right, wrong, OUTCOMES[4], Outcome(expect=None, route=None, confidence=0.1, elapsed_ms=1)]
    )

    assert low == Bin(n=1, confidence=0.1, accuracy=1.0)
    assert (high.n, high.confidence, high.accuracy) == pytest.approx((3, 0.84, 2 / 3))


@pytest.mark.parametrize(
    ("threshold", "accuracy", "in_scope", "abstention"),
    [(0.0, 2 / 5, 2 / 3, 0.0), (0.3, 3 / 5, 2 / 3, 1 / 5), (0.5, 2 / 5, 1 / 3, 2 / 5), (1.0, 1 / 5, 0.0, 4 / 5)],
)
def test_sweep_is_what_another_threshold_would_decide(
    threshold: float, accuracy: float, in_scope: float, abstention: float
) -> None:
    """At each threshold the shares are those counted by hand; a failure is wrong at all of them."""
    (point,) = sweep(OUTCOMES, [threshold])

    assert (point.threshold, point.accuracy, point.in_scope_accuracy, point.abstention) == pytest.approx(
        (threshold, accuracy, in_scope, abstention)
    )
