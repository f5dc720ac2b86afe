"""The house is as its plan says: rooms, rungs, sizes."""

import ast
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import plano_asgi

ROOT = Path(__file__).parents[1]
PACKAGE = Path(plano_asgi.__file__).parent
MODULES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "integrations").rglob("*.py")])
ROOMS = {info.name for info in pkgutil.iter_modules([str(PACKAGE)])} - {"__main__"}
MOST_LINES_OF_A_MODULE = 300
MOST_LINES_OF_A_FUNCTION = 50
LONGER_FOR_A_REASON: dict[str, str] = {}  # "module.py" or "module.py:function" to the reason; best left empty


def module_name(path: Path) -> str:
    """Return a module's path as it is written in this file."""
    home = PACKAGE if path.is_relative_to(PACKAGE) else ROOT / "integrations"
    return path.relative_to(home).as_posix()


def rungs_of_the_page() -> dict[str, int]:
    """Return the rung of every room in ARCHITECTURE.md's table."""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", page, re.MULTILINE)
    named = [(room.rstrip("/"), int(rung)) for rung, rooms in rows for room in re.findall(r"`([^`]+)`", rooms)]
    assert len(named) == len(dict(named)), "a room is named twice"
    return dict(named)


def rungs_of_the_linter() -> dict[str, int]:
    """Return the rung of every room in the import-linter's layers, 0 for the lowest."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (ladder,) = (c for c in configuration["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return {
        room.strip(): rung for rung, layer in enumerate(reversed(ladder["layers"])) for room in str(layer).split("|")
    }


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and the length in lines of every function of a module, decorators left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{module_name(path)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_every_room_is_on_the_page_and_every_one_there_exists() -> None:
    """ARCHITECTURE.md's table names the rooms there are, and no other."""
    assert rungs_of_the_page().keys() == ROOMS


def test_every_room_is_held_to_its_rung() -> None:
    """The linter of imports knows every room, and a room that stands higher there stands no lower on the page."""
    page, linter = rungs_of_the_page(), rungs_of_the_linter()

    assert linter.keys() == ROOMS
    upwards = [page[room] for room in sorted(ROOMS, key=lambda room: (linter[room], page[room]))]
    assert upwards == sorted(upwards)


def test_places_where_changes_belong_exist() -> None:
    """Every file that ARCHITECTURE.md sends people to is there."""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z_]+(?:/[a-z_]+)+(?:\.py|/)?)`", page)
    exists = [(PACKAGE / name).exists() or (PACKAGE / f"{name}.py").exists() for name in named]

    assert len(named) > 10
    assert [name for name, there in zip(named, exists, strict=True) if not there] == []


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_module_is_small(path: Path) -> None:
    """No module has more than 300 lines, unless it is listed here with a reason."""
    lines = len(path.read_text(encoding="utf-8").splitlines())

    assert lines <= MOST_LINES_OF_A_MODULE or module_name(path) in LONGER_FOR_A_REASON


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_functions_are_small(path: Path) -> None:
    """No function has more than 50 lines, unless it is listed here with a reason."""
    long = {name: lines for name, lines in functions(path) if lines > MOST_LINES_OF_A_FUNCTION}

    assert long.keys() <= LONGER_FOR_A_REASON.keys()


def test_every_exception_is_still_needed() -> None:
    """What is listed as longer for a reason exists, is longer, and has a reason."""
    lengths = dict(entry for path in MODULES for entry in functions(path))
    modules = {module_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}

    for name, reason in LONGER_FOR_A_REASON.items():
        is_function = ":" in name
        most = MOST_LINES_OF_A_FUNCTION if is_function else MOST_LINES_OF_A_MODULE
        assert (lengths if is_function else modules)[name] > most
        assert reason


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_module_says_what_it_is(path: Path) -> None:
    """Every module opens with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_the_demo_runs_the_readme_configuration() -> None:
    """The demo's configuration is the one that README.md shows, but for comments and layout."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)

    assert shown
    assert yaml.safe_load(shown[1]) == yaml.safe_load((ROOT / "examples/demo/plano.yaml").read_text(encoding="utf-8"))
