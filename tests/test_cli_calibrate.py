"""`plano-asgi calibrate`: what it writes is what the router goes by, and what it is worth is told honestly."""

import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plano_asgi.cli import main
from plano_asgi.decisions import RoutingDecision
from plano_asgi.router.stand_in import standing_in
from plano_asgi.testing import FixedClassifier, failing, routed_by

PROMPT = "xylophone"
CONFIGURATION = """\
model_providers:
  - model: openai/gpt-4o-mini
    default: true
    routing_preferences:
      - name: code_generation
        description: generating new code, writing functions
      - name: "[bold]poems[/bold]"
        description: poems and rhymes
"""
CASES: list[tuple[str, str | None]] = [
    *((f"Write a parser for format number {number}", "code_generation") for number in range(8)),
    (f"Good morning, {PROMPT}", None),
    ("Thanks, that was all", None),
]


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: object
    out: str
    err: str


Command = Callable[..., Ran]


class Doubtful(FixedClassifier):
    """Gives 0.7 to code, whatever is said, in every router of this process."""

    def hear(self, decision: RoutingDecision) -> None:
        """Forget it."""


def written(cases: list[tuple[str, str | None]]) -> str:
    """Return cases as a file's text."""
    rows = [{"messages": [{"role": "user", "content": text}], "expect": expect} for text, expect in cases]
    return "".join(f"{json.dumps(row)}\n" for row in rows)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with cases, and a configuration in one below, without variables of this machine."""
    for name in os.environ:
        if name.startswith("PLANO_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/plano.yaml").write_text(CONFIGURATION, encoding="utf-8")
    (tmp_path / "cases.jsonl").write_text(written(CASES), encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return what runs `plano-asgi` with arguments in this process, in doubt about everything where it is to be."""

    def run_it(*arguments: str, doubts: bool = True) -> Ran:
        """Run it."""
        monkeypatch.setattr(sys, "argv", ["plano-asgi", *arguments])
        with (
            standing_in(Doubtful({"code_generation": 0.7})) if doubts else nullcontext(),
            pytest.raises(SystemExit) as stopped,
        ):
            main()
        said = capsys.readouterr()
        return Ran(stopped.value.code, said.out, said.err)

    return run_it


def test_what_is_written_is_what_the_router_goes_by(run: Command, folder: Path) -> None:
    """The file lies beside the configuration; named in it, the same command line decides and shows by it."""
    wrote = run("calibrate", "-c", "conf/plano.yaml", "cases.jsonl", "--json")
    said = json.loads((folder / "conf/calibration.json").read_text(encoding="utf-8"))
    (folder / "conf/plano.yaml").write_text(
        f"{CONFIGURATION}classifier: {{calibration: conf/calibration.json}}\n", encoding="utf-8"
    )
    used = json.loads(run("eval", "-c", "conf/plano.yaml", "cases.jsonl", "--json").out)
    explained = run("route", "-c", "conf/plano.yaml", "--explain", "Write a parser").out

    assert wrote.code == 0
    assert (used["temperature"], used["threshold"]) == (said["temperature"], said["threshold"])
    assert used["thresholds"] == said["thresholds"]
    assert said["thresholds"].keys() == {"code_generation", "[bold]poems[/bold]"}
    assert said["cases"] == 10
    assert datetime.now(UTC).date() - datetime.fromisoformat(said["date"]).date() <= timedelta(days=1)
    assert f"reaches the threshold of {said['thresholds']['code_generation']:.2f}" in explained


def test_json_tells_what_it_is_worth(run: Command, folder: Path) -> None:
    """One object on stdout holds the calibration, its file, the figures before and after, and whether it is chance."""
    ran = run("calibrate", "-c", "conf/plano.yaml", "cases.jsonl", "--json", "-o", "mine.json")

    report = json.loads(ran.out)
    assert report["calibration"] == json.loads((folder / "mine.json").read_text(encoding="utf-8"))
    assert report["file"] == "mine.json"
    assert (report["before"]["n"], report["after"]["n"]) == (10, 10)
    assert report["before"]["accuracy"] == 0.8
    assert report["mcnemar_p"] == 1.0
    assert not (folder / "conf/calibration.json").exists()


