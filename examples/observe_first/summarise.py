"""Sum up a log of the service: which models answered, which the router would use, and how the router fared.

```text
python summarise.py < calls.log
```
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from statistics import quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

Event = dict[str, Any]


def main() -> int:
    """Read a log from stdin and print its summary; exit 1 where it holds no call."""
    events = list(events_in(sys.stdin))
    answered = [event for event in events if event["event"] == "chat.answered"]
    if not answered:
        print("no chat.answered line on stdin; is this the service's log?", file=sys.stderr)
        return 1
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(changes(answered))
    elsewhere = sum(map(goes_elsewhere, answered))
    console.print(f"{elsewhere} of {len(answered)} calls were answered by another model than the router's.")
    console.print(health([event for event in events if event["event"].startswith("plano.")]))
    return 0


def events_in(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the log's JSON objects that are events; whatever else stands in it is passed over."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


def goes_elsewhere(event: Event) -> bool:
    """Return whether the router's model is another than the one that answered, which may be written in full or bare."""
    wanted = event["would_use"]
    return wanted is not None and event["model"] not in {wanted, wanted.partition("/")[2]}


def changes(answered: Iterable[Event]) -> Table:
    """Return how often each model answered calls of each route, and which model the router would use."""
    table = Table("route", "answered by", "router's model", "calls", title="What routing changes")
    counts = Counter(
        (event["route"] or event["reason"], event["model"], event["would_use"] or "-") for event in answered
    )
    for (route, model, would_use), count in counts.most_common():
        table.add_row(route, model, would_use, str(count))
    return table


def health(events: list[Event]) -> str:
    """Return how long decisions took, and how many calls went without one."""
    times = [event["latency_ms"] for event in events if event["event"] == "plano.call_routed"]
    passed_on = sum(event["event"] == "plano.call_passed_on" for event in events)
    failed = sum(event["event"] == "plano.classifier_failed" for event in events)
    p95 = quantiles(times, n=20)[-1] if len(times) > 1 else sum(times)
    return f"Decisions: 95 % within {p95:.0f} ms; {failed} failed; {passed_on} calls could not be read and passed on."


if __name__ == "__main__":
    sys.exit(main())
