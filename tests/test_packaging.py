"""The wheel: what is in it, and that it works where nothing else is installed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest

import plano_asgi

ROOT = Path(__file__).parents[1]
WHEELHOUSE = ROOT / ".venv" / "wheelhouse"
INTEGRATIONS = ROOT / "integrations"
MODEL = "plano_asgi/classify/embedded/model"
PAGE = "plano_asgi/http/playground"
ADAPTERS = {"django": "plano_asgi_django", "flask": "plano_asgi_flask", "langchain": "plano_asgi_langchain"}
PYTHON = Path("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(command: Sequence[str | Path], *, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command elsewhere, without what pip, uv, Python or plano are told by this machine's environment."""
    environ = {
        name: text for name, text in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "PLANO_", "UV_"))
    }
    environ |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def checked(command: Sequence[str | Path], *, folder: Path) -> str:
    """Return the stdout of a command that must succeed."""
    ran = run(command, folder=folder)
    assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from this tree."""
    dist = tmp_path_factory.mktemp("dist")
    checked([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", dist, ROOT], folder=dist)
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> frozenset[str]:
    """Return the names of the files in the wheel."""
    with ZipFile(wheel) as archive:
        return frozenset(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what installs a requirement, offline, into an empty environment and gives its Python.

    It is uv's work, since that unpacks each wheel once for all of these environments.
    """
    assert (WHEELHOUSE / ".filled").is_file(), f"{WHEELHOUSE} is not filled; run: make .venv/wheelhouse/.filled"
    cache = tmp_path_factory.mktemp("uv")
    options: list[str | Path] = [
        "--quiet",
        "--no-config",
        "--no-index",
        "--cache-dir",
        cache,
        "--find-links",
        WHEELHOUSE,
    ]

    def install(requirement: str) -> Path:
        """Install it."""
        folder = tmp_path_factory.mktemp("installed")
        venv = folder / "venv"
        checked([sys.executable, "-m", "venv", "--without-pip", venv], folder=folder)
        python = venv / PYTHON
        target: list[str | Path] = ["--python", python, "--find-links", wheel.parent, requirement]
        checked([sys.executable, "-m", "uv", "pip", "install", *options, *target], folder=folder)
        (folder / "plano.yaml").write_bytes((ROOT / "examples" / "demo" / "plano.yaml").read_bytes())
        return python

    return install


@pytest.fixture(scope="module")
def bare(installed: Callable[[str], Path]) -> Path:
    """Return the Python of an environment that has the package without extras."""
    return installed("plano-asgi")


@pytest.fixture(scope="module")
def cpu(installed: Callable[[str], Path]) -> Path:
    """Return the Python of an environment that has the package with onnxruntime."""
    return installed("plano-asgi[cpu]")


def folder_of(python: Path) -> Path:
    """Return the folder beside an environment, which holds the configuration."""
    return python.parents[2]


def test_wheel_holds_the_model_with_its_licence(names: frozenset[str]) -> None:
    """The model needs no download: its files are in the wheel, and so are its licence and notice."""
    files = ("encoder.onnx", "tokenizer.json", "comparer.onnx", "router.json", "LICENSE", "NOTICE")

    assert {f"{MODEL}/{name}" for name in files} <= names


def test_wheel_holds_every_module_and_the_typing_marker(names: frozenset[str]) -> None:
    """What the tree has of the package is in the wheel, and type checkers are told that it is typed."""
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "plano_asgi").rglob("*.py")}
    adapters = {path.relative_to(INTEGRATIONS).as_posix() for path in INTEGRATIONS.rglob("*.py")}

    assert modules | adapters <= names
    assert {"plano_asgi/py.typed", *(f"{path.name}/py.typed" for path in INTEGRATIONS.glob("plano_asgi_*"))} <= names


def test_wheel_holds_the_playground(names: frozenset[str]) -> None:
    """Every part of the page is in the wheel."""
    parts = {path.relative_to(ROOT).as_posix() for path in (ROOT / PAGE).iterdir() if path.is_file()}

    assert parts <= names


def test_wheel_holds_nothing_else(names: frozenset[str]) -> None:
    """Corpus, tests, benchmarks, examples and what tools left behind stay at home."""
    strays = {
        name
        for name in names
        if not name.startswith((f"{MODEL}/", f"{PAGE}/"))
        and not name.endswith((".py", "py.typed", "lab/export/parity_prompts.jsonl"))
        and ".dist-info/" not in name
    }

    assert strays == set()
    packages = {"plano_asgi", *(path.name for path in INTEGRATIONS.glob("plano_asgi_*"))}
    assert {name.split("/")[0].partition("-")[0] for name in names} == packages
    assert not [name for name in names if "lab/corpus/" in name or "test_" in name]


def test_wheel_says_what_it_is(wheel: Path) -> None:
    """The metadata offers the extras that the messages name, the command and the oldest Python."""
    with ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        said = archive.read(metadata).decode()
        entry_points = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()

    assert {"Provides-Extra: cpu", "Provides-Extra: gpu", "Requires-Python: >=3.11"} <= set(said.splitlines())
    assert "plano-asgi = plano_asgi.cli:main" in entry_points


def test_bare_install_resolves_every_public_name(bare: Path) -> None:
    """Without extras the package imports, and every public name can be had."""
    code = "import plano_asgi as p; print(*[getattr(p, name) and name for name in p.__all__])"

    resolved = checked([bare, "-Ic", code], folder=folder_of(bare))

    assert resolved.split() == plano_asgi.__all__


