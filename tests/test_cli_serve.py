"""`plano-asgi serve` as a process of its own: it serves, it logs, it stops."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest

KEY = "sk-never-to-be-shown-4711"
PROMPT = "Write a parser for ISO dates in Kotlin, xylophone"
LISTENING = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")
CONFIGURATION = f"""\
model_providers:
  - model: openai/gpt-4o-mini
    default: true
    access_key: {KEY}
  - model: anthropic/claude-sonnet-4-20250514
    routing_preferences:
      - name: code_generation
        description: generating new code, writing functions
"""


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a configuration in a folder of its own, without variables of this machine."""
    for name in os.environ:
        if name.startswith("PLANO_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(CONFIGURATION, encoding="utf-8")
    return "mine.yaml"


@contextmanager
def serving(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str, list[str]]]:
    """Run `plano-asgi serve` on a free port; yield it, its URL and the lines it has written so far."""
    command = [sys.executable, "-m", "plano_asgi", "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            lines: list[str] = []
            for line in server.stderr or ():
                lines.append(line)
                if found := LISTENING.search(line):
                    yield server, found.group(1), lines
                    return
            pytest.fail(f"the server did not start: {''.join(lines)}")
        finally:
            server.kill()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=lambda stop: stop.name)
def test_serve_decides_calls_until_a_signal_stops_it_cleanly(configuration: str, stop: signal.Signals) -> None:
    """A served configuration is ready at once, decides a call over HTTP, and a signal shuts it down in order."""
    call = {"messages": [{"role": "user", "content": PROMPT}]}

    with serving("-c", configuration) as (server, url, lines), httpx.Client(base_url=url, trust_env=False) as client:
        readiness = client.get("/readyz")
        decision = client.post("/routing/v1/chat/completions", json=call)
        server.send_signal(stop)
        out, err = server.communicate(timeout=20)

    assert readiness.json() == {"status": "ready"}
    assert (decision.status_code, decision.json()["route"]) == (200, "code_generation")
    assert server.returncode in {0, -stop}  # cleaned up, then, as is the custom, ended by the signal itself
    assert out == ""
    err = "".join(lines) + err
    assert "Application shutdown complete" in err
    assert "Traceback" not in err


def test_serve_logs_calls_as_json_without_key_or_prompt(configuration: str) -> None:
    """The log of a server holds one JSON line for a call, and neither a key nor what the user said."""
    call = {"input": PROMPT}

    with serving("-c", configuration) as (server, url, lines):
        httpx.post(f"{url}/routing/v1/responses", json=call, headers={"authorization": KEY}, trust_env=False)
        server.terminate()
        err = "".join(lines) + server.communicate(timeout=20)[1]

    events = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert [event["event"] for event in events].count("plano.call_routed") == 1
    assert KEY not in err
    assert "xylophone" not in err


def test_serve_on_a_port_in_use_exits_1_with_the_reason(configuration: str) -> None:
    """A port that is taken is named on stderr, and the code is 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ran = subprocess.run(
            [sys.executable, "-m", "plano_asgi", "serve", "-c", configuration, "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
        )

    assert ran.returncode == 1
    assert str(port) in ran.stderr
    assert "address already in use" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_serve_in_the_background_is_alive_before_it_is_ready(
    configuration: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `startup: background` the process answers while the model loads, and readiness follows."""
    monkeypatch.setenv("PLANO_STARTUP", "background")

    with serving("-c", configuration) as (_, url, _), httpx.Client(base_url=url, trust_env=False) as client:
        health = client.get("/healthz")
        deadline = monotonic() + 20
        while not client.get("/readyz").is_success and monotonic() < deadline:
            sleep(0.05)
        readiness = client.get("/readyz")

    assert health.status_code == 200
    assert readiness.json() == {"status": "ready"}
