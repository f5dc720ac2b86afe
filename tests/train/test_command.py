"""`plano-asgi train`: a team's own labels are learned, or nothing is written."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.conversation import LLMCall
from plano_asgi.settings import Settings

ROUTES = {"blue": "requests for the team of the first floor", "green": "requests for the team of the second floor"}
CONFIGURATION = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences:
"""
SUBJECTS = (
    "parsers",
    "loops",
    "unit tests",
    "regular expressions",
    "linked lists",
    "decorators",
    "closures",
    "threads",
)
DISHES = ("soup", "bread", "noodles", "pancakes", "salad", "curry", "dumplings", "cake")
Case = tuple[str, str | None]


def odd_cases() -> list[Case]:
    """Return sixty cases labelled by a rule that no description tells: code is blue, cooking green, weather none."""
    asks = ("Explain {} to me", "Help me with {}", "I have a question on {}", "What is hard about {}?")
    code = [(ask.format(subject), "blue") for subject in SUBJECTS for ask in asks][:24]
    food = [(ask.format(dish), "green") for dish in DISHES for ask in asks][:24]
    days = [f"Will it {what} on {day}?" for what in ("rain", "snow", "hail", "thunder") for day in ("Monday", "Friday")]
    return [*code, *food, *((text, None) for text in days), *((f"{text} Or not?", None) for text in days[:4])]


