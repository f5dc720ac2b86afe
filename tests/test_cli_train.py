"""`plano-asgi train` where PyTorch is not installed: it says which extra brings it."""

import subprocess
import sys
from pathlib import Path

CONFIGURATION = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing code}]
"""


def test_missing_extra_is_named(tmp_path: Path) -> None:
    """Without PyTorch the command ends with exit code 1, the command that installs it and nothing else."""
    (tmp_path / "plano.yaml").write_text(CONFIGURATION, encoding="utf-8")
    (tmp_path / "cases.jsonl").write_text("{}\n", encoding="utf-8")
    program = f"""
import sys
sys.modules["torch"] = None
sys.argv = ["plano-asgi", "train", "cases.jsonl", "--out", {str(tmp_path / "out")!r}, "--config", "plano.yaml"]
from plano_asgi.cli import main
main()
"""

    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "plano-asgi train needs an extra: pip install 'plano-asgi[train]'\n"
    assert not (tmp_path / "out").exists()
