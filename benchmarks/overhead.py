"""What the middleware costs: a small app bare, against the same app wrapped, in turn.

```text
python benchmarks/overhead.py [--quick] [--json FILE] [--plot FILE.svg]
```

In process: the microseconds that the middleware adds to one ASGI call, with no server between. What the classifier
itself takes is timed within the same call and left out; beside it stands what handing the same classification to a
thread costs by itself, which no router in an event loop can do without. Over HTTP: ratios of wrapped to bare, on
uvicorn in a process of its own. Adapters: the microseconds that those of Django and Flask add to a call, with no
server between, and LangChain's to a call of a chat model. Limits by themselves: a call's estimate held and settled.
Guardrails by themselves, for 1,024 characters. Which of a pair goes first changes from pair to pair, and in process the
cases are measured in turn, round by round. Medians, with the 95 % interval of order statistics.
"""

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.middleware_cost.adapters import adapters
from benchmarks.middleware_cost.cases import BODY_BYTES, FULL, QUICK
from benchmarks.middleware_cost.chat_models import chat_models
from benchmarks.middleware_cost.figures import draw, show
from benchmarks.middleware_cost.guardrails import guardrails_cost
from benchmarks.middleware_cost.in_process import in_process
from benchmarks.middleware_cost.limits import limits_cost
from benchmarks.middleware_cost.over_http import over_http
from benchmarks.middleware_cost.session_cost import session_cost


def main() -> None:
    """Measure, print, and write and draw where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few pairs of each; the figures mean nothing")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--plot", type=Path, help="where to draw the result")
    arguments = parser.parse_args()
    effort = QUICK if arguments.quick else FULL
    load = round(os.getloadavg()[0], 1)
    result = {
        "in_process": in_process(effort),
        "over_http": over_http(effort),
        "adapters": adapters(effort),
        "chat_models": chat_models(effort),
        "limits": limits_cost(effort),
        "sessions": session_cost(effort),
        "guardrails": guardrails_cost(effort),
        "body_bytes": BODY_BYTES,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {version('onnxruntime')}",
        "load_of_others": load,
        "versions": {
            name: version(name)
            for name in ("uvicorn", "httptools", "uvloop", "structlog", "django", "flask", "langchain-core")
        },
    }
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if arguments.plot:
        draw(result, arguments.plot)


if __name__ == "__main__":
    main()
