"""The benchmark of the gateway runs, and compares like with like."""

import json
import subprocess
import sys
from math import isfinite
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_quick_run_serves_every_contender_under_every_load(tmp_path: Path) -> None:
    """Each contender answers under each load, and all figures but the provider's own CPU are finite numbers."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "benchmarks.gateway",
        "--quick",
        "--json",
        tmp_path / "result.json",
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr

    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    rows = result["rows"]

    loads = {(row["in_flight"], row["is_stream"]) for row in rows}
    assert loads == {(in_flight, is_stream) for in_flight in (1, 16, 64) for is_stream in (False, True)}
    for load in loads:
        served = [row for row in rows if (row["in_flight"], row["is_stream"]) == load]
        assert len({row["contender"] for row in served}) == 5
        figures = [value for row in served for value in row.values() if isinstance(value, float)]
        assert all(map(isfinite, figures))
        assert all(row["calls"] > 0 for row in served)

    assert {more["contender"] for more in result["times_relay"]} == {
        name for name in (row["contender"] for row in rows) if name.startswith("ours")
    }
    assert len(result["times_relay"]) == 3 * len(loads)
    assert all(more["times"] > 0 for more in result["times_relay"])
    assert result["times_litellm"] == []
