"""`plano-asgi eval`: figures for programs and for people, codes for CI, and faults that can be mended."""

import io
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.cli import main
from plano_asgi.decisions import RoutingDecision
from plano_asgi.router.stand_in import standing_in
from plano_asgi.testing import FixedClassifier, failing, routed_by

KEY = "sk-never-to-be-shown-4711"
PROMPT = "xylophone"
CONFIGURATION = f"""\
model_providers:
  - model: openai/gpt-4o-mini
    default: true
    access_key: {KEY}
    routing_preferences:
      - name: code_generation
        description: generating new code, writing functions
      - name: "[bold]poems[/bold]"
        description: poems and rhymes
"""
RULE = {"parser": "code_generation", "poem": "[bold]poems[/bold]"}
CASES: list[tuple[str, str | None]] = [
    ("Write a parser for ISO dates in Kotlin", "code_generation"),
    ("Write a parser for ISO dates in Kotlin", "code_generation"),
    ("A parser of poems", "[bold]poems[/bold]"),
    (f"Good morning, {PROMPT}", None),
]
PROMISED = {"n", "accuracy", "in_scope_accuracy", "abstain_precision", "abstain_recall"}
PROMISED |= {"ece", "p50_ms", "p95_ms", "per_route"}


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: object
    out: str
    err: str


Command = Callable[..., Ran]


