"""The command `plano-asgi`: what each subcommand prints, where, and how it exits."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.cli import main
from plano_asgi.settings import STARTING_FILE, load_settings

KEY = "sk-never-to-be-shown-4711"
PROMPT = "Write a parser for ISO dates in Kotlin, xylophone"
CONFIGURATION = f"""\
model_providers:
  - model: openai/gpt-4o-mini
    default: true
    access_key: {KEY}
  - model: anthropic/claude-sonnet-4-20250514
    headers: {{x-team: {KEY}}}
    routing_preferences:
      - name: code_generation
        description: generating new code, writing functions
admin:
  token: {KEY}
classifier:
  deadline_ms: 20000
"""
FAULTY = f"modus: observe\nenabled: {KEY}\n{CONFIGURATION}"


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: object
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, without variables of this machine, on a wide terminal."""
    for name in os.environ:
        if name.startswith("PLANO_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plano(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return what runs `plano-asgi` with arguments in this process, through its own entry point."""

    def run(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["plano-asgi", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return Ran(stopped.value.code, said.out, said.err)

    return run


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    """Return the name of a valid configuration that is full of secrets; it is not the default one's."""
    (tmp_path / "mine.yaml").write_text(CONFIGURATION, encoding="utf-8")
    return "mine.yaml"


def test_serve_with_faults_reports_them_all_and_exits_2(plano: Command, tmp_path: Path) -> None:
    """A faulty configuration is not served: every fault is on stderr with its line, no value is, and the code is 2."""
    (tmp_path / "plano.yaml").write_text(FAULTY, encoding="utf-8")

    ran = plano("serve", "--port", "0")

    assert (ran.code, ran.out) == (2, "")
    assert "2 faults" in ran.err
    assert "plano.yaml:1: modus:" in ran.err
    assert "plano.yaml:2: enabled:" in ran.err
    assert KEY not in ran.err


def test_classifier_that_cannot_be_built_exits_2(
    plano: Command, configuration: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A classifier that lacks what it needs is a configuration fault, not a crash."""
    monkeypatch.setenv("PLANO_CLASSIFIER__DEVICE", "cuda")

    ran = plano("route", "-c", configuration, "hello")

    assert (ran.code, ran.out) == (2, "")
    assert "classifier.device: the embedded router runs on the CPU" in ran.err


def test_route_prints_one_json_object_and_nothing_else_on_stdout(plano: Command, configuration: str) -> None:
    """A decision is JSON as the endpoints give it; stdout can be piped into a program as it is."""
    ran = plano("route", "-c", configuration, PROMPT)

    decision = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert decision["route"] == "code_generation"
    assert decision["model"] == "anthropic/claude-sonnet-4-20250514"
    assert decision["scores"].keys() == {"code_generation", "other"}


def test_route_warns_on_stderr_alone(plano: Command, tmp_path: Path) -> None:
    """What a configuration says in vain is told on stderr, so that stdout stays JSON."""
    (tmp_path / "plano.yaml").write_text(f"version: v0.4.0\nlisteners: []\n{CONFIGURATION}", encoding="utf-8")

    ran = plano("route", "hello")

    assert json.loads(ran.out)["route"] is None
    assert "warning: " in ran.err
    assert KEY not in ran.err


def test_route_reads_stdin_where_the_text_is_a_dash(plano: Command, configuration: str) -> None:
    """The text `-` stands for standard input."""
    ran = plano("route", "-c", configuration, "-", stdin=PROMPT)

    assert json.loads(ran.out)["route"] == "code_generation"


def test_route_reads_bytes_on_stdin_that_are_no_text(configuration: str) -> None:
    """Standard input that is not UTF-8 is read as far as it goes instead of ending in a traceback."""
    ran = subprocess.run(
        [sys.executable, "-m", "plano_asgi", "route", "-c", configuration, "-"],
        input=b"Write a parser in Kotlin \xff\xfe",
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, b"")
    assert json.loads(ran.stdout)["route"] == "code_generation"


@pytest.mark.parametrize("text", ["", " \n", "\ud800", "a\x00b"], ids=["empty", "blank", "surrogate", "nul"])
def test_route_decides_any_text(plano: Command, configuration: str, text: str) -> None:
    """No text is too odd for a decision."""
    assert json.loads(plano("route", "-c", configuration, text).out)["reason"] in {"matched", "no_match"}


def test_route_explain_shows_chances_threshold_and_model(plano: Command, configuration: str) -> None:
    """People get a table of chances, the threshold that decided and the model, instead of JSON."""
    ran = plano("route", "-c", configuration, "--explain", PROMPT)

    assert ran.code == 0
    assert re.search(r"│ code_generation +│ 0\.\d{3}|│ code_generation +│ 1\.000", ran.out)
    assert "other (none of these)" in ran.out
    assert re.search(r"code_generation: \d\.\d\d reaches the threshold of 0\.\d\d", ran.out)
    assert "would use: anthropic/claude-sonnet-4-20250514" in ran.out


def test_route_explain_names_who_decides(plano: Command, configuration: str) -> None:
    """A call that an experiment decides by a classifier of its own is told as decided by that one."""
    text = Path(configuration).read_text(encoding="utf-8")
    own = "{kind: remote, base_url: 'http://127.0.0.1:9/v1'}"
    Path(configuration).write_text(
        f"{text}\nexperiments: [{{name: all, share: 1.0, classifier: {own}}}]\n", encoding="utf-8"
    )

    assert re.search(r"^remote, [\d.]+ ms$", plano("route", "-c", configuration, "--explain", PROMPT).out, re.MULTILINE)


@pytest.mark.parametrize("command", [["validate"], ["route", "--explain", PROMPT], ["doctor"]], ids=lambda c: c[0])
def test_tables_are_printed_where_stdout_is_ascii(configuration: str, command: list[str]) -> None:
    """A stdout that knows no box lines gets a plainer table, not a traceback."""
    ran = subprocess.run(
        [sys.executable, "-m", "plano_asgi", *command, "-c", configuration],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "60"},
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.isascii()
    assert len(ran.stdout.splitlines()) > 4


def test_validate_shows_every_route_with_its_whole_models(
    plano: Command, configuration: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A valid configuration is shown as it was understood; a narrow terminal wraps names and cuts none off."""
    monkeypatch.setenv("COLUMNS", "50")

    ran = plano("validate", "-c", configuration)

    cells = [line.split("│")[1:4] for line in ran.out.splitlines() if line.startswith("│")]
    columns = ["".join(part.strip() for part in column) for column in zip(*cells, strict=True)]
    assert (ran.code, ran.err) == (0, "")
    assert columns[0] == "code_generation"
    assert columns[2] == "anthropic/claude-sonnet-4-20250514"
    assert "calls that no route matches: openai/gpt-4o-mini" in ran.out


def test_validate_json_of_a_valid_configuration_says_so(plano: Command, configuration: str) -> None:
    """Programs get JSON: valid, no faults, and the warnings."""
    ran = plano("validate", "-c", configuration, "--json")

    assert ran.code == 0
    assert json.loads(ran.out) == {"valid": True, "faults": [], "warnings": []}


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["for people", "json"])
def test_validate_reports_every_fault_and_exits_2(plano: Command, tmp_path: Path, form: list[str]) -> None:
    """Faults go to stderr for people and to stdout as JSON, all at once, each with its place, and the code is 2."""
    (tmp_path / "plano.yaml").write_text(FAULTY, encoding="utf-8")

    ran = plano("validate", *form)

    assert ran.code == 2
    assert KEY not in ran.out + ran.err
    if form:
        said = json.loads(ran.out)
        assert said["valid"] is False
        assert [(fault["origin"], fault["where"]) for fault in said["faults"]] == [
            ("plano.yaml:1", "modus"),
            ("plano.yaml:2", "enabled"),
        ]
    else:
        assert ran.out == ""
        assert "plano.yaml:1: modus:" in ran.err


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ("calibration: nowhere.json", "experiments[0].calibration"),
        ("classifier: {kind: embedded, calibration: nowhere.json}", "experiments[0].classifier.calibration"),
    ],
    ids=["its own", "of its own classifier"],
)
def test_validate_reads_the_calibrations_of_experiments(
    plano: Command, configuration: str, changes: str, where: str
) -> None:
    """A calibration that an experiment names and that cannot be used is a fault, where that is written."""
    with Path(configuration).open("a", encoding="utf-8") as file:
        file.write(f"\nexperiments: [{{name: a, share: 0.1, {changes}}}]\n")

    ran = plano("validate", "-c", configuration, "--json")

    assert (ran.code, [fault["where"] for fault in json.loads(ran.out)["faults"]]) == (2, [where])


def test_validate_of_a_missing_file_exits_2_and_names_it(plano: Command) -> None:
    """A file that is named and missing is a fault."""
    ran = plano("validate", "-c", "nowhere.yaml")

    assert (ran.code, ran.out) == (2, "")
    assert "nowhere.yaml does not exist" in ran.err


def test_init_writes_the_starting_file_which_validates(plano: Command, tmp_path: Path) -> None:
    """The file that init writes is the default one, is valid as it is, and routes to the models it names."""
    written = plano("init")

    validated = plano("validate", "--json")
    assert (written.code, written.out) == (0, "")
    assert "wrote plano.yaml" in written.err
    assert json.loads(validated.out)["valid"] is True
    assert (tmp_path / "plano.yaml").read_text(encoding="utf-8") == STARTING_FILE
    assert len(load_settings(tmp_path / "plano.yaml", environ={}).policy.preferences) == 2


def test_init_replaces_a_file_with_force_alone(plano: Command, tmp_path: Path) -> None:
    """A file that exists is kept, unless --force is given."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("precious", encoding="utf-8")

    refused = plano("init", "mine.yaml")
    kept = mine.read_text(encoding="utf-8")
    forced = plano("init", "mine.yaml", "--force")

    assert (refused.code, kept) == (2, "precious")
    assert "--force" in refused.err
    assert (forced.code, mine.read_text(encoding="utf-8")) == (0, STARTING_FILE)


@pytest.mark.parametrize("path", ["no/such/folder.yaml", "."], ids=["missing folder", "a folder"])
def test_init_where_nothing_can_be_written_exits_2_and_says_so(plano: Command, path: str) -> None:
    """A place that cannot be written is a usage error with a reason."""
    ran = plano("init", path, "--force")

    assert (ran.code, ran.out) == (2, "")
    assert "cannot be written" in ran.err


def test_doctor_finds_nothing_wrong_with_a_good_configuration(plano: Command, configuration: str) -> None:
    """Everything that can be wrong is looked at and in order: configuration, device, files and a timed decision."""
    ran = plano("doctor", "-c", configuration, "--json")

    findings = {finding["subject"]: finding for finding in json.loads(ran.out)}
    assert ran.code == 0
    assert {name for name, finding in findings.items() if finding["ok"]} == {
        "configuration",
        "device",
        "model files",
        "timed decision",
    }
    assert re.fullmatch(r"[\d.]+ ms of 20000 ms allowed", findings["timed decision"]["finding"])
    assert findings["model files"]["finding"].startswith(f"{SHIPPED_FOLDER}, revision ")


def test_doctor_without_a_configuration_examines_the_rest_and_exits_1(plano: Command) -> None:
    """A missing configuration is one finding; the model is looked at all the same, and the code is 1."""
    ran = plano("doctor", "--json")

    findings = {finding["subject"]: finding["ok"] for finding in json.loads(ran.out)}
    assert ran.code == 1
    assert [name for name, ok in findings.items() if ok is False] == ["configuration"]
    assert findings["timed decision"] is True


def test_doctor_names_a_model_folder_that_has_no_model(
    plano: Command, configuration: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model path without a model is found, named and fails the check."""
    monkeypatch.setenv("PLANO_CLASSIFIER__MODEL_PATH", str(tmp_path))

    ran = plano("doctor", "-c", configuration)

    assert ran.code == 1
    assert f"{tmp_path}/router.json" in "".join(part.strip(" │\n") for part in ran.out.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["route"], ["route", "--nonsense", "text"], ["serve", "--port", "70000"], ["init", "a", "b"]],
    ids=["no command", "unknown command", "missing text", "unknown option", "impossible port", "too many arguments"],
)
def test_usage_errors_exit_2_with_nothing_on_stdout_but_help(plano: Command, arguments: list[str]) -> None:
    """A command that cannot be understood exits with 2 and says how it is used."""
    ran = plano(*arguments)

    assert ran.code == 2
    assert "Usage: plano-asgi" in ran.out + ran.err
    assert not (arguments and ran.out)


