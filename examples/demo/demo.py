"""The demo: real conversations in three API formats, sent over HTTP to a running server, and where they would go.

Exits non-zero if one of the six requests is not routed as expected. The paraphrases were written before the router was
trained; their score is printed and decides nothing.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Column, Table

FOLDER = Path(__file__).parent
START_UP_S = 60


def main() -> int:
    """Run the demo; return the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    requests = json.loads((FOLDER / "requests.json").read_text(encoding="utf-8"))
    with serving() as client:
        decisions = [decide(client, request["path"], request["body"]) for request in requests]
        show(console, requests, decisions)
        right, total = paraphrase_score(client, requests)
    console.print(f"Paraphrases, written before training: [bold]{right} of {total}[/bold] decided as their originals.")
    wrong = sum(d["route"] != r["expect"] for r, d in zip(requests, decisions, strict=True))
    if wrong:
        console.print(f"[red]{wrong} of {len(requests)} requests went elsewhere than expected.[/red]")
    return 1 if wrong else 0


@contextmanager
def serving() -> Iterator[httpx.Client]:
    """Start `plano-asgi serve` on a free port; yield a client for it once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "plano_asgi", "serve", "--config", str(FOLDER / "plano.yaml"), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own command
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            wait_until_ready(client, server)
            yield client
    finally:
        server.terminate()
        server.communicate(timeout=10)


def wait_until_ready(client: httpx.Client, server: "subprocess.Popen[str]") -> None:
    """Return once `/readyz` says so; exit with the server's own words if it ends or takes too long."""
    deadline = time.monotonic() + START_UP_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if client.get("/readyz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    server.terminate()
    sys.exit(f"the server did not start:\n{server.communicate()[1]}")


def decide(client: httpx.Client, path: str, body: object) -> dict[str, Any]:
    """Return the decision on one call."""
    response = client.post(path, json=body)
    response.raise_for_status()
    decision: dict[str, Any] = response.json()
    return decision


def paraphrase_score(client: httpx.Client, requests: list[dict[str, Any]]) -> tuple[int, int]:
    """Return how many paraphrases are decided as expected, and how many there are."""
    results = []
    for request, group in zip(requests, paraphrases(), strict=True):
        policy = {key: value for key, value in request["body"].items() if key == "routing_policy"}
        for text in group["texts"]:
            body = {"messages": [{"role": "user", "content": text}], **policy}
            results.append(decide(client, "/routing/v1/chat/completions", body)["route"] == group["expect"])
    return sum(results), len(results)


def paraphrases() -> list[dict[str, Any]]:
    """Return the paraphrases of each request, in the order of the requests."""
    groups: list[dict[str, Any]] = json.loads((FOLDER / "paraphrases.json").read_text(encoding="utf-8"))
    return groups


def show(console: Console, requests: list[dict[str, Any]], decisions: list[dict[str, Any]]) -> None:
    """Print what was asked and what was decided."""
    fixed = [Column(name, no_wrap=True) for name in ("API", "route", "model", "confidence", "ms", "")]
    table = Table(fixed[0], Column("the user says", ratio=1), *fixed[1:], title="What would serve these calls?")
    for request, decision in zip(requests, decisions, strict=True):
        is_right = decision["route"] == request["expect"]
        table.add_row(
            api_of(request),
            said(request["body"]),
            decision["route"] or "none",
            decision["would_use"],
            f"{decision['confidence']:.2f}",
            f"{decision['latency_ms']:.1f}",
            "[green]✓[/green]" if is_right else f"[red]expected {request['expect']}[/red]",
        )
    console.print(table)


def api_of(request: dict[str, Any]) -> str:
    """Return the API's short name, and whether the call brings its own policy."""
    name = str(request["path"]).split("/")[3]
    return f"{name} + inline" if "routing_policy" in request["body"] else name


def said(body: dict[str, Any]) -> str:
    """Return the user's text of a request body of any of the three formats."""
    text: str = body["input"] if "input" in body else body["messages"][-1]["content"]
    return text


if __name__ == "__main__":
    sys.exit(main())
