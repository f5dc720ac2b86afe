"""What the gateway costs: calls straight to a provider, through this gateway, and through others, in turn.

```text
python -m benchmarks.gateway [--litellm COMMAND] [--quick] [--json FILE]
```

The others are a bare relay, which passes bytes on by the same httpx and uvicorn and does nothing else, so that what is
above it is ours; and LiteLLM's proxy. `--litellm` is the command of an installed `litellm[proxy]`, in an environment of
its own. All contenders run at once,
one worker each, in front of the same provider on loopback that answers at once; blocks of calls are measured in turn,
round by round, so that what else the machine does falls on all alike. The client, the provider and the servers share
the machine's cores: `calls/s a core` divides calls by the seconds of CPU that the server alone has used.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track

from benchmarks.gateway_cost.contenders import LITELLM_NAME, RELAY_NAME, Contender, contenders
from benchmarks.gateway_cost.figures import Row, ratios, show
from benchmarks.gateway_cost.load import take

LOADS: Final = tuple((in_flight, is_stream) for is_stream in (False, True) for in_flight in (1, 16, 64))


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--litellm", type=Path, help="the command litellm, where it is installed")
    parser.add_argument("--quick", action="store_true", help="a moment of each; the figures mean nothing")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    rounds, seconds = (1, 0.2) if arguments.quick else (5, 1.5)
    load_of_others = round(os.getloadavg()[0], 1)
    with contenders(arguments.litellm) as found:
        measured = asyncio.run(measure(found, rounds=rounds, seconds=seconds))
        resident = {row.contender.name: row.contender.resident_mib() for row in measured if row.contender.process}
    direct = {(row.in_flight, row.is_stream): row for row in measured if row.contender.process is None}
    rows = [row.figures(direct[row.in_flight, row.is_stream]) for row in measured]
    show(rows, resident)
    others = [RELAY_NAME, *([LITELLM_NAME] if arguments.litellm else [])]
    ours = [contender.name for contender in found if contender.process and contender.name not in others]
    beside = {other: [more for name in ours for more in ratios(rows, ours=name, theirs=other)] for other in others}
    for other in others:
        tell(beside[other], other)
    if arguments.json:
        result = {
            "rows": rows,
            "times_relay": beside[RELAY_NAME],
            "times_litellm": beside.get(LITELLM_NAME, []),
            "resident_mib": {name: round(mib) for name, mib in resident.items()},
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "load_of_others": load_of_others,
            "versions": versions(arguments.litellm),
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def tell(beside: Sequence[Mapping[str, object]], other: str) -> None:
    """Print how the calls/s a core of contenders compare to those of another."""
    for more in beside:
        answers = "streamed" if more["is_stream"] else "plain"
        times = f"{more['times']} times the calls/s a core of {other}"
        Console().print(f"{more['contender']}: {times}, {answers}, {more['in_flight']} in flight")


async def measure(found: Sequence[Contender], *, rounds: int, seconds: float) -> list[Row]:
    """Return all rows, measured in turn."""
    rows = [Row(contender, *load) for load in LOADS for contender in found]
    for contender in found:
        await take(contender.port, contender.workload, in_flight=4, is_stream=False, seconds=seconds)
    turns = [row for turn in range(rounds) for row in rows[:: 1 if turn % 2 == 0 else -1]]
    for row in track(turns, "blocks of calls", console=Console(stderr=True)):
        contender, before = row.contender, row.contender.cpu_s()
        taken = await take(
            contender.port, contender.workload, in_flight=row.in_flight, is_stream=row.is_stream, seconds=seconds
        )
        row.blocks.append((taken, contender.cpu_s() - before))
    return rows


def versions(litellm: Path | None) -> dict[str, str]:
    """Return what is compared, and what it runs on."""
    found = {name: version(name) for name in ("plano-asgi", "httpx", "uvicorn", "httptools", "uvloop", "onnxruntime")}
    if litellm:
        asked = [
            str(litellm.parent / "python"),
            "-c",
            "from importlib.metadata import version; print(version('litellm'))",
        ]
        found["litellm"] = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - our own command
    return found


if __name__ == "__main__":
    main()
