"""examples/twelve_factor: what its Dockerfile and compose file say starts, decides, is healthy, and stops."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

EXAMPLE = Path(__file__).parents[1] / "examples" / "twelve_factor"
MOUNT = "/run/secrets/"
KEY = "sk-mounted-and-never-shown"
CALL = {"messages": [{"role": "user", "content": "Write a Python function that implements binary search"}]}


def instructions() -> Iterator[tuple[str, str]]:
    """Yield each instruction of the Dockerfile with its arguments."""
    lines = (EXAMPLE / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    for line in filter(None, lines):
        name, _, arguments = line.partition(" ")
        yield name, " ".join(arguments.split())


@dataclass(frozen=True)
class Container:
    """What a container engine would run, by the two files.

    Attributes:
        image: The Dockerfile's instructions; the last of each name counts.
        service: The compose file's one service.
        secrets: The secrets that the compose file declares.
    """

    image: Mapping[str, str]
    service: Mapping[str, Any]
    secrets: Mapping[str, Any]

    @property
    def command(self) -> list[str]:
        """The command, for any free port of loopback."""
        places = {"0.0.0.0": "127.0.0.1", self.image["EXPOSE"]: "{port}"}  # noqa: S104 - not bound here
        return [places.get(word, word) for word in self.service["command"]]

    def environ(self, mount: Path) -> dict[str, str]:
        """Return the environment, with the secrets mounted in a folder."""
        of_image = dict(word.split("=", 1) for word in shlex.split(self.image["ENV"]))
        return {**of_image, **{k: v.replace(MOUNT, f"{mount}/") for k, v in self.service["environment"].items()}}


@pytest.fixture(scope="module")
def container() -> Container:
    """Return what the two files describe."""
    compose = yaml.safe_load((EXAMPLE / "compose.yaml").read_text(encoding="utf-8"))
    (service,) = compose["services"].values()
    return Container(dict(instructions()), service, compose["secrets"])


@pytest.fixture(scope="module")
def mount(container: Container, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where the service's secrets are mounted."""
    folder = tmp_path_factory.mktemp("secrets")
    for name in container.service["secrets"]:
        (folder / name).write_text(f"{KEY}\n", encoding="utf-8")
    return folder


@pytest.fixture
def server(container: Container, mount: Path, launch: Callable[..., Any], tmp_path: Path) -> Any:
    """Return the service, started in an empty folder with that environment and no other."""
    return launch(container.command, folder=tmp_path, environ=container.environ(mount))


def test_image_runs_one_process_without_shell_or_root(container: Container) -> None:
    """Command and health check are in exec form, the user is a number that is not 0, and SIGTERM ends it."""
    command = json.loads(container.image["CMD"])
    check = container.image["HEALTHCHECK"].partition("CMD ")[2]

    assert command == container.service["command"]
    assert isinstance(json.loads(check), list)
    assert int(container.image["USER"]) > 0
    assert container.image["STOPSIGNAL"] == "SIGTERM"


def test_files_agree_on_the_port_and_on_the_secrets(container: Container) -> None:
    """The port that is exposed is the one listened on, published and checked; every secret in use is declared."""
    port = container.image["EXPOSE"]
    named = {text.removeprefix(MOUNT) for text in container.service["environment"].values() if text.startswith(MOUNT)}

    assert container.service["command"][-1] == port
    assert [published.rpartition(":")[2] for published in container.service["ports"]] == [port]
    assert f":{port}/readyz" in container.image["HEALTHCHECK"]
    assert named == set(container.service["secrets"]) == set(container.secrets)


def test_secrets_are_files_that_neither_repository_nor_build_takes_in(container: Container) -> None:
    """The read-only container is given its secrets as files, which git ignores and the image never sees."""
    files = {Path(secret["file"]).name for secret in container.secrets.values()}

    assert container.service["read_only"] is True
    assert files <= set((EXAMPLE / ".gitignore").read_text(encoding="utf-8").split())
    assert (EXAMPLE / ".dockerignore").read_text(encoding="utf-8").split() == ["*"]
    assert not {"COPY", "ADD"} & container.image.keys()


def test_service_lives_is_ready_and_decides(server: Any) -> None:
    """With its environment alone the service is alive, ready, and knows where a call about code goes."""
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        health, readiness = client.get("/healthz"), client.get("/readyz")
        decision = client.post("/routing/v1/chat/completions", json=CALL).json()

    assert (health.status_code, readiness.json()) == (200, {"status": "ready"})
    assert (decision["route"], decision["model"]) == ("code_generation", "anthropic/claude-sonnet-4-20250514")


def test_health_check_tells_a_running_service_from_a_stopped_one(container: Container, server: Any) -> None:
    """The image's own check succeeds while the service is ready, and fails when it has stopped."""
    check = json.loads(container.image["HEALTHCHECK"].partition("CMD ")[2])
    address = f"127.0.0.1:{container.image['EXPOSE']}"
    command = [word.replace(address, server.url.removeprefix("http://")) for word in check]
    command[0] = {"python": sys.executable}[command[0]]

    while_up = subprocess.run(command, capture_output=True, check=False)
    server.stop()
    when_down = subprocess.run(command, capture_output=True, check=False)

    assert (while_up.returncode, when_down.returncode) == (0, 1)


def test_sigterm_ends_the_service_in_order_and_the_key_was_nowhere(server: Any) -> None:
    """A stopped service has shut down, says so, logged its calls as JSON, and never wrote the mounted key."""
    httpx.post(f"{server.url}/routing/v1/chat/completions", json=CALL, trust_env=False)

    code = server.stop()

    lines = server.complained.splitlines()
    events = [json.loads(line)["event"] for line in lines if line.startswith("{")]
    assert code in {0, -15}
    assert "Application shutdown complete" in server.complained
    assert events.count("plano.call_routed") == 1
    assert not [word for word in (KEY, "Traceback") if word in server.said + server.complained]


def test_secret_that_is_not_mounted_stops_the_start(container: Container, tmp_path: Path) -> None:
    """Where the secret's file is missing, the service does not start, and names the variable."""
    environ = container.environ(tmp_path)
    command = [sys.executable, "-m", "plano_asgi", *container.command[1:-1], "0"]

    ran = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 2
    assert "PLANO_MODEL_PROVIDERS__0__ACCESS_KEY_FILE" in ran.stderr
    assert "Traceback" not in ran.stderr
