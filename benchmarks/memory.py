"""Memory: growth per call after warm-up, and what streams hold whose readers have stopped.

```text
python -m benchmarks.memory [--calls N] [--readers N] [--json FILE]
```

Exits 1 when the process grows by 256 bytes a call or more: over calls through the decision endpoint, and over calls
that the gateway serves, streamed ones, failures and callers that go away among them. Beside them stand as many calls
that are refused before they are read. Slow readers have each read the beginning of a stream of 4 MB, and stopped.
"""

import argparse
import asyncio
import json
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.memory_growth.deciding import growth_of_decisions
from benchmarks.memory_growth.forwarding import bytes_of_slow_readers, growth_of_forwarding

BOUND_BYTES: Final = 256


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--readers", type=int, default=1_000)
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    decided, refused = asyncio.run(growth_of_decisions(arguments.calls))
    forwarded = asyncio.run(growth_of_forwarding(arguments.calls))
    held = asyncio.run(bytes_of_slow_readers(arguments.readers))
    result = {
        "calls": arguments.calls,
        "growth_bytes_per_call": round(decided, 1),
        "growth_bytes_per_refused_call": round(refused, 1),
        "growth_bytes_per_forwarded_call": round(forwarded, 1),
        "bound_bytes_per_call": BOUND_BYTES,
        "slow_readers": arguments.readers,
        "kib_per_slow_reader": round(held / 1024, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {version('onnxruntime')}",
    }
    Console().print(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if max(decided, forwarded) < BOUND_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