def written(cases: list[tuple[str, str | None]]) -> str:
    """Return cases as a file's text."""
    rows = [{"messages": [{"role": "user", "content": text}], "expect": expect} for text, expect in cases]
    return "".join(f"{json.dumps(row)}\n" for row in rows)


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with a configuration and cases, without variables of this machine, on a wide terminal."""
    for name in os.environ:
        if name.startswith("PLANO_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PLANO_CLASSIFIER__DEADLINE_MS", "10000")  # a busy machine is no failure
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plano.yaml").write_text(CONFIGURATION, encoding="utf-8")
    (tmp_path / "strict.yaml").write_text(CONFIGURATION + "routing: {threshold: 0.9}\n", encoding="utf-8")
    (tmp_path / "cases.jsonl").write_text(written(CASES), encoding="utf-8")


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return what runs `plano-asgi eval` with arguments in this process, through its own entry point."""

    def run(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["plano-asgi", "eval", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return Ran(stopped.value.code, said.out, said.err)

    return run


class Doubtful(FixedClassifier):
    """Gives 0.7 to code, whatever is said, in every router of this process."""

    def hear(self, decision: RoutingDecision) -> None:
        """Forget it."""


@contextmanager
def doubt() -> Iterator[None]:
    """Let every router be in doubt, so that its threshold makes the difference."""
    with standing_in(Doubtful({"code_generation": 0.7})):
        yield


def test_json_holds_what_is_promised(evaluate: Command) -> None:
    """One object on stdout has the promised keys with the figures of the cases, and nothing is on stderr."""
    with routed_by(RULE):
        ran = evaluate("-c", "plano.yaml", "cases.jsonl", "--json")

    figures = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert figures.keys() >= PROMISED
    assert (figures["n"], figures["accuracy"], figures["in_scope_accuracy"]) == (4, 0.75, pytest.approx(2 / 3))
    assert (figures["abstain_precision"], figures["abstain_recall"], figures["ece"]) == (1.0, 1.0, 0.25)
    assert figures["per_route"] == {
        "code_generation": {"n": 2, "precision": pytest.approx(2 / 3), "recall": 1.0},
        "[bold]poems[/bold]": {"n": 1, "precision": None, "recall": 0.0},
    }
    assert figures["confusions"] == [{"expect": "[bold]poems[/bold]", "route": "code_generation", "n": 1}]
    assert 0 < figures["p50_ms"] <= figures["p95_ms"]


def test_shipped_model_is_evaluated_as_it_serves(evaluate: Command) -> None:
    """Without a stand-in the configured classifier decides, with its own threshold; a repeated case is not free."""
    Path("same.jsonl").write_text(written([CASES[0]] * 5), encoding="utf-8")

    figures = json.loads(evaluate("same.jsonl", "--json").out)

    assert (figures["n"], figures["accuracy"], figures["failures"]) == (5, 1.0, 0)
    assert figures["classifier"] == "embedded"
    assert figures["revision"].startswith("embedded-")
    assert 0 < figures["threshold"] < 1
    assert figures["p50_ms"] > 0.5  # a run of the encoder, which no processor does faster; the cache needs some 0.05


def test_cases_can_come_from_stdin(evaluate: Command) -> None:
    """A dash reads the cases from standard input, and faults name it."""
    with routed_by(RULE):
        ran, broken = evaluate("-", "--json", stdin=written(CASES[:1])), evaluate("-", stdin="{")

    assert json.loads(ran.out)["n"] == 1
    assert "<stdin>:1: " in broken.err


def test_table_is_for_people(evaluate: Command) -> None:
    """Without --json there are tables: overall, each route, and the commonest mistakes; names appear as they are."""
    with routed_by(RULE):
        ran = evaluate("cases.jsonl")

    assert (ran.code, ran.err) == (0, "")
    assert re.search(r"accuracy +│ +0\.750", ran.out)
    assert re.search(r"code_generation +│ 2 │ +0\.667 │ +1\.000", ran.out)
    assert re.search(r"\[bold\]poems\[/bold\] +│ 1 │ +– │ +0\.000", ran.out)
    assert re.search(r"\[bold\]poems\[/bold\] +│ code_generation +│ 1", ran.out)
    assert PROMPT not in ran.out


@pytest.mark.parametrize(("least", "code"), [("0.75", 0), ("0.7501", 1), ("0", 0), ("1.5", 2), ("much", 2)])
def test_least_accuracy_decides_the_exit_code(evaluate: Command, least: str, code: int) -> None:
    """An accuracy of 0.75 passes 0.75 and nothing above; the figures are printed all the same, and misuse is 2."""
    with routed_by(RULE):
        ran = evaluate("cases.jsonl", "--json", "--min-accuracy", least)

    assert ran.code == code
    assert bool(ran.out) == (code != 2)
    assert ("accuracy 0.750 is below" in ran.err) == (code == 1)


def test_least_accuracy_that_is_no_number_is_never_reached(evaluate: Command) -> None:
    """NaN, which compares with nothing, does not let everything pass."""
    with routed_by(RULE):
        assert evaluate("cases.jsonl", "--json", "--min-accuracy", "nan").code != 0


def test_comparison_as_json(evaluate: Command) -> None:
    """Both configurations' figures stand beside each other, with the cases that tell them apart."""
    with doubt():
        ran = evaluate("-c", "plano.yaml", "cases.jsonl", "--compare", "strict.yaml", "--json")

    report = json.loads(ran.out)
    assert list(report) == ["a", "b", "comparison"]
    assert report["a"].keys() == report["b"].keys() >= PROMISED
    assert (report["a"]["accuracy"], report["b"]["accuracy"]) == (0.5, 0.25)
    assert (report["a"]["threshold"], report["b"]["threshold"]) == (EmbeddedClassifier().threshold, 0.9)
    ratio = report["b"]["p50_ms"] / report["a"]["p50_ms"]
    assert report["comparison"] == {
        "both_right": 0,
        "only_a": 2,
        "only_b": 1,
        "both_wrong": 1,
        "mcnemar_p": 1.0,
        "p50_ratio": pytest.approx(ratio),
    }


def test_comparison_for_people(evaluate: Command) -> None:
    """The table has a column for each configuration and one of differences; what McNemar says stands below."""
    with doubt():
        ran = evaluate("cases.jsonl", "--compare", "strict.yaml")

    assert re.search(r"a: plano\.yaml +┃ +b: strict\.yaml +┃ +b - a", ran.out)
    assert re.search(r"accuracy +│ +0\.500 │ +0\.250 │ +-0\.250", ran.out)
    assert re.search(r"code_generation +│ 2 │ +0\.500 │ +1\.000 │ +– │ +0\.000", ran.out)
    assert "only a right 2, only b right 1, both right 0, both wrong 1" in ran.out
    assert "McNemar's exact test: p = 1" in ran.out
    assert re.search(r"takes \d+\.\d\d times as long", ran.out)


@pytest.mark.parametrize(("first", "second", "code"), [("plano", "strict", 0), ("strict", "plano", 1)])
def test_least_accuracy_is_the_first_configurations(evaluate: Command, first: str, second: str, code: int) -> None:
    """Of two configurations the first has to reach the accuracy, whatever the second does."""
    with doubt():
        ran = evaluate("-c", f"{first}.yaml", "cases.jsonl", "--compare", f"{second}.yaml", "--min-accuracy", "0.5")

    assert ran.code == code


def test_faults_of_the_cases_exit_2_with_every_line(evaluate: Command) -> None:
    """All that is wrong with the cases is on stderr at once, by line; no prompt is, and nothing is decided."""
    broken = [f'{{"messages": "{PROMPT}"', json.dumps({"messages": PROMPT}), written([(PROMPT, "poetry")]).strip()]
    Path("broken.jsonl").write_text(written(CASES[:1]) + "\n".join(broken), encoding="utf-8")

    with routed_by(RULE) as decisions:
        ran = evaluate("broken.jsonl", "--compare", "strict.yaml", "--json")

    assert (ran.code, ran.out) == (2, "")
    assert re.findall(r"^broken\.jsonl:(\d+): ", ran.err, re.MULTILINE) == ["2", "3", "4", "4"]
    assert {"plano.yaml has no route", "strict.yaml has no route"} <= set(
        re.findall(r"\w+\.yaml has no route", ran.err)
    )
    assert PROMPT not in ran.err
    assert decisions == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nowhere.jsonl"], "nowhere.jsonl"),
        (["empty.jsonl"], "there are no cases"),
        (["cases.jsonl", "-c", "nowhere.yaml"], "nowhere.yaml"),
        (["cases.jsonl", "--compare", "nowhere.yaml"], "nowhere.yaml"),
        (["cases.jsonl", "--compare", "cuda.yaml"], "classifier.device: the embedded router runs on the CPU"),
        ([], "CASES"),
    ],
    ids=["no file", "no cases", "no configuration", "no second one", "second that cannot be built", "nothing"],
)
def test_usage_and_configuration_exit_2_before_anything_is_decided(
    evaluate: Command, arguments: list[str], why: str
) -> None:
    """What cannot be evaluated is told first, that of the second configuration too."""
    Path("empty.jsonl").write_text("", encoding="utf-8")
    Path("cuda.yaml").write_text(CONFIGURATION + "classifier: {device: cuda}\n", encoding="utf-8")

    with routed_by(RULE) as decisions:
        ran = evaluate(*arguments)

    assert (ran.code, ran.out) == (2, "")
    assert why in ran.err
    assert "Traceback" not in ran.err
    assert decisions == []


