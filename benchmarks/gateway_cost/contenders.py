"""Who serves the calls: the provider itself, a bare relay, this gateway, and LiteLLM's proxy where it is installed."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.gateway_cost.load import KEY, Workload

RELAY_NAME: Final = "a bare relay of httpx and uvicorn"
LITELLM_NAME: Final = "LiteLLM proxy"
OURS: Final = """
mode: forward
model_providers:
  - {{model: local/small, base_url: "http://127.0.0.1:{port}/v1", default: true}}
  - {{model: local/large, base_url: "http://127.0.0.1:{port}/v1"}}
routing_preferences:
  - {{name: databases, description: "writing SQL queries, designing tables and indexes", models: [local/large]}}
  - {{name: devices, description: "trouble with printers, scanners and other devices", models: [local/small]}}
  - {{name: letters, description: "writing letters and e-mails to customers", models: [local/small]}}
routing: {{applies_to: ["auto"]}}
"""
LITELLM: Final = """
model_list:
  - model_name: small
    litellm_params: {{model: openai/small, api_base: "http://127.0.0.1:{port}/v1", api_key: sk-of-nobody}}
litellm_settings: {{telemetry: false}}
"""


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the result: a server, and what it is asked.

    Attributes:
        name: For people.
        port: Where it listens.
        process: Who serves; None where that is the provider itself.
        workload: What it is asked.
    """

    name: str
    port: int
    process: psutil.Process | None
    workload: Workload

    def cpu_s(self) -> float:
        """Return the seconds that its processes have used so far."""
        if self.process is None:
            return 0.0
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(member.cpu_times()[:2]) for member in family)

    def resident_mib(self) -> float:
        """Return the memory that its processes hold."""
        if self.process is None:
            return 0.0
        family = [self.process, *self.process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family) / 2**20


@contextmanager
def contenders(litellm: Path | None) -> Iterator[Sequence[Contender]]:
    """Give all contenders, up and answering; `litellm` is the command of that proxy."""
    provider_port, relay_port, ours_port, litellm_port = (free_port() for _ in range(4))
    relaying = [sys.executable, "-m", "benchmarks.gateway_cost.relay", str(provider_port), str(relay_port)]
    with (
        tempfile.TemporaryDirectory() as name,
        _running([sys.executable, "-m", "benchmarks.gateway_cost.provider", str(provider_port)], provider_port, {}),
        _running(relaying, relay_port, {}) as relay,
    ):
        folder = Path(name)
        (folder / "plano.yaml").write_text(OURS.format(port=provider_port), encoding="utf-8")
        (folder / "litellm.yaml").write_text(LITELLM.format(port=provider_port), encoding="utf-8")
        serve = [sys.executable, "-m", "plano_asgi", "serve", "--config", str(folder / "plano.yaml")]
        with _running([*serve, "--port", str(ours_port)], ours_port, {}) as ours:
            found = [
                Contender("the provider itself", provider_port, None, Workload("small")),
                Contender(RELAY_NAME, relay_port, relay, Workload("small")),
                Contender("ours, model named by the client", ours_port, ours, Workload("local/small")),
                Contender("ours, decision cached", ours_port, ours, Workload("auto")),
                Contender(
                    "ours, embedded router, never the same twice", ours_port, ours, Workload("auto", is_new=True)
                ),
            ]
            if litellm is None:
                yield found
                return
            command = [
                str(litellm),
                "--config",
                str(folder / "litellm.yaml"),
                "--host",
                "127.0.0.1",
                "--num_workers",
                "1",
            ]
            quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY}
            with _running([*command, "--port", str(litellm_port)], litellm_port, quiet) as theirs:
                yield [*found, Contender(LITELLM_NAME, litellm_port, theirs, Workload("small"))]


@contextmanager
def _running(command: Sequence[str], port: int, environ: Mapping[str, str]) -> Iterator[psutil.Process]:
    """Start a server, wait until it listens, and stop it."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env={**os.environ, **environ}, stdout=quiet, stderr=quiet) as process:  # noqa: S603 - our own command
        try:
            until = time.monotonic() + 120
            while not is_listening(port):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{' '.join(command)} does not serve")
                time.sleep(0.1)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


def is_listening(port: int) -> bool:
    """Return whether a server listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
