"""`plano-asgi top`: what a running server decides, as it decides it."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from plano_asgi.cli.keyboard import quit_key
from plano_asgi.cli.reading_decisions import Decision, LogReader, fault_of

MOST_DECISIONS: Final = 1_000
MOST_ERRORS: Final = 6
BAR_WIDTH: Final = 20
REFRESH_HZ: Final = 2.0
NO_ROUTE: Final = "none of these"


class Overview:
    """The latest 1,000 decisions as tables: routes, models, and what went wrong."""

    def __init__(self, url: str, decisions: Iterable[Decision]) -> None:
        """Take where they come from, and those there are, the oldest first."""
        self._url = url
        self._decisions: deque[Decision] = deque(decisions, maxlen=MOST_DECISIONS)

    def add(self, decision: Decision) -> None:
        """Take one more, at the cost of the oldest."""
        self._decisions.append(decision)

    def __rich__(self) -> RenderableType:
        """Return the tables as they now are."""
        decisions = tuple(self._decisions)
        title = Text.assemble(("plano-asgi top", "bold"), f"  {self._url}  {_since(decisions)}", overflow="ellipsis")
        return Group(title, "", _routes(decisions), "", _models(decisions), *_errors(decisions))


def watch(reader: LogReader, *, is_once: bool) -> None:
    """Show the overview until `q` is pressed or it is interrupted, or once."""
    found = reader.newest(MOST_DECISIONS)
    overview = Overview(reader.url, found)
    if is_once:
        Console().print(overview)
        return
    last, screen = found[-1]["id"] if found else "0", Group(overview, "", Text("q quits", "dim"))
    live = Live(screen, refresh_per_second=REFRESH_HZ, screen=True)
    with suppress(KeyboardInterrupt), quit_key() as is_over, ExitStack() as shown:
        shown.callback(live.stop)  # before the start, in which it may be interrupted as well
        live.start(refresh=True)
        for decision in reader.coming(last, is_over=is_over):
            overview.add(decision)


def _since(decisions: Sequence[Decision]) -> str:
    if not decisions:
        return "nothing has been decided yet"
    minutes = (_time(decisions[-1]) - _time(decisions[0])).total_seconds() / 60
    return f"{len(decisions):,} decisions in {minutes:.0f} min" if minutes >= 1 else f"{len(decisions):,} decisions"


def _routes(decisions: Sequence[Decision]) -> Table:
    table = _table("route", "share", "", "calls", "conf.", "p50 ms", "p95 ms", of_text=2)
    for name, own in _grouped(decisions, lambda decision: decision.get("route") or NO_ROUTE):
        share = len(own) / len(decisions)
        times = [decision["latency_ms"] for decision in own]
        sure = [decision["confidence"] for decision in own if decision.get("confidence") is not None]
        bar = "█" * max(round(share * BAR_WIDTH), 1)
        confidence = f"{sum(sure) / len(sure):.2f}" if sure else "-"
        cells = (
            f"{share:.0%}",
            str(len(own)),
            confidence,
            f"{_quantile(times, 0.5):.1f}",
            f"{_quantile(times, 0.95):.1f}",
        )
        table.add_row(escape(name), f"[cyan]{bar}[/cyan]", *cells, style="dim" if name == NO_ROUTE else "")
    return table


def _models(decisions: Sequence[Decision]) -> Table:
    table = _table("model", "calls", "failed", "tokens in", "tokens out", "cost USD", "p50 s", "p95 s", of_text=1)
    for name, own in _grouped(decisions, lambda decision: decision.get("served_by") or decision.get("model") or "-"):
        costs = [decision["cost_usd"] for decision in own if decision.get("cost_usd") is not None]
        times = [decision["duration_ms"] / 1000 for decision in own if decision.get("duration_ms") is not None]
        failed = sum(map(_is_error, own))
        table.add_row(
            escape(name),
            str(len(own)),
            f"[red]{failed}[/red]" if failed else "-",
            _sum(own, "input_tokens"),
            _sum(own, "output_tokens"),
            f"{sum(costs):.4f}" if costs else "-",
            f"{_quantile(times, 0.5):.1f}" if times else "-",
            f"{_quantile(times, 0.95):.1f}" if times else "-",
        )
    return table


def _errors(decisions: Sequence[Decision]) -> Iterable[RenderableType]:
    wrong = [decision for decision in decisions if _is_error(decision)][-MOST_ERRORS:]
    if not wrong:
        return
    table = Table("last errors", "request", Column("what", overflow="fold"), box=None, header_style="bold red")
    for decision in reversed(wrong):
        asked = ", ".join(f"{attempt['model']}: {attempt['outcome']}" for attempt in decision.get("attempts") or ())
        unclassified = "the classifier had no answer" if decision.get("reason") == "error" else ""
        what = "; ".join(part for part in (unclassified, asked, fault_of(decision)) if part)
        table.add_row(
            _time(decision).astimezone().strftime("%H:%M:%S"), escape(str(decision["request_id"])), escape(what)
        )
    yield ""
    yield table


def _is_error(decision: Decision) -> bool:
    return decision.get("reason") == "error" or fault_of(decision) is not None


def _table(*names: str, of_text: int) -> Table:
    """Return a table whose first columns are texts, and whose others are numbers."""
    columns = (Column(name, justify="left" if at < of_text else "right") for at, name in enumerate(names))
    return Table(*columns, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))


def _grouped(decisions: Sequence[Decision], by: Callable[[Decision], str]) -> list[tuple[str, list[Decision]]]:
    """Return decisions by a name, the largest group first."""
    groups: dict[str, list[Decision]] = {}
    for decision in decisions:
        groups.setdefault(str(by(decision)), []).append(decision)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def _quantile(numbers: Sequence[float], share: float) -> float:
    """Return the number that a share of them does not exceed."""
    return sorted(numbers)[min(int(share * len(numbers)), len(numbers) - 1)]


def _sum(decisions: Sequence[Decision], field: str) -> str:
    counts: list[Any] = [decision[field] for decision in decisions if decision.get(field) is not None]
    return f"{sum(counts):,}" if counts else "-"


def _time(decision: Decision) -> datetime:
    return datetime.fromisoformat(decision["at"])
