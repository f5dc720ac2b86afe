"""What `import plano_asgi` costs, and what it offers."""

import ast
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import plano_asgi
import plano_asgi.testing

PACKAGE = Path(plano_asgi.__file__).parent
GENEROUS_MS = 200.0  # a tenth of it is usual
HEAVY = ("onnxruntime", "numpy", "tokenizers", "starlette", "httpx", "pydantic", "anyio", "structlog", "rich", "typer")
FRESH = """
import json, sys
from time import perf_counter
started = perf_counter()
import plano_asgi
elapsed_ms = (perf_counter() - started) * 1000
print(json.dumps({"elapsed_ms": elapsed_ms, "modules": sorted(sys.modules)}))
"""


def in_a_fresh_interpreter(code: str) -> str:
    """Return what code prints in a new interpreter that is isolated from the environment and this folder."""
    return subprocess.run([sys.executable, "-Ic", code], capture_output=True, text=True, check=True).stdout


def test_import_brings_no_room_and_no_dependency() -> None:
    """Importing the package imports nothing but itself and the standard library, in no time."""
    said = json.loads(in_a_fresh_interpreter(FRESH))

    sys.stdout.write(f"import plano_asgi: {said['elapsed_ms']:.1f} ms\n")
    assert not [name for name in HEAVY if name in said["modules"]]
    assert [name for name in said["modules"] if name.startswith("plano_asgi")] == ["plano_asgi"]
    assert said["elapsed_ms"] < GENEROUS_MS


def test_nouns_bring_no_framework_and_no_model() -> None:
    """The values that a host's code names can be had without the libraries that serve or classify."""
    code = (
        "import sys, plano_asgi as p; p.LLMCall, p.RoutingDecision, p.RoutingPolicy, p.CallError; print(*sys.modules)"
    )

    modules = set(in_a_fresh_interpreter(code).split())

    assert modules.isdisjoint(HEAVY)


def test_building_settings_brings_no_model_and_no_server() -> None:
    """A configuration can be read without the libraries that serve or classify."""
    code = "import sys, plano_asgi as p; p.load_settings; print(*sys.modules)"

    modules = set(in_a_fresh_interpreter(code).split())

    assert modules.isdisjoint({"onnxruntime", "numpy", "tokenizers", "starlette", "uvicorn", "typer"})


@pytest.mark.parametrize("name", plano_asgi.__all__)
def test_public_name_resolves_and_is_documented(name: str) -> None:
    """Every public name is there and says in a sentence of its own what it is."""
    value = getattr(plano_asgi, name)

    documentation = value.__dict__.get("__doc__") if isinstance(value, type) else value.__doc__
    assert documentation
    assert documentation.strip().splitlines()[0].endswith((".", ":"))
    assert not documentation.startswith(f"{name}(")  # what dataclass and Enum write by themselves


@pytest.mark.parametrize("name", [name for name in plano_asgi.__all__ if isinstance(getattr(plano_asgi, name), type)])
def test_public_methods_are_documented(name: str) -> None:
    """Every public method of a public class says what it returns or does."""
    methods = inspect.getmembers(getattr(plano_asgi, name), inspect.isroutine)
    own = [
        (method, value)
        for method, value in methods
        if not method.startswith("_") and (getattr(value, "__module__", "") or "").startswith("plano_asgi")
    ]

    assert [method for method, value in own if not value.__doc__] == []


def test_public_names_are_sorted_and_listed_once() -> None:
    """`__all__` reads as a list that people can search."""
    assert plano_asgi.__all__ == sorted(set(plano_asgi.__all__))


def test_public_names_are_those_that_type_checkers_see() -> None:
    """`__all__`, the lazy homes and the imports for type checkers name the same things, in the same rooms."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imported = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("plano_asgi.")
        for alias in node.names
    }

    assert sorted(imported) == plano_asgi.__all__
    assert {name: getattr(plano_asgi, name) for name in imported} == {
        name: getattr(sys.modules[str(home)], name) for name, home in imported.items()
    }


def test_dir_lists_the_public_names() -> None:
    """An interactive reader is offered what is public."""
    assert dir(plano_asgi) == plano_asgi.__all__


def test_unknown_name_is_an_attribute_error() -> None:
    """A name that is not there is refused as Python does it, and named."""
    with pytest.raises(AttributeError, match=r"module 'plano_asgi' has no attribute 'Routr'"):
        plano_asgi.Routr  # noqa: B018


def test_star_import_gives_every_public_name() -> None:
    """`from plano_asgi import *` works."""
    names = in_a_fresh_interpreter("from plano_asgi import *; print(*sorted(n for n in dir() if n[0] != '_'))")

    assert names.split() == plano_asgi.__all__


def test_fakes_for_tests_are_public_too() -> None:
    """`plano_asgi.testing` lists what it offers."""
    assert plano_asgi.testing.__all__ == ["FixedClassifier", "Rule", "failing", "routed_by", "slow"]
    assert plano_asgi.testing.FixedClassifier.__doc__


def test_rooms_export_what_they_say() -> None:
    """Whatever a room lists in `__all__` is there."""
    rooms = [f"plano_asgi.{info.name}" for info in pkgutil.iter_modules([str(PACKAGE)])]
    code = f"""
from importlib import import_module
rooms = map(import_module, {rooms})
print(*[f"{{room.__name__}}.{{n}}" for room in rooms for n in getattr(room, "__all__", ()) if not hasattr(room, n)])
"""

    assert in_a_fresh_interpreter(code).split() == []
