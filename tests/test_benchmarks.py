"""The benchmark of the middleware runs, and its figures are figures."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.middleware_cost.figures import interval

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "overhead.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the result and the picture of a quick run."""
    folder = tmp_path_factory.mktemp("overhead")
    command: list[str | Path] = [
        sys.executable,
        SCRIPT,
        "--quick",
        "--json",
        folder / "result.json",
        "--plot",
        folder / "picture.svg",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    return folder


def numbers_in(value: Any) -> Iterator[float]:
    """Yield every number of a JSON document."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(inner)
    elif isinstance(value, int | float):
        yield value


def outline(result: dict[str, Any]) -> object:
    """Return what a result measures, without its figures."""
    rows = [*result["in_process"], *result["over_http"], *result["adapters"]]
    return [(row.keys(), row["case"], row["logs"], row.get("in_flight"), row.get("adapter")) for row in rows]


def test_quick_run_gives_finite_numbers(folder: Path) -> None:
    """Every number of the result is finite, and every median lies within its interval."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    numbers = list(numbers_in(result))
    rows = [*result["in_process"], *result["over_http"], *result["adapters"]]
    intervals = [value for row in rows for value in row.values() if isinstance(value, list)]

    assert len(numbers) > 100
    assert all(map(isfinite, numbers))
    assert [ends for ends in intervals if len(ends) != 3 or ends != sorted(ends)] == []


def test_committed_result_measures_what_the_script_measures(folder: Path) -> None:
    """The result that the page tells of is one of the script as it is."""
    committed = json.loads((ROOT / "benchmarks" / "results" / "overhead.json").read_text(encoding="utf-8"))

    assert outline(committed) == outline(json.loads((folder / "result.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("committed", [False, True], ids=["of the quick run", "of the page"])
def test_picture_is_an_svg(committed: bool, folder: Path) -> None:  # noqa: FBT001 - a parameter of the test
    """The picture can be shown by a browser: it is well-formed, and an SVG."""
    picture = ROOT / "docs" / "images" / "overhead.svg" if committed else folder / "picture.svg"

    assert ET.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own file


def test_interval_holds_the_true_median_in_19_of_20_samples() -> None:
    """Of many samples of a lopsided distribution, about 95 % have its median within their interval."""
    chance = random.Random(20)  # noqa: S311 - no secret
    held = 0
    for _ in range(1_000):
        lower, _, upper = interval([chance.expovariate(1.0) for _ in range(60)])
        held += lower <= 0.6931 <= upper

    assert 930 <= held <= 980