def test_cases_without_an_answer_are_told(evaluate: Command) -> None:
    """Where the classifier fails, a warning says for how many cases, and they are wrong; stdout stays JSON."""
    with routed_by(failing):
        ran = evaluate("cases.jsonl", "--json")

    figures = json.loads(ran.out)
    assert (figures["failures"], figures["accuracy"], figures["abstain_precision"]) == (4, 0.0, None)
    assert "warning: plano.yaml: 4 of 4 cases had no answer" in ran.err


def test_classifier_that_cannot_be_reached_exits_1(evaluate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A remote classifier that is not there is told once, and no case is held against it."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv("PLANO_CLASSIFIER__KIND", "remote")
    monkeypatch.setenv("PLANO_CLASSIFIER__BASE_URL", f"http://127.0.0.1:{port}/v1")

    ran = evaluate("cases.jsonl", "--json")

    assert (ran.code, ran.out) == (1, "")
    assert len(ran.err.splitlines()) == 1
    assert KEY not in ran.err


def test_terminal_shows_progress_on_stderr(evaluate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stderr is a terminal a bar is drawn there, and stdout is JSON all the same."""
    monkeypatch.setenv("FORCE_COLOR", "1")

    with routed_by(RULE):
        ran = evaluate("cases.jsonl", "--json")

    assert json.loads(ran.out)["n"] == 4
    assert "cases" in ran.err


def test_json_holds_the_whole_confusion_matrix(evaluate: Command) -> None:
    """Each expected route counts what was decided, `other` being no route, which no route can be called."""
    with routed_by(RULE):
        figures = json.loads(evaluate("cases.jsonl", "--json").out)

    nothing = {"code_generation": 0, "[bold]poems[/bold]": 0, "other": 0}
    assert figures["confusion"] == {
        "code_generation": {**nothing, "code_generation": 2},
        "[bold]poems[/bold]": {**nothing, "code_generation": 1},
        "other": {**nothing, "other": 1},
    }
    assert (figures["temperature"], figures["thresholds"]) == (1.0, {})


def test_confusion_matrix_is_shown_on_request(evaluate: Command) -> None:
    """People see a row for each expected route, with names as they are, where they ask for it and not otherwise."""
    with routed_by(RULE):
        asked, plain = evaluate("cases.jsonl", "--confusion"), evaluate("cases.jsonl")

    assert re.search(r"1 │ code_generation +│ 2 │ +│ +│", asked.out)
    assert re.search(r"2 │ \[bold\]poems\[/bold\] +│ 1 │ +│ +│", asked.out)
    assert re.search(r"3 │ no route +│ +│ +│ 1 │", asked.out)
    assert "decided (across)" not in plain.out


def test_robustness_is_told_on_request(evaluate: Command) -> None:
    """The share of other decisions is there for each kind of change, in the table and in the JSON of each of two."""
    with routed_by(RULE):  # which takes no notice of case, but of words
        asked = json.loads(evaluate("cases.jsonl", "--json", "--robustness").out)
        shown = evaluate("cases.jsonl", "--robustness").out
        both = json.loads(evaluate("cases.jsonl", "--compare", "strict.yaml", "--json", "--robustness").out)

    assert list(asked["robustness"]) == [
        "typos", "lower case", "upper case", "reordered routes", "reworded descriptions",
    ]  # fmt: skip
    assert asked["robustness"]["upper case"] == {"rounds": 1, "flips": 0.0, "accuracy": 0.75}
    assert asked["robustness"]["reordered routes"]["flips"] == 0.0
    assert re.search(r"upper case +│ +1 │ +0\.000 │ +0\.750", shown)
    assert both["a"]["robustness"] == both["b"]["robustness"] == asked["robustness"]


def test_no_robustness_unless_asked_for(evaluate: Command) -> None:
    """The cases are decided once, and no more is said."""
    with routed_by(RULE) as decisions:
        ran = evaluate("cases.jsonl", "--json")

    assert "robustness" not in json.loads(ran.out)
    assert len(decisions) == len(CASES)


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")], ids=["png", "svg"])
def test_a_picture_is_drawn_where_it_is_asked_for(evaluate: Command, name: str, start: bytes) -> None:
    """The file is a picture, stderr says where it is, and the JSON is as it would be without."""
    with routed_by(RULE):
        ran = evaluate("cases.jsonl", "--compare", "strict.yaml", "--json", "--plot", name)

    assert (ran.code, ran.err) == (0, f"wrote {name}\n")
    assert Path(name).read_bytes().startswith(start)
    assert json.loads(ran.out)["a"]["n"] == 4


@pytest.mark.parametrize(
    ("name", "why"),
    [("a.pdf", "ends in .png or .svg"), ("a", "ends in .png or .svg"), ("nowhere/a.png", "nowhere is no folder")],
    ids=["another suffix", "no suffix", "no folder"],
)
def test_a_picture_that_cannot_be_drawn_is_told_first(evaluate: Command, name: str, why: str) -> None:
    """Misuse is told before any case is decided."""
    with routed_by(RULE) as decisions:
        ran = evaluate("cases.jsonl", "--plot", name)

    assert (ran.code, ran.out, decisions) == (2, "", [])
    assert why in ran.err


def test_a_picture_without_matplotlib_names_the_extra(evaluate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is told before any case is decided."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with routed_by(RULE) as decisions:
        ran = evaluate("cases.jsonl", "--plot", "a.png")

    assert (ran.code, ran.out, decisions) == (1, "", [])
    assert "pip install 'plano-asgi[plot]'" in ran.err
