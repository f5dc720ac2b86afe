"""`plano-asgi top` shows what a running server decides."""

import os
import re
import subprocess
import sys
from collections.abc import Callable

import httpx
from rich.console import Console
from starlette.applications import Starlette

from plano_asgi.cli.watching import Overview
from plano_asgi.testing import FixedClassifier

SETTINGS = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing functions}]
"""


def decided(number: int, **fields: object) -> dict[str, object]:
    """Return an entry of the log."""
    common = {"id": str(number), "at": "2026-05-01T10:00:00+00:00", "request_id": f"r-{number}", "reason": "matched"}
    chosen = {"route": "code", "model": "openai/gpt-4o", "confidence": 0.9, "latency_ms": float(number)}
    return {**common, **chosen, **fields}


def shown(*decisions: dict[str, object]) -> str:
    """Return the overview of decisions as plain text, with single spaces."""
    console = Console(width=120, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    console.print(Overview("http://here", decisions))
    console.file.close()
    return re.sub(r" +", " ", console.export_text())


def test_shares_and_times_of_routes() -> None:
    """Each route has its share, mean confidence, median and 95th percentile; so have calls without one."""
    text = shown(*(decided(number) for number in range(1, 4)), decided(9, route=None, confidence=None))

    assert re.search(r"code █+ 75% 3 0\.90 2\.0 3\.0", text)
    assert re.search(r"none of these █+ 25% 1 - 9\.0 9\.0", text)


def test_tokens_costs_and_failures_of_models() -> None:
    """Calls that were served here are summed by the model that served them; what failed is told last."""
    served = {"served_by": "openai/gpt-4o-mini", "end": "complete", "duration_ms": 1500.0}
    failed = {"served_by": None, "end": "complete", "status": 502}
    broken = {"served_by": "openai/gpt-4o", "end": "broken_off", "status": 200}
    attempts = [{"model": "openai/gpt-4o", "outcome": "timeout"}]

    text = shown(
        decided(1, **served, input_tokens=1000, output_tokens=20, cost_usd=0.25),
        decided(2, **served, input_tokens=500, output_tokens=1, cost_usd=None),
        decided(3, **failed, attempts=attempts),
        decided(4, **broken),
        decided(5, **{**served, "end": "abandoned", "status": None, "served_by": "openai/o3"}),
    )

    assert "openai/gpt-4o-mini 2 - 1,500 21 0.2500 1.5 1.5" in text
    assert re.search(r"openai/gpt-4o 2 2 - - - - -", text)
    assert re.search(r"openai/o3 1 - - -", text)
    assert "r-3 openai/gpt-4o: timeout; answered with 502" in text
    assert "r-4 broken_off (200)" in text
    assert "r-5" not in text


def test_names_are_no_markup_and_an_empty_log_is_said() -> None:
    """What callers name their routes is shown as it is, and nothing decided is nothing broken."""
    assert "[red]x[/red]" in shown(decided(1, route="[red]x[/red]"))
    assert "nothing has been decided yet" in shown()


def test_a_running_server_is_asked(app_of: Callable[..., Starlette], serve: Callable[[Starlette], str]) -> None:
    """The command shows the log of the server that it is pointed at, with the admin token of the environment."""
    url = serve(app_of(f"{SETTINGS}admin: {{token: canary}}\n", FixedClassifier({"code": 0.9})))
    call = {"messages": [{"role": "user", "content": "Write a function."}]}
    httpx.post(f"{url}/routing/v1/chat/completions", json=call, trust_env=False).raise_for_status()
    environ = {
        **os.environ,
        "PLANO_ADMIN__TOKEN": "canary",
        "PLANO_MODEL_PROVIDERS": '[{"model": "a/b", "default": true}]',
    }

    command = [sys.executable, "-m", "plano_asgi", "top", "--once", "--url", url]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.search(r"code +█+ +100% +1 +0\.90", ran.stdout)
