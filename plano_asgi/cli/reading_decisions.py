"""`plano-asgi decisions`: the decision log of a running server, as a table or as JSON lines."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plano_asgi.cli.keyboard import slept
from plano_asgi.errors import NetworkError
from plano_asgi.net.http_client import HttpClient
from plano_asgi.secret import Secret

PATH: Final = "/routing/v1/decisions"
MOST_PAGE: Final = 1_000
POLL_S: Final = 0.5
TIMEOUT_S: Final = 10.0
MOST_ANSWER_BYTES: Final = 268_435_456

Decision = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LogReader:
    """Asks a server for its decision log.

    Attributes:
        url: Where the server is.
        token: What it is shown; None where it asks for nothing.
        wanted: Values by the names of fields; all decisions where there are none.
        most_page: Most decisions of one answer.
    """

    url: str
    token: Secret | None
    wanted: Mapping[str, str]
    most_page: int = MOST_PAGE

    def newest(self, limit: int) -> list[Decision]:
        """Return the newest decisions, the oldest of them first.

        Raises:
            NetworkError: The server cannot be asked, or refuses.
        """
        found: list[Decision] = []
        before: str | None = None
        while len(found) < limit:
            bound = {"before": before} if before else {}
            page = self._page({"limit": str(min(limit - len(found), self.most_page)), **bound})
            found += page["decisions"]
            before = page["next"]
            if before is None:
                break
        return found[::-1]

    def coming(self, after: str, *, is_over: Callable[[float], bool] = slept) -> Iterator[Decision]:
        """Yield decisions after one of them, as they come; raises as `newest` does.

        Args:
            after: The id of that decision.
            is_over: Waits for so many seconds before the server is asked again, and returns whether nobody wants more.
        """
        while True:
            page = self._page({"after": after})
            yield from page["decisions"]
            after = page["next"]
            if is_over(POLL_S):
                return

    def _page(self, asked: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON, in the shape that its page documents
        headers = {"authorization": f"Bearer {self.token.reveal()}"} if self.token else {}
        url = f"{self.url.rstrip('/')}{PATH}?{urlencode({**asked, **self.wanted})}"
        client = HttpClient(connections=1)
        try:
            answer = client.get(url, headers=headers, timeout_s=TIMEOUT_S, most_bytes=MOST_ANSWER_BYTES)
        except NetworkError as error:
            raise NetworkError(f"{self.url} cannot be asked: {error}; is plano-asgi serve running there?") from None
        finally:
            client.close()
        return _told(answer.status, answer.body)


def print_decisions(reader: LogReader, *, limit: int, is_followed: bool, as_json: bool) -> None:
    """Print the newest decisions, the newest last, and those that come, where they are followed, until interrupted."""
    found = reader.newest(limit)
    show = _print_json if as_json else _print_table
    show(found)
    if not is_followed:
        return
    last = found[-1]["id"] if found else "0"
    with suppress(KeyboardInterrupt):
        for decision in reader.coming(last):
            show([decision], is_first=False)


def fault_of(decision: Decision) -> str | None:
    """Return what went wrong with a call that was served; None where nothing did, or its caller had simply gone."""
    end, status = decision.get("end", "complete"), decision.get("status")
    if end not in {"complete", "abandoned"}:
        return f"{end} ({status})"
    return f"answered with {status}" if status is not None and status >= 400 else None  # noqa: PLR2004 - HTTP errors


def _told(status: int, body: bytes) -> Any:  # noqa: ANN401 - same
    try:
        told = json.loads(body)
    except ValueError:
        raise NetworkError(f"the server answers {status} with no JSON; is it plano-asgi?") from None
    if status != 200:  # noqa: PLR2004 - good
        message = told.get("error", {}).get("message", "") if isinstance(told, dict) else ""
        raise NetworkError(f"the server answers {status}: {message}")
    return told


def _print_json(decisions: Iterable[Decision], *, is_first: bool = True) -> None:
    del is_first
    for decision in decisions:
        typer.echo(json.dumps(decision, ensure_ascii=False).encode())


def _print_table(decisions: Iterable[Decision], *, is_first: bool = True) -> None:
    table = Table(box=None, pad_edge=False, show_header=is_first, header_style="bold")
    for name, width in (("time", 12), ("route", 22), ("conf.", 5), ("reason", 14), ("source", 10), ("ms", 7)):
        table.add_column(name, min_width=width, max_width=width, overflow="fold")
    table.add_column("model", overflow="fold")
    for decision in decisions:
        table.add_row(*map(escape, _cells(decision)))
    Console().print(table)


def _cells(decision: Decision) -> tuple[str, ...]:
    confidence = decision.get("confidence")
    served = decision.get("served_by") or decision.get("model") or "-"
    end = fault_of(decision) or decision.get("end", "complete")
    return (
        datetime.fromisoformat(decision["at"]).astimezone().strftime("%H:%M:%S.%f")[:12],
        str(decision.get("route") or "-"),
        "-" if confidence is None else f"{confidence:.2f}",
        str(decision.get("reason")),
        str(decision.get("source")),
        f"{decision.get('latency_ms', 0):.1f}",
        served if end == "complete" else f"{served} ({end})",
    )