def test_bare_install_has_no_inference_engine(bare: Path) -> None:
    """Without extras no onnxruntime is installed, or these tests would prove nothing."""
    assert run([bare, "-Ic", "import onnxruntime"], folder=folder_of(bare)).returncode == 1


def test_bare_install_validates_a_configuration(bare: Path) -> None:
    """A configuration can be checked where nothing can be routed."""
    said = checked([bare.with_name("plano-asgi"), "validate", "--json"], folder=folder_of(bare))

    assert json.loads(said)["valid"] is True


@pytest.mark.parametrize("command", [["route", "hello"], ["serve", "--port", "0"]], ids=lambda command: command[0])
def test_bare_install_names_the_extra_that_routing_needs(bare: Path, command: list[str]) -> None:
    """Routing without onnxruntime ends at once with the command that installs it."""
    ran = run([bare.with_name("plano-asgi"), *command], folder=folder_of(bare))

    assert (ran.returncode, ran.stdout) == (1, "")
    assert "pip install 'plano-asgi[cpu]'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_bare_install_raises_a_missing_extra_as_an_import_error(bare: Path) -> None:
    """In Python the missing extra is a `MissingExtraError`, which is an `ImportError`."""
    code = """
import plano_asgi
try:
    plano_asgi.load_router("plano.yaml")
except ImportError as error:
    print(type(error).__name__, error)
"""

    said = checked([bare, "-c", code], folder=folder_of(bare))

    assert said.startswith("MissingExtraError")
    assert "'plano-asgi[cpu]'" in said


def test_bare_install_is_diagnosed_by_the_doctor(bare: Path) -> None:
    """The doctor says that onnxruntime is not installed, and how to install it."""
    ran = run([bare.with_name("plano-asgi"), "doctor", "--json"], folder=folder_of(bare))

    findings = {finding["subject"]: finding for finding in json.loads(ran.stdout)}
    assert ran.returncode == 1
    assert findings["onnxruntime"]["finding"] == "not installed"
    assert "'plano-asgi[cpu]'" in findings["timed decision"]["finding"]


def test_cpu_install_decides(cpu: Path) -> None:
    """With the extra `cpu` a call is decided by the model out of the wheel."""
    text = "Write a parser for ISO dates in Kotlin"

    decision = json.loads(checked([cpu.with_name("plano-asgi"), "route", text], folder=folder_of(cpu)))

    assert (decision["route"], decision["classifier"]) == ("code_generation", "embedded")


def test_cpu_install_has_nothing_wrong(cpu: Path) -> None:
    """The doctor is content with an installation that has the extra `cpu`."""
    checked([cpu.with_name("plano-asgi"), "doctor"], folder=folder_of(cpu))


@pytest.mark.parametrize("extra", ADAPTERS)
def test_bare_install_names_the_extra_of_an_adapter(extra: str, bare: Path) -> None:
    """An adapter without its framework is a `MissingExtraError` that says what to type."""
    ran = run([bare, "-Ic", f"import {ADAPTERS[extra]}"], folder=folder_of(bare))

    assert ran.returncode == 1
    assert "MissingExtraError" in ran.stderr
    assert f"pip install 'plano-asgi[{extra}]'" in ran.stderr


ROUTED = {
    "django": """
from django.conf import settings
settings.configure(
    ALLOWED_HOSTS=["*"], INSTALLED_APPS=["plano_asgi_django"], MIDDLEWARE=["plano_asgi_django.PlanoMiddleware"],
    ROOT_URLCONF="__main__", PLANO={"classifier": {"deadline_ms": 20_000}},
)
import django
django.setup()
from django.http import HttpResponse
from django.test import Client
from django.urls import path
urlpatterns = [path("v1/messages", lambda request: HttpResponse(request.plano.decision.route))]
print(Client().post("/v1/messages", CALL, "application/json").content.decode())
""",
    "flask": """
from flask import Flask, g
from plano_asgi_flask import Plano
app = Flask("app")
app.config["PLANO_CLASSIFIER"] = {"deadline_ms": 20_000}
Plano(app)
app.post("/v1/messages")(lambda: g.plano.decision.route)
print(app.test_client().post("/v1/messages", json=CALL).text)
""",
    "langchain": """
import os
os.environ["PLANO_CLASSIFIER__DEADLINE_MS"] = "20000"
from langchain_core.language_models import FakeListChatModel
from plano_asgi_langchain import ChatPlano, Route
coder, usual = FakeListChatModel(responses=["code"]), FakeListChatModel(responses=["words"])
llm = ChatPlano(routes={"code_generation": Route("generating new code", coder)}, default=usual)
answer = llm.invoke(CALL["messages"])
assert answer.text == "code"
print(answer.response_metadata["plano"]["route"])
""",
}
CALL = {
    "model": "auto",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "Write a parser for ISO dates in Kotlin"}],
}


@pytest.mark.parametrize("extra", ADAPTERS)
def test_install_with_one_framework_routes_there_and_knows_no_other(
    extra: str, installed: Callable[[str], Path]
) -> None:
    """With `cpu` and one framework its adapter decides by the real model; the others name what is missing."""
    python = installed(f"plano-asgi[cpu,{extra}]")

    routed = checked([python, "-c", f"CALL = {CALL!r}\n{ROUTED[extra]}"], folder=folder_of(python))

    assert routed == "code_generation\n"
    for other in ADAPTERS.keys() - {extra}:
        ran = run([python, "-Ic", f"import {ADAPTERS[other]}"], folder=folder_of(python))
        assert f"'plano-asgi[{other}]'" in ran.stderr
