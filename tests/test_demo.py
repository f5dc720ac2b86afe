"""`make demo`: it shows six decisions, and fails when one of them is wrong."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "examples" / "demo"


def run_demo(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the demo that lies in a folder."""
    return subprocess.run([sys.executable, folder / "demo.py"], capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the demo that may be changed."""
    return Path(shutil.copytree(DEMO, tmp_path / "demo"))


def test_demo_routes_all_requests_and_prints_the_paraphrase_score() -> None:
    """The demo exits with 0, ticks off every request and says how many paraphrases were decided alike."""
    requests = json.loads((DEMO / "requests.json").read_text(encoding="utf-8"))

    ran = run_demo(DEMO)

    score = re.search(r"Paraphrases, written before training: (\d+) of 30 decided as their originals", ran.stdout)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count("✓") == len(requests) == 6
    assert score
    assert 0 < int(score[1]) <= 30


def test_demo_exits_1_when_a_request_goes_elsewhere(copy: Path) -> None:
    """One request that is not routed as expected is shown as such, counted, and fails the demo."""
    requests = json.loads((copy / "requests.json").read_text(encoding="utf-8"))
    requests[2]["expect"] = "code_generation"
    (copy / "requests.json").write_text(json.dumps(requests), encoding="utf-8")

    ran = run_demo(copy)

    assert ran.returncode == 1
    assert ran.stdout.count("✓") == 5
    assert "1 of 6 requests went elsewhere than expected" in ran.stdout


def test_demo_reports_the_words_of_a_server_that_does_not_start(copy: Path) -> None:
    """A configuration that cannot be served ends the demo with the server's own report."""
    (copy / "plano.yaml").write_text("mode: nonsense\n", encoding="utf-8")

    ran = run_demo(copy)

    assert ran.returncode == 1
    assert "the server did not start" in ran.stderr
    assert "mode" in ran.stderr
