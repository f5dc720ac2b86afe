"""`plano-asgi export`, through its own entry point."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from plano_asgi.classify.arch_router.bundle import Bundle


def plano(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "plano_asgi", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # several threads would wait for each other on a small model
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_command_exports_and_says_what_came_of_it(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    """Without a precision it is int8; stages go to stderr; files, agreement and the next command to stdout."""
    out = tmp_path / "bundle"

    ran = plano("export", str(tiny_model()), "--out", str(out))

    assert ran.returncode == 0, ran.stderr
    assert Bundle.read(out).precision == "int8"
    assert "writing the graph" in ran.stderr
    assert "\x1b" not in ran.stdout + ran.stderr
    for said in ("model.onnx.data", "50 prompts", f"PLANO_CLASSIFIER__MODEL_PATH={out} plano-asgi doctor"):
        assert said in ran.stdout.replace("\n", " ")


def test_quiet_command_says_nothing(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    """With --quiet there is a bundle and not a word."""
    out = tmp_path / "bundle"

    ran = plano("export", str(tiny_model()), "--out", str(out), "--precision", "fp32", "--quiet")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert Bundle.read(out).precision == "fp32"


def test_licence_is_named_and_has_to_be_accepted(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    """An Arch-Router's terms are printed, and without --accept-license the exit code is 2 and nothing is there."""
    source, out = str(tiny_model(name="arch_router")), tmp_path / "bundle"

    ran = plano("export", source, "--out", str(out))

    assert ran.returncode == 2
    assert "katanemo-research" in ran.stderr
    assert "--accept-license" in ran.stderr
    assert not out.exists()
    accepted = plano("export", source, "--out", str(out), "--accept-license")
    assert (accepted.returncode, "katanemo-research" in accepted.stderr) == (0, True)


def test_refusal_is_one_line_on_stderr(tmp_path: Path) -> None:
    """What is no model is refused with exit code 1 and a message that says what to give instead."""
    ran = plano("export", str(tmp_path), "--out", str(tmp_path / "bundle"))

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.count("\n") == 1
    assert "holds no model" in ran.stderr
