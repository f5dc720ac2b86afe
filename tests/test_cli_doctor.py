"""`plano-asgi doctor` looks at what a service needs of others: keys, stores, providers and their clocks."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest

from plano_asgi.cli import main

KEY: Final = "sk-canary-right"
WRONG_KEY: Final = "sk-canary-wrong"

Findings = dict[str, dict[str, Any]]
Doctor = Callable[..., tuple[int, Findings]]


class Provider(BaseHTTPRequestHandler):
    """A provider that lists its models to who has the key, and notes what it is asked."""

    behind = timedelta()
    asked: list[str]

    def do_GET(self) -> None:
        """Answer by the key."""
        self.asked.append(f"{self.command} {self.path}")
        is_known = f"Bearer {KEY}" == self.headers["authorization"]
        self.send_response_only(200 if is_known else 401)
        self.send_header("date", format_datetime(datetime.now(UTC) + self.behind, usegmt=True))
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def provider() -> Iterator[tuple[str, type[Provider]]]:
    """Return where a provider listens, and its class to look into."""
    made = type("Made", (Provider,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), made)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1", made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Return what examines a configuration, and gives the exit code and the findings by their subjects."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def examine(text: str, *options: str) -> tuple[int, Findings]:
        """Run the command in this process."""
        file = tmp_path / "plano.yaml"
        file.write_text(text, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["plano-asgi", "doctor", "-c", str(file), "--json", *options])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as stopped:
            main()
        out = capsys.readouterr().out
        assert "sk-canary" not in out
        return int(stopped.value.code or 0), {finding["subject"]: finding for finding in json.loads(out)}

    return examine


def configured(url: str, *keys: str) -> str:
    """Return a configuration of one provider and its keys."""
    held = f"access_key: {keys[0] if len(keys) == 1 else list(keys)}"
    return f"model_providers: [{{model: openai/gpt-4o, default: true, base_url: '{url}', {held}}}]\nmode: forward\n"


def test_missing_keys_are_named(doctor: Doctor) -> None:
    """Models without a key are told by name; in an app that calls them itself that is nothing wrong."""
    code, found = doctor("model_providers: [{model: openai/gpt-4o, default: true}]\n")

    assert code == 0
    assert found["keys"]["ok"] is None
    assert "openai/gpt-4o" in found["keys"]["finding"]


def test_providers_are_asked_only_when_told_to(doctor: Doctor, provider: tuple[str, type[Provider]]) -> None:
    """Without `--online` no provider hears of us; with it, each is asked once what models it has, and no more."""
    url, made = provider

    assert doctor(configured(url, KEY))[0] == 0
    assert made.asked == []
    code, found = doctor(configured(url, KEY), "--online")

    assert code == 0
    assert made.asked == ["GET /v1/models"]
    assert (found["127.0.0.1"]["ok"], found["127.0.0.1"]["finding"]) == (True, "answers 200")
    assert found["clock"]["ok"]


def test_rejected_key_is_told(doctor: Doctor, provider: tuple[str, type[Provider]]) -> None:
    """Each key of several is tried, and the one that the provider rejects is told by its number."""
    code, found = doctor(configured(provider[0], KEY, WRONG_KEY), "--online")

    assert code == 1
    assert found["127.0.0.1, key 1"]["ok"]
    assert "the key is rejected (401)" in found["127.0.0.1, key 2"]["finding"]


def test_provider_that_cannot_be_reached_is_told(doctor: Doctor) -> None:
    """A provider that nobody listens for is wrong, with what to look at."""
    code, found = doctor(configured("http://127.0.0.1:9/v1", KEY), "--online")

    assert code == 1
    assert "see base_url" in found["127.0.0.1"]["finding"]
    assert "clock" not in found


@pytest.mark.parametrize(("minutes", "told"), [(5, "behind"), (-5, "ahead")], ids=["clock behind", "clock ahead"])
def test_clock_that_is_wrong_is_told(
    doctor: Doctor, provider: tuple[str, type[Provider]], minutes: int, told: str
) -> None:
    """A clock that is minutes from the providers' is wrong, in the direction that is told."""
    url, made = provider
    made.behind = timedelta(minutes=minutes)

    code, found = doctor(configured(url, KEY), "--online")

    assert code == 1
    assert found["clock"]["ok"] is False
    assert told in found["clock"]["finding"]


def test_redis_is_asked(doctor: Doctor, redis_url: str) -> None:
    """A Redis that answers is in order, and one that does not is wrong."""
    text = "model_providers: [{model: openai/gpt-4o, default: true}]\n"

    code, found = doctor(f"{text}redis: {{url: '{redis_url}'}}\n")
    assert (code, found["redis"]["finding"]) == (0, "answers")
    code, found = doctor(f"{text}redis: {{url: 'redis://127.0.0.1:9/0'}}\n")
    assert (code, found["redis"]["ok"]) == (1, False)


class Receiver(BaseHTTPRequestHandler):
    """A receiver of OTLP that takes spans at one place only."""

    def do_POST(self) -> None:
        """Take what is sent."""
        self.rfile.read(int(self.headers["content-length"]))
        is_right = (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        self.send_response_only(200 if is_right else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[str]:
    """Return where a receiver listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("place", "is_good", "told"),
    [("", True, "127.0.0.1 takes spans"), ("/elsewhere", False, "answers 404 to spans; see telemetry.otlp")],
    ids=["right", "wrong"],
)
def test_receiver_of_telemetry_is_asked(place: str, told: str, receiver: str, doctor: Doctor, *, is_good: bool) -> None:
    """Where spans are to be sent, the doctor says whether they are taken there."""
    text = f"model_providers: [{{model: openai/a, default: true}}]\ntelemetry: {{otlp: '{receiver}{place}'}}\n"
    code, found = doctor(text)

    assert (code, found["telemetry"]["ok"]) == (0 if is_good else 1, is_good)
    assert told in found["telemetry"]["finding"]


def test_decision_log_is_read(doctor: Doctor, tmp_path: Path) -> None:
    """A log that can be read is told with its store; a file that is none is wrong."""
    log = tmp_path / "log.sqlite"
    text = f"model_providers: [{{model: openai/a, default: true}}]\ndecision_log: {{store: sqlite, path: {log}}}\n"
    assert doctor(text)[1]["decision log"]["finding"] == "sqlite, has no entry yet"
    log.write_bytes(b"this is no database, " * 200)

    code, found = doctor(text)

    assert (code, found["decision log"]["ok"]) == (1, False)


def test_tokenizers_are_loaded_and_models_without_one_named(
    doctor: Doctor, tokenizer_json: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which tokenizer can be loaded, and who is counted by the rule; it downloads nothing unasked."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    code, found = doctor(
        f"""\
model_providers:
  - {{model: own/a, default: true, tokenizer: '{tokenizer_json}'}}
  - {{model: own/b, tokenizer: '{broken}'}}
  - {{model: own/c, tokenizer: cl100k_base}}
  - {{model: own/d}}
ratelimits: [{{limit: {{input_tokens: 1000, unit: minute}}}}]
"""
    )

    assert code == 1
    assert found[f"tokenizer {tokenizer_json}"]["ok"] is True
    assert (found[f"tokenizer {broken}"]["ok"], "the rule counts" in found[f"tokenizer {broken}"]["finding"]) == (
        False,
        True,
    )
    assert "is not on this machine" in found["tokenizer cl100k_base"]["finding"]
    assert found["tokens"]["finding"].startswith("counted by the rule for own/d;")