@pytest.mark.parametrize("command", ["serve", "route", "validate", "init", "doctor"])
def test_every_command_explains_itself(plano: Command, command: str) -> None:
    """Every subcommand is listed, and has help of its own."""
    listed, own = plano("--help"), plano(command, "--help")

    assert re.search(rf"│ {command} +\w", listed.out)
    assert (own.code, own.err) == (0, "")
    assert f"Usage: plano-asgi {command}" in own.out


@pytest.mark.parametrize(
    "command",
    [["route", PROMPT], ["route", "--explain", PROMPT], ["validate"], ["validate", "--json"], ["doctor"]],
    ids=" ".join,
)
def test_no_command_prints_a_key_or_what_the_user_said(plano: Command, configuration: str, command: list[str]) -> None:
    """Keys of file and environment, and the prompt, are in no command's output."""
    ran = plano(*command, "-c", configuration)

    assert ran.code == 0
    assert KEY not in ran.out + ran.err
    assert "xylophone" not in ran.out + ran.err


def test_python_m_plano_asgi_is_the_same_command(configuration: str) -> None:
    """`python -m plano_asgi` does what `plano-asgi` does, under the same name."""
    start = [sys.executable, "-m", "plano_asgi"]
    help_page = subprocess.run([*start, "--help"], capture_output=True, text=True, check=False)
    validated = subprocess.run([*start, "validate", "-c", configuration, "--json"], capture_output=True, check=False)

    assert "Usage: plano-asgi" in help_page.stdout
    assert json.loads(validated.stdout)["valid"] is True


def test_validate_refuses_what_serve_would_refuse(tmp_path: Path) -> None:
    """A classifier that cannot be built is a fault already when the configuration is validated."""
    path = tmp_path / "plano.yaml"
    path.write_text("model_providers: [{model: a/b, default: true}]\nclassifier: {device: cuda}\n", encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "plano_asgi", "validate", "-c", str(path)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "classifier.device" in done.stderr


def test_version_is_the_distribution_s() -> None:
    """`plano-asgi --version` prints the version that is installed."""
    done = subprocess.run([sys.executable, "-m", "plano_asgi", "--version"], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == version("plano-asgi")
