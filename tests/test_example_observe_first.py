"""examples/observe_first: observe, sum up, rewrite a tenth, rewrite all; by the README's own commands."""

import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "observe_first"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
OBSERVE, TENTH, ALL = [line for line in COMMANDS if "uvicorn" in line]
CALLS_OF_EACH = 100
ENVIRON = {"PLANO_CLASSIFIER__DEADLINE_MS": "20000", "PYTHONUNBUFFERED": "1"}  # patience on a busy machine
TEXTS = {
    "code_generation": "Write a Python function that implements binary search",
    "complex_reasoning": "Analyse step by step the trade-offs between microservices and monoliths",
    None: "What is the capital of France?",
}
WANTED = {"code_generation": "codestral-latest", "complex_reasoning": "gpt-4o", None: "gpt-4o-mini"}
ASKED = "gpt-4o"


@dataclass(frozen=True)
class Phase:
    """One step of the story: which models answered the calls of each route, the log, and its summary."""

    answered: Counter[tuple[str | None, str]]
    log: str
    summary: str

    @property
    def elsewhere(self) -> int:
        """How many calls the summary says were answered by another model than the router's."""
        found = re.search(r"^(\d+) of (\d+) calls were answered by another model", self.summary, re.MULTILINE)
        assert found
        assert int(found[2]) == len(TEXTS) * CALLS_OF_EACH
        return int(found[1])


@pytest.fixture(scope="module")
def phase(launch: Callable[..., Any]) -> Callable[[str], Phase]:
    """Return what runs one of the README's commands, sends calls that all ask for one model, and sums up the log."""

    def run(command: str) -> Phase:
        words = shlex.split(command.partition(" > ")[0].replace("8000", "{port}"))
        environ = dict(word.split("=", 1) for word in words if word.startswith("PLANO_"))
        server = launch(words[len(environ) :], folder=EXAMPLE, environ={**environ, **ENVIRON})
        answered: Counter[tuple[str | None, str]] = Counter()
        with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
            for route, text in [*TEXTS.items()] * CALLS_OF_EACH:
                body = {"model": ASKED, "messages": [{"role": "user", "content": text}]}
                answer = client.post("/v1/chat/completions", json=body)
                answered[route, answer.json()["model"]] += 1
        server.stop()
        return Phase(answered, server.said, summarised(server.said).stdout)

    return run


def summarised(log: str) -> "subprocess.CompletedProcess[str]":
    """Return what `summarise.py` makes of a log."""
    command = [sys.executable, str(EXAMPLE / "summarise.py")]
    return subprocess.run(command, input=log, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def observed(phase: Callable[[str], Phase]) -> Phase:
    """Return the first step."""
    return phase(OBSERVE)


def test_observing_changes_nothing_and_tells_what_would_change(observed: Phase) -> None:
    """Every call is answered by the model it asks for; the summary is the README's, route by route."""
    shown = re.search(r"```text\n(.*?)```", README, re.DOTALL)
    rows = re.compile(r"│ (\w+) +│ (\S+) +│ (\S+) +│ (\d+) +│")

    assert observed.answered == {(route, ASKED): CALLS_OF_EACH for route in TEXTS}
    assert observed.elsewhere == 2 * CALLS_OF_EACH
    assert shown
    assert sorted(rows.findall(observed.summary)) == sorted(rows.findall(shown[1]))
    assert shown[1].splitlines()[-1] in observed.summary
    assert re.search(r"95 % within \d+ ms; 0 failed; 0 calls could not be read", observed.summary)


def test_log_holds_both_the_services_events_and_the_routers_and_no_prompt(observed: Phase) -> None:
    """Each call is one JSON line of the router and one of the service; neither repeats what was said."""
    events = Counter(json.loads(line)["event"] for line in observed.log.splitlines())

    assert events["plano.call_routed"] == events["chat.answered"] == len(TEXTS) * CALLS_OF_EACH
    assert not [text for text in TEXTS.values() if text in observed.log]


def test_a_tenth_is_rewritten_and_the_rest_observed(phase: Callable[[str], Phase]) -> None:
    """With a sample of a tenth some calls are answered by the router's model, and most by the one they ask for."""
    tenth = phase(TENTH)

    assert 0 < tenth.answered["code_generation", "codestral-latest"] + tenth.answered[None, "gpt-4o-mini"] < 100
    assert tenth.elsewhere == tenth.answered["code_generation", ASKED] + tenth.answered[None, ASKED] > 100


def test_in_the_end_all_calls_are_rewritten(phase: Callable[[str], Phase]) -> None:
    """Switched on, every call is answered by the router's model, and nothing is left to change."""
    everything = phase(ALL)

    assert everything.answered == dict.fromkeys(WANTED.items(), CALLS_OF_EACH)
    assert everything.elsewhere == 0


def test_summary_passes_over_lines_that_are_no_events_and_refuses_a_log_without_calls() -> None:
    """Other programs' lines do no harm; a log with no call in it is said to be none."""
    strange = 'INFO: started\n[1, 2]\n{"message": "no event"}\n'
    event = {"event": "chat.answered", "model": "gpt-4o", "would_use": None, "route": None, "reason": "not_routed"}

    with_call, without = summarised(f"{strange}{json.dumps(event)}\n"), summarised(strange)

    assert (with_call.returncode, with_call.stderr) == (0, "")
    assert "0 of 1 calls" in with_call.stdout
    assert (without.returncode, without.stdout) == (1, "")
    assert "no chat.answered line" in without.stderr