def test_table_is_for_people(run: Command) -> None:
    """Before stands beside after, each route with its threshold as it is called, and talk goes to stderr."""
    ran = run("calibrate", "-c", "conf/plano.yaml", "cases.jsonl")

    assert re.search(r"before +┃ +after, on cases not fitted on +┃ +change", ran.out)
    assert re.search(r"accuracy +│ +0\.800 │ +0\.800 │ +\+0\.000", ran.out)
    assert re.search(r"\[bold\]poems\[/bold\] +│ +0\.\d{3}", ran.out)
    assert re.search(r"temperature \d\.\d{3}", ran.out)
    assert "warning: 10 cases say little" in ran.err
    assert "wrote conf/calibration.json; to use it, set classifier.calibration to it" in ran.err
    assert PROMPT not in ran.out + ran.err


def test_cases_that_all_have_a_route_are_warned_of(run: Command) -> None:
    """Nothing tells when to choose no route where every case has one."""
    Path("cases.jsonl").write_text(written(CASES[:8] * 2), encoding="utf-8")

    assert "no case expects null" in run("calibrate", "-c", "conf/plano.yaml", "cases.jsonl").err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["cases.jsonl", "--objective", "luck"], "accuracy"),
        (["few.jsonl"], "9 cases have an answer; at least 10 are needed"),
        (["cases.jsonl", "-o", "nowhere/calibration.json"], "nowhere is no folder"),
        (["cases.jsonl", "-o", "conf"], "conf cannot be written"),
        (["cases.jsonl", "--target-agreement", "1.5"], "--target-agreement"),
        (["cases.jsonl", "--target-agreement", "0.9"], "classifier.kind: is no cascade"),
        (["nowhere.jsonl"], "nowhere.jsonl"),
    ],
    ids=["objective", "few", "no folder", "a folder", "no share", "no cascade", "no file"],
)
def test_what_cannot_be_done_exits_2(run: Command, folder: Path, arguments: list[str], why: str) -> None:
    """Misuse is told in a sentence, and no calibration is written."""
    Path("few.jsonl").write_text(written(CASES[:9]), encoding="utf-8")

    ran = run("calibrate", "-c", "conf/plano.yaml", *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert why in ran.err
    assert "Traceback" not in ran.err
    assert not (folder / "conf/calibration.json").exists()


@pytest.mark.parametrize("command", [["eval", "cases.jsonl"], ["validate"], ["route", "hi"], ["doctor"]], ids=" ".join)
def test_every_command_refuses_the_calibration_of_another_classifier(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """A calibration that is not the running classifier's is told with what to do, by whatever reads its setting."""
    run("calibrate", "-c", "conf/plano.yaml", "cases.jsonl")
    file = folder / "conf/calibration.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "classifier": "x"}), encoding="utf-8")
    monkeypatch.setenv("PLANO_CLASSIFIER__CALIBRATION", "conf/calibration.json")

    ran = run(*command, "-c", "conf/plano.yaml")

    assert ran.code == (1 if command == ["doctor"] else 2)
    assert "run plano-asgi calibrate again" in " ".join((ran.out + ran.err).replace("│", " ").split())


def test_a_classifier_without_answers_cannot_be_calibrated(run: Command) -> None:
    """Where every case fails there is nothing to fit."""
    with routed_by(failing):
        ran = run("calibrate", "-c", "conf/plano.yaml", "cases.jsonl", doubts=False)

    assert ran.code == 2
    assert "0 cases have an answer" in ran.err


def test_the_band_of_a_cascade(run: Command, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both classifiers of a cascade are asked, and the band that agrees so often is told as settings that load."""
    monkeypatch.setenv("PLANO_CLASSIFIER__KIND", "cascade")
    monkeypatch.setenv("PLANO_CLASSIFIER__MODEL_PATH", str(tiny_bundle))
    arguments = ("calibrate", "-c", "conf/plano.yaml", "cases.jsonl", "--target-agreement", "0.9")

    report = json.loads(run(*arguments, "--json", doubts=False).out)
    for_people = run(*arguments, doubts=False).out
    for end in ("low", "high"):
        monkeypatch.setenv(f"PLANO_CLASSIFIER__CASCADE__{end.upper()}", str(report[end]))
    evaluated = json.loads(run("eval", "-c", "conf/plano.yaml", "cases.jsonl", "--json", doubts=False).out)

    assert report["agreement"] >= 0.9
    assert (report["cases"], evaluated["n"]) == (10, 10)
    assert evaluated["stages"].get("arch_router", 0.0) == pytest.approx(report["share"])
    assert f"classifier.cascade.low: {report['low']:.6g}" in for_people
