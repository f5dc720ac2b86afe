"""ONNX Runtime as it is loaded here: it reports to nobody, and a fork of it ends in order."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CONFIG = "model_providers: [{model: openai/gpt-4o-mini, default: true}]"
LOADED = "import os, sys; import plano_asgi; router = plano_asgi.load_router('plano.yaml'); "
FORKED = f"{LOADED} child = os.fork(); sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else 0)"
SWITCH = "ORT_DISABLE_TELEMETRY"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return what runs a program in a home of its own, as on a machine where nobody has switched anything off."""
    (tmp_path / "plano.yaml").write_text(CONFIG, encoding="utf-8")

    def ended(program: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), **more}
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]  # newer Pythons warn of forks
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    return ended


def test_loading_the_model_leaves_nothing_at_home(run: Run, tmp_path: Path) -> None:
    """No identity of this machine and no report about it is written to where ONNX Runtime would keep them."""
    (tmp_path / "home").mkdir()

    ended = run(LOADED)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert list((tmp_path / "home").iterdir()) == []


def test_fork_of_a_loaded_process_ends_in_order(run: Run) -> None:
    """A worker that a preloading server forks from a loaded parent ends with 0 and without a word."""
    ended = run(FORKED)

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("given", "kept"),
    [({}, "1"), ({SWITCH: "0", "CI": "true"}, "0")],  # which ONNX Runtime does not report from either
    ids=["unset", "set by the host"],
)
def test_what_the_host_has_decided_stays(run: Run, given: dict[str, str], kept: str) -> None:
    """Reports are switched off where the host has said nothing; its own word about them is not overruled."""
    ended = run(f"{LOADED} print(os.environ[{SWITCH!r}])", **given)

    assert ended.stdout.strip() == kept
