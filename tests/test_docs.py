"""The pages' examples are true: every fenced block is loaded, executed, sent or run."""

import ast
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from starlette.types import ASGIApp

import plano_asgi
from plano_asgi.assembly import build_router
from plano_asgi.http.reloading import ReloadableApp
from plano_asgi.http.server import create_app
from plano_asgi.settings import STARTING_FILE, Settings, load_settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`([\w.-]+)`:\n\n```[a-z]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DEFAULT_PROVIDER = '[{"model": "openai/gpt-4o-mini", "default": true}]'
ANY_SERVER = "http://localhost:12000"
LISTENING = re.compile(r"Uvicorn running on http://127\.0\.0\.1:\d+")


@dataclass(frozen=True)
class Block:
    """A fenced block; `before` is the block before it on the page."""

    page: str
    line: int
    language: str
    text: str
    before: "Block | None" = None

    def __str__(self) -> str:
        """Return where it is, as the id of its test."""
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text, before = page.read_text(encoding="utf-8"), None
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        before = Block(page.relative_to(ROOT).as_posix(), line, found[1], found[2], before)
        yield before


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
README_YAML = next(block.text for block in BLOCKS if block.language == "yaml" and block.page == "README.md")


def written_in(*languages: str) -> list[Block]:
    """Return the blocks in these languages."""
    return [block for block in BLOCKS if block.language in languages]


def commands_of(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield each command of a shell block as words, with what the comment behind it says."""
    pending = ""
    for line in text.splitlines():
        pending += line.removesuffix("\\") + ("" if line.endswith("\\") else "\n")
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:  # a quotation goes on
            continue
        if not line.endswith("\\"):
            if words:
                yield words, line.partition(" # ")[2]
            pending = ""
    assert not pending, "a command does not end"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working directory with the README's configuration, and no variables of this machine."""
    for name in os.environ:
        if name.startswith(("PLANO_", "PYTHON")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plano.yaml").write_text(README_YAML, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def server(settings_of: Callable[[str], Settings], serve: Callable[[ASGIApp], str]) -> str:
    """Return the URL of a server of the README's configuration."""
    settings = settings_of(README_YAML)
    return serve(ReloadableApp(create_app(settings, build_router(settings)), lambda: settings))


def test_pages_have_no_block_that_no_test_reads() -> None:
    """Every block is in a language that is checked here, or is a picture marked as text."""
    assert {block.language for block in BLOCKS} <= {"yaml", "python", "sh", "json", "text"}
    assert len(BLOCKS) >= 10


@pytest.mark.parametrize("block", written_in("yaml"), ids=str)
def test_yaml_block_is_a_configuration(block: Block, tmp_path: Path) -> None:
    """A configuration on a page loads without faults or warnings; one that names no provider is part of a larger."""
    file = tmp_path / "plano.yaml"
    file.write_text(block.text, encoding="utf-8")
    environ = dict.fromkeys(re.findall(r"\$\{?(\w+)", block.text), "sk-any")
    if "model_providers" not in yaml.safe_load(block.text):
        environ["PLANO_MODEL_PROVIDERS"] = DEFAULT_PROVIDER

    assert load_settings(file, environ=environ).warnings == ()


@pytest.mark.parametrize(
    "path", [*ROOT.glob("examples/**/plano*.yaml")], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_configuration_of_an_example_loads(path: Path) -> None:
    """Every configuration that comes with the project is valid."""
    assert load_settings(path, environ={}).catalog.providers


def test_starting_file_loads(settings_of: Callable[[str], Settings]) -> None:
    """What `plano-asgi init` writes is valid and means what the README's example means."""
    assert settings_of(STARTING_FILE).policy == settings_of(README_YAML).policy


def package_example() -> Block:
    """Return the example in the package's own docstring."""
    found = FENCE.search(plano_asgi.__doc__ or "")
    assert found
    return Block("plano_asgi/__init__.py", 1, found[1], found[2])


@pytest.mark.parametrize("block", [*written_in("python"), package_example()], ids=str)
def test_python_block_runs(block: Block, workspace: Path) -> None:
    """Python on a page runs as it stands beside the README's configuration, without a warning."""
    script = workspace / "example.py"
    script.write_text(block.text, encoding="utf-8")

    ran = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    assert bool(ran.stdout) == ("print(" in block.text)


@pytest.mark.parametrize("block", written_in("json"), ids=str)
def test_json_block_parses(block: Block) -> None:
    """JSON on a page is JSON."""
    json.loads(block.text)


@pytest.mark.parametrize("block", written_in("sh"), ids=str)
def test_commands_of_shell_block_work(block: Block, workspace: Path, server: str) -> None:
    """Every command does what its page says, in its order, beside the README's configuration and the page's files."""
    for name, text in FILE.findall((ROOT / block.page).read_text(encoding="utf-8")):
        (workspace / name).write_text(text, encoding="utf-8")
    commands = list(commands_of(block.text))

    assert commands
    for words, comment in commands:
        program = words[0]
        assert program in CHECKS, f"no test knows how to check {program}"
        CHECKS[program](words[1:], comment, workspace, server)


def check_plano(arguments: list[str], _: str, workspace: Path, __: str) -> None:
    """Run the command; a server is started on a free port and stopped."""
    command = [sys.executable, "-m", "plano_asgi", *arguments]
    if arguments[0] != "serve":
        ran = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return
    with subprocess.Popen([*command, "--port", "0"], cwd=workspace, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stderr or ():
            lines.append(line)
            if LISTENING.search(line):
                break
        process.terminate()
    assert LISTENING.search(lines[-1]), "".join(lines)


def check_curl(arguments: list[str], comment: str, _: Path, server: str) -> None:
    """Send the request; the answer is 200, or the status that the comment behind the command begins with."""
    response = curl(arguments, server)

    expected = re.match(r"\d{3}", comment)
    assert response.status_code == int(expected[0] if expected else 200), response.text


def curl(arguments: list[str], server: str) -> httpx.Response:
    """Return the answer to a curl command that is meant for the usual port."""
    url, headers, data, method = "", {}, None, ""
    rest = iter(arguments)
    for word in rest:
        if word in {"-s", "-i", "-sS", "-f"}:
            continue
        if word in {"-H", "--header"}:
            name, _, value = next(rest).partition(":")
            headers[name] = value.strip()
        elif word in {"-d", "--data", "--json"}:
            data = next(rest)
        elif word in {"-X", "--request"}:
            method = next(rest)
        else:
            assert word.startswith(ANY_SERVER), f"curl {word} is not understood here"
            url = word.replace(ANY_SERVER, server)
    return httpx.request(
        method or ("GET" if data is None else "POST"), url, headers=headers, content=data, trust_env=False
    )


def check_make(arguments: list[str], _: str, __: Path, ___: str) -> None:
    """Find the targets in the Makefile, and let make read what it would do."""
    targets = [word for word in arguments if "=" not in word]
    listed = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)

    assert targets
    assert set(targets) <= set(listed)
    subprocess.run(["make", "-n", *arguments], cwd=ROOT, check=True, capture_output=True)  # noqa: S607


def check_pip(arguments: list[str], _: str, __: Path, ___: str) -> None:
    """Find the extras of the package in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [word for word in arguments[1:] if not word.startswith("-")]

    assert arguments[0] == "install"
    for requirement in requirements:
        name, extras = re.fullmatch(r"([^\[]+)(?:\[(.*)\])?", requirement).groups()  # type: ignore[union-attr]
        assert name in {project["name"], "."}
        assert set((extras or "").split(",")) <= {"", *project["optional-dependencies"]}


def check_python(arguments: list[str], _: str, __: Path, ___: str) -> None:
    """Find the script or module and the options it is given; a script also answers --help."""
    is_module = arguments[0] == "-m"
    spec = importlib.util.find_spec(arguments[1]) if is_module else None
    script = Path(str(spec.origin)) if spec else ROOT / arguments[0]
    tree = ast.parse(script.read_text(encoding="utf-8"))

    assert {word for word in arguments if word.startswith("--")} <= strings_in(tree)
    if not is_module:  # modules of the lab need packages that only training needs
        subprocess.run([sys.executable, script, "--help"], check=True, capture_output=True)


def strings_in(tree: ast.AST) -> set[str]:
    """Return the literal strings of a program."""
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


CHECKS: dict[str, Callable[[list[str], str, Path, str], None]] = {
    "plano-asgi": check_plano,
    "curl": check_curl,
    "make": check_make,
    "pip": check_pip,
    "python": check_python,
}


def answers() -> list[tuple[Block, Block]]:
    """Return every command line of one curl with the JSON that its page shows as the answer."""
    return [
        (block.before, block)
        for block in written_in("json")
        if block.before and block.before.language == "sh" and block.before.text.startswith("curl")
    ]


@pytest.mark.parametrize(("command", "answer"), answers(), ids=str)
def test_answer_on_the_page_is_the_answer(command: Block, answer: Block, server: str) -> None:
    """What a page shows as the answer to a command has the real one's keys, and decides as the real one does."""
    ((words, _),) = commands_of(command.text)
    shown: dict[str, Any] = json.loads(answer.text)

    real = curl(words[1:], server).json()

    told = ("route", "model", "models", "would_use", "reason", "policy", "classifier")
    assert list(shown) == list(real)
    assert {key: shown[key] for key in told} == {key: real[key] for key in told}
    assert shown["scores"] == pytest.approx(real["scores"], abs=0.05)
    assert shown["confidence"] == pytest.approx(real["confidence"], abs=0.05)
