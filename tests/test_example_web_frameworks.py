"""examples/django_app and examples/flask_app: calls arrive at the provider of their route, as their pages say."""

import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette

EXAMPLES: Final = Path(__file__).parents[1] / "examples"
FAKE_PROVIDER: Final = "http://127.0.0.1:9000"
NOBODY: Final = "http://127.0.0.1:9"
KEYS: Final = {"OPENAI_API_KEY": "sk-of-openai", "MISTRAL_API_KEY": "sk-of-mistral"}
PATIENCE: Final = {"PLANO_CLASSIFIER__DEADLINE_MS": "20000"}  # on a busy machine
PYTHON: Final = "Write a Python function that implements binary search"


@dataclass(frozen=True)
class Example:
    """One example, served as its page says.

    Attributes:
        folder: Where it is.
        commands: The shell blocks of its page.
        test: The test of its page.
        serves: The commands that serve it, each alone.
        check: The command that checks it.
    """

    folder: Path
    commands: str
    test: str
    serves: tuple[str, ...]
    check: str

    @classmethod
    def of(cls, name: str, *serves: str, check: str) -> "Example":
        """Return an example with what its page says."""
        page = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
        commands = "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
        (test,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        return cls(EXAMPLES / name, commands, test, serves, check)

    def environ(self, provider: str) -> Mapping[str, str]:
        """Return what the page exports, with the stand-in elsewhere."""
        lines = re.findall(r"^export (.*)", self.commands, re.MULTILINE)
        said = dict(word.split("=", 1) for line in lines for word in line.split())
        return {name: text.replace(FAKE_PROVIDER, provider) for name, text in said.items()} | KEYS | PATIENCE


FOUND: Final = [
    Example.of(
        "django_app",
        "uvicorn asgi:application --port 8000",
        "daphne --port 8000 asgi:application",
        check="python manage.py check",
    ),
    Example.of(
        "flask_app",
        "gunicorn app:app --preload --threads 4 --bind 127.0.0.1:8000",
        check="flask plano check",
    ),
]
SERVED: Final = [(example, command) for example in FOUND for command in example.serves]


@pytest.fixture(scope="module")
def provider() -> Starlette:
    """Return the stand-in for the providers."""
    app: Starlette = runpy.run_path(str(EXAMPLES / "fastapi_app" / "fake_provider.py"))["app"]
    return app


@pytest.fixture(scope="module", params=FOUND, ids=lambda found: found.folder.name)
def example(request: pytest.FixtureRequest) -> Example:
    """Return one example after the other."""
    found: Example = request.param
    return found


@pytest.fixture(scope="module", params=SERVED, ids=lambda served: served[1].partition(" ")[0])
def served(request: pytest.FixtureRequest) -> tuple[Example, str]:
    """Return one example after the other, with each command that serves it."""
    found: tuple[Example, str] = request.param
    return found


@pytest.fixture(scope="module")
def url(
    served: tuple[Example, str], provider: Starlette, serve: Callable[[Starlette], str], launch: Callable[..., Any]
) -> str:
    """Return the URL of an example, run as its page says."""
    example, said = served
    assert said in example.commands.splitlines()
    command = said.replace("8000", "{port}").split()
    started: str = launch(command, folder=example.folder, environ=example.environ(serve(provider))).url
    return started


def test_page_tells_what_its_curl_answers(url: str, served: tuple[Example, str]) -> None:
    """The page's own request is answered as the page says."""
    example, _ = served
    words = shlex.split(example.commands[example.commands.index("curl") :])
    path = next(word for word in words if word.startswith("http")).removeprefix("http://127.0.0.1:8000")
    headers = {"content-type": "application/json"}

    answer = httpx.post(url + path, content=words[words.index("-d") + 1], headers=headers, trust_env=False, timeout=30)

    assert answer.headers["x-plano-route"] == "code_generation"
    assert answer.json()["choices"][0]["message"]["content"] == "codestral-latest was asked"


@pytest.mark.parametrize(
    ("text", "arrives"),
    [
        (PYTHON, {"provider": "mistral", "model": "codestral-latest", "authorization": "Bearer sk-of-mistral"}),
        ("good morning", {"provider": "openai", "model": "gpt-4o-mini", "authorization": "Bearer sk-of-openai"}),
    ],
    ids=["code", "neither"],
)
def test_call_arrives_at_its_provider_with_its_model_and_key(
    url: str, provider: Starlette, text: str, arrives: Mapping[str, str]
) -> None:
    """What the provider hears is the routed model and its own key, and its stream passes through."""
    call = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": text}]}

    answer = httpx.post(f"{url}/v1/chat/completions", json=call, trust_env=False, timeout=30)

    assert provider.state.calls[-1] == arrives
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")


def test_what_is_no_call_is_refused_as_openai_would(url: str) -> None:
    """A body that is no call is a 400 in OpenAI's shape."""
    answer = httpx.post(f"{url}/v1/chat/completions", json={"model": "auto", "messages": 3}, trust_env=False)

    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_check_of_the_page_finds_nothing(example: Example) -> None:
    """The page's check command is content with the example."""
    assert example.check in example.commands.splitlines()
    program, *words = example.check.split()
    command = [sys.executable, *words] if program == "python" else [sys.executable, "-m", program, *words]

    ran = subprocess.run(
        command,
        cwd=example.folder,
        env={**example.environ(NOBODY)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.returncode, "identified no issues" in ran.stdout or "one decision in" in ran.stdout) == (0, True), ran


def test_test_of_the_page_passes(example: Example, tmp_path: Path) -> None:
    """The page's test of the example passes without a model or a provider."""
    (tmp_path / "test_chat.py").write_text(example.test, encoding="utf-8")
    is_django = (example.folder / "manage.py").exists()
    runner = ["django", "test", "--settings", "settings"] if is_django else ["pytest", "-q", "-p", "no:cacheprovider"]
    environ = {
        **example.environ(NOBODY),
        "PYTHONPATH": str(example.folder),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # of this project's own, which take their time
    }

    ran = subprocess.run(
        [sys.executable, "-m", *runner, *([] if is_django else ["."])],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"Ran 1 test|1 passed", ran.stdout + ran.stderr)
