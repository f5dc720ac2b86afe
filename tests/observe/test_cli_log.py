"""`plano-asgi decisions` and `plano-asgi replay`: the log for people and programs, and decided again."""

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from plano_asgi.cli import main
from plano_asgi.cli.reading_decisions import LogReader
from plano_asgi.secret import Secret
from plano_asgi.testing import FixedClassifier, routed_by

ROUTING = "/routing/v1/chat/completions"
SETTINGS = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing functions}]
admin: {token: tell-me-4711}
decision_log: {content: conversation}
"""
OTHER = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-5
    routing_preferences: [{name: poems, description: rhymes}]
"""
TEXTS = ("write a parser", "write a poem", "good morning")


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: object
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Return what runs the command beside a configuration `plano.yaml`, and another one `other.yaml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "plano.yaml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "other.yaml").write_text(OTHER, encoding="utf-8")

    def command(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["plano-asgi", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ran(ended.value.code or 0, out, err)

    return command


@pytest.fixture
def url(app_of: Callable[..., Starlette], serve: Callable[[Starlette], str]) -> str:
    """Return the URL of a server that has decided three calls."""
    url = serve(app_of(SETTINGS, FixedClassifier({"code": 0.9})))
    for number, text in enumerate(TEXTS):
        call(url, text, {"x-request-id": f"r{number}", **({"x-plano-routing": "off"} if number == 2 else {})})
    return url


def call(url: str, text: str, headers: Mapping[str, str]) -> None:
    """Have a call decided."""
    body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    httpx.post(url + ROUTING, json=body, headers=dict(headers), trust_env=False).raise_for_status()


def test_decisions_are_a_table_the_newest_last(run: Callable[..., Ran], url: str) -> None:
    """People get a table in the order of time, with routes, reasons and models."""
    ran = run("decisions", "--url", url)

    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].split() == ["time", "route", "conf.", "reason", "source", "ms", "model"]
    assert [line.split()[3] for line in lines[1:]] == ["matched", "matched", "bypassed"]
    assert "openai/gpt-4o" in lines[1]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], ["r0", "r1", "r2"]),
        (["--limit", "2"], ["r1", "r2"]),
        (["--route", "code"], ["r0", "r1"]),
        (["--reason", "bypassed"], ["r2"]),
        (["--route", "none", "--limit", "1"], ["r2"]),
        (["--model", "openai/unknown"], []),
    ],
    ids=["all", "limit", "route", "reason", "none", "nothing"],
)
def test_decisions_are_json_lines(options: list[str], found: list[str], run: Callable[..., Ran], url: str) -> None:
    """Programs get the entries of the log, one a line, filtered as they ask."""
    ran = run("decisions", "--url", url, "--json", *options)

    assert [json.loads(line)["request_id"] for line in ran.out.splitlines()] == found
    assert ran.err == ""


def test_decisions_reads_more_than_one_page(url: str) -> None:
    """A log that is longer than a page comes whole."""
    found = LogReader(url, Secret("tell-me-4711"), {}, most_page=2).newest(1_000)

    assert [decision["request_id"] for decision in found] == ["r0", "r1", "r2"]


def test_decisions_are_followed(url: str) -> None:
    """What comes after an entry is given as it comes."""
    reader = LogReader(url, Secret("tell-me-4711"), {})
    last = reader.newest(1)[0]["id"]
    coming = reader.coming(last)
    Thread(target=call, args=(url, "new", {"x-request-id": "r3"}), daemon=True).start()

    assert next(coming)["request_id"] == "r3"


@pytest.mark.parametrize(
    ("config", "place", "what"),
    [
        ("plano.yaml", "http://127.0.0.1:9", "is plano-asgi serve running there?"),
        ("other.yaml", "", "the server answers 401: show the setting admin.token"),
        ("none.yaml", "", "none.yaml"),
    ],
    ids=["nobody", "no-token", "no-configuration"],
)
def test_what_cannot_be_asked_is_told(config: str, place: str, what: str, run: Callable[..., Ran], url: str) -> None:
    """A server that is not there, or refuses, is one sentence on stderr and no success."""
    ran = run("decisions", "-c", config, "--url", place or url)

    assert ran.code in {1, 2}
    assert what in ran.err
    assert "4711" not in ran.out + ran.err
    assert "Traceback" not in ran.err


@contextmanager
def deciding() -> Iterator[None]:
    """Let poems be poems, and code code."""
    with routed_by({"poem": "poems"}):
        yield


def test_replay_shows_what_would_go_elsewhere(run: Callable[..., Ran], url: str) -> None:
    """Logged conversations are decided again under another configuration, and the differences listed."""
    log = run("decisions", "--url", url, "--json").out

    with deciding():
        people = run("replay", "-", "-c", "other.yaml", stdin=log)
        programs = json.loads(run("replay", "-", "-c", "other.yaml", "--json", stdin=log).out)

    assert (people.code, people.err) == (0, "")
    assert "3 decided again, 2 would go elsewhere" in people.out
    moved = {change["request_id"]: (change["route_was"], change["route_is"]) for change in programs["changes"]}
    assert moved == {"r0": ("code", None), "r1": ("code", "poems")}
    assert programs["changes"][1]["model_is"] == "openai/gpt-5"


def test_replay_under_the_same_configuration_changes_nothing(run: Callable[..., Ran], url: str) -> None:
    """What decides as before is not listed."""
    log = run("decisions", "--url", url, "--json").out

    with routed_by({"write": "code"}):
        ran = run("replay", "-", "--json", stdin=log)

    assert json.loads(ran.out) == {"replayed": 3, "without_conversation": 0, "with_own_policy": 0, "changes": []}


def entries(**more: Any) -> str:
    """Return one line of a log."""
    return json.dumps({"at": "2026-11-23T10:00:00.000+00:00", "reason": "matched", **more}) + "\n"


def test_replay_needs_conversations_and_says_so(run: Callable[..., Ran]) -> None:
    """A log of hashes, or of calls with policies of their own, cannot be decided again; exit 1."""
    log = entries(conversation_hash="ab") + entries(policy="inline", conversation=[{"role": "user", "text": "x"}])
    log += entries(conversation=[{"role": "nobody", "text": "x"}]) + entries(conversation=["x"])

    ran = run("replay", "-", stdin=log)

    assert ran.code == 1
    assert "decision_log.content" in ran.err
    assert "3 left out: the log has no conversation" in ran.out
    assert "1 left out: they brought a policy" in ran.out


@pytest.mark.parametrize("line", ["{", "[]", '{"messages": []}', '"canary"'], ids=["cut", "list", "call", "text"])
def test_replay_refuses_what_is_no_log(line: str, run: Callable[..., Ran]) -> None:
    """A line that is no decision is a fault with its number, exit 2, and is not repeated."""
    ran = run("replay", "-", stdin=entries() + line)

    assert ran.code == 2
    assert "<stdin>:2: is no decision" in ran.err
    assert "canary" not in ran.err