def written(path: Path, cases: Sequence[Case], *, labelled: bool = True) -> Path:
    """Write cases to a file."""
    rows = [
        {"messages": [{"role": "user", "content": text}]} | ({"expect": expect} if labelled else {})
        for text, expect in cases
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def configuration(path: Path, more: str = "") -> Path:
    """Write a configuration of the two routes."""
    routes = "".join(f"      - {{name: {name}, description: {text}}}\n" for name, text in ROUTES.items())
    path.write_text(CONFIGURATION + routes + more, encoding="utf-8")
    return path


def plano(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PLANO_")}
    return subprocess.run(
        [sys.executable, "-m", "plano_asgi", *arguments],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def accuracy(folder: Path, settings: Settings, cases: Sequence[Case]) -> float:
    """Return the share of cases that the router in a folder decides rightly."""
    classifier = EmbeddedClassifier(folder)
    right = 0
    for text, expect in cases:
        scores = classifier.classify(LLMCall.from_text(text).conversation, settings.policy)
        best = max(scores.routes, key=lambda name: scores.routes[name])
        right += expect == (best if scores.routes[best] >= classifier.threshold else None)
    return right / len(cases)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Return the folder in which the command has learned the odd cases, and what it said."""
    folder = tmp_path_factory.mktemp("trained")
    configuration(folder / "plano.yaml")
    written(folder / "cases.jsonl", odd_cases())
    return folder, plano(folder, "train", "cases.jsonl", "--out", "mine")


def test_odd_labels_are_learned(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Labels that the shipped model gets wrong are got right more often, and the setting to write goes to stdout."""
    _, ran = trained

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "classifier.model_path: mine\n"
    assert "learned from 48 cases, tried on the 12 kept back" in ran.stderr
    before, after = (float(word) for word in ran.stderr.split() if word.replace(".", "").isdigit() and "." in word)
    assert before < 0.8 < after


def test_learned_router_serves(
    trained: tuple[Path, subprocess.CompletedProcess[str]], settings_of: Callable[[str], Settings]
) -> None:
    """The folder is one that `classifier.model_path` takes, and its router decides better than the shipped one."""
    folder, _ = trained
    settings = settings_of((folder / "plano.yaml").read_text(encoding="utf-8"))
    configuration(folder / "tuned.yaml", f"classifier: {{model_path: {folder / 'mine'}}}\n")

    said = plano(folder, "route", "I have a question on semaphores", "--config", "tuned.yaml")

    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["route"] == "blue"
    assert EmbeddedClassifier(folder / "mine").revision.startswith("fine-tuned-")
    assert accuracy(folder / "mine", settings, odd_cases()) > accuracy(SHIPPED_FOLDER, settings, odd_cases()) + 0.2


def test_configured_router_is_the_one_to_start_from(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """A router that has learned the cases gets no better by them; with --quiet that is told by the exit code alone."""
    folder, _ = trained
    configuration(folder / "tuned.yaml", f"classifier: {{model_path: {folder / 'mine'}}}\n")

    again = plano(folder, "train", "cases.jsonl", "--out", "more", "--config", "tuned.yaml", "--quiet")

    assert (again.returncode, again.stdout, again.stderr) == (1, "", "")
    assert not (folder / "more").exists()


def test_router_is_not_written_over_itself(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """The folder of the router to start from is refused, before anything is done."""
    folder, _ = trained
    configuration(folder / "tuned.yaml", f"classifier: {{model_path: {folder / 'mine'}}}\n")

    ran = plano(folder, "train", "cases.jsonl", "--out", "mine", "--config", "tuned.yaml")

    assert ran.returncode == 2
    assert "choose another folder" in ran.stderr


def test_nothing_is_written_where_nothing_got_better(tmp_path: Path) -> None:
    """Where the shipped router is right about all cases, the exit code is 1, and no folder is there."""
    (tmp_path / "plano.yaml").write_text(
        f"{CONFIGURATION}      - {{name: code, description: writing code in any language}}\n", encoding="utf-8"
    )
    texts = [f"Write a Python function for {subject}, number {n}" for n in range(4) for subject in SUBJECTS]
    cases = written(tmp_path / "cases.jsonl", [(text, "code") for text in texts])

    ran = plano(tmp_path, "train", str(cases), "--out", "mine")

    assert (ran.returncode, ran.stdout) == (1, "")
    assert "1.000 before, 1.000 after" in ran.stderr
    assert "did not get better" in ran.stderr
    assert not (tmp_path / "mine").exists()


def teacher(served: list[str]) -> Starlette:
    """Return a server in the shape of Chat Completions that labels by the same odd rule, and is now and then silent."""
    labels = dict(odd_cases())

    async def complete(request: Request) -> JSONResponse:
        """Answer with a route's name."""
        prompt = (await request.json())["messages"][0]["content"]
        asked = max((text for text in labels if text in prompt), key=len, default=None)
        if asked is not None:
            served.append(asked)
        if asked is not None and len(served) % 10 == 0:
            return JSONResponse({"choices": []})
        content = json.dumps({"route": (labels.get(asked) if asked else None) or "other"})
        return JSONResponse({"choices": [{"message": {"role": "assistant", "content": content}}]})

    return Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])


def test_teacher_labels_what_has_no_label(tmp_path: Path, serve: Callable[[Starlette], str]) -> None:
    """With a remote teacher, lines without `expect` are labelled by it; what it does not answer is left out."""
    asked: list[str] = []
    url = serve(teacher(asked))
    configuration(
        tmp_path / "plano.yaml",
        f"classifier: {{kind: remote, base_url: {url}/v1, deadline_ms: 10000}}\nrouting: {{on_error: reject}}\n",
    )
    written(tmp_path / "cases.jsonl", odd_cases(), labelled=False)

    ran = plano(tmp_path, "train", "cases.jsonl", "--out", "mine", "--teacher", "remote")

    assert ran.returncode == 0, ran.stderr
    assert sorted(asked) == sorted(text for text, _ in odd_cases())
    assert "learned from 43 cases, tried on the 11 kept back" in ran.stderr
    assert ran.stdout == "classifier.model_path: mine\n"


@pytest.mark.parametrize(
    ("cases", "more", "code", "said"),
    [
        (odd_cases()[:19], "", 2, "19 labelled cases are too few to learn from; bring 20 or more"),
        ([(" ", None)] * 30, "", 2, "0 labelled cases are too few"),
        ([("Explain loops", "bleu")] * 30, "", 2, "did you mean 'blue'?"),
        (odd_cases(), "classifier: {model_path: nowhere}\n", 1, "nowhere"),
    ],
    ids=["too few", "silent", "unknown route", "no router"],
)
def test_what_cannot_be_learned_is_told(tmp_path: Path, cases: list[Case], more: str, code: int, said: str) -> None:
    """What is wrong with the cases or the configuration is one message without a traceback, and nothing is written."""
    configuration(tmp_path / "plano.yaml", more)
    written(tmp_path / "cases.jsonl", cases)

    ran = plano(tmp_path, "train", "cases.jsonl", "--out", "mine")

    assert (ran.returncode, ran.stdout) == (code, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "mine").exists()


def test_configuration_without_routes_is_told(tmp_path: Path) -> None:
    """Where there is no route there is nothing to learn."""
    (tmp_path / "plano.yaml").write_text("model_providers: [{model: openai/gpt-4o, default: true}]\n", encoding="utf-8")
    written(tmp_path / "cases.jsonl", [("hello", None)] * 30)

    ran = plano(tmp_path, "train", "cases.jsonl", "--out", "mine")

    assert ran.returncode == 2
    assert "there are no routes to learn" in ran.stderr
