"""`plano-asgi route`: one decision, as JSON or as a table that says why."""

from collections.abc import Iterable
from typing import Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plano_asgi.assembly import build_router
from plano_asgi.classify.readings import Reading
from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import Reason, RoutingDecision
from plano_asgi.intake.inbound_calls import decision_on_text
from plano_asgi.preferences import NO_ROUTE_NAME
from plano_asgi.router import Router
from plano_asgi.settings import Settings

BAR_WIDTH: Final = 12


def print_decision(settings: Settings, text: str, *, explain: bool) -> None:
    """Print the decision on a message, as the decision endpoints give it or, with `explain`, for people."""
    router = build_router(settings)
    router.start()
    if explain:
        call = LLMCall.from_text(text)
        _explain(router.route(call), router)
        _tell_tokens(router.readings(call))
    else:
        typer.echo(decision_on_text(router, text))  # bytes: UTF-8 whatever the locale
    router.close()


def _explain(decision: RoutingDecision, router: Router) -> None:
    console = Console()
    if decision.scores is not None:
        table = Table()
        for column in ("route", "probability", "", "goes to"):
            table.add_column(column, overflow="fold")
        for preference in router.policy.preferences:
            chance = decision.scores.routes[preference.name]
            style = "bold green" if preference.name == decision.route else ""
            cells = (preference.name, f"{chance:.3f}", _bar(chance), ", ".join(preference.models))
            table.add_row(*map(escape, cells), style=style)
        other = decision.scores.other
        table.add_row(f"{NO_ROUTE_NAME} (none of these)", f"{other:.3f}", _bar(other), "", style="dim")
        console.print(table)
    console.print(f"{_why(decision)}\nwould use: [bold]{escape(decision.would_use or 'none')}[/bold]")
    console.print(f"[dim]{_who(decision, router)}, {decision.latency_ms:.1f} ms[/dim]")


def _tell_tokens(readings: Iterable[Reading]) -> None:
    for reading in readings:
        about = "about " if reading.is_estimate else ""
        parts = ", ".join(f"{part.name} {part.tokens}" for part in reading.parts)
        told = f"{reading.classifier} reads {about}{reading.tokens} of at most {reading.limit:,} tokens: {parts}"
        Console().print(f"[dim]{told}[/dim]")


def _who(decision: RoutingDecision, router: Router) -> str:
    kind = decision.decided_by(router.classifier.kind)
    answered = f"{kind}: {decision.stage}" if decision.stage else kind
    return f"{answered} was not sure, and {decision.failed_stage} had no answer" if decision.failed_stage else answered


def _why(decision: RoutingDecision) -> str:
    if decision.confidence is not None and decision.threshold is not None:
        told = f"{decision.confidence:.2f}"
        threshold = f"the threshold of {decision.threshold:.2f}"
        if decision.reason is Reason.MATCHED:
            return f"{escape(str(decision.route))}: {told} reaches {threshold}"
        return f"no match: the best route has {told}, below {threshold}"
    return {
        Reason.NO_MATCH: "no match: there is nothing to classify, or no route to choose",
        Reason.ERROR: "the classifier failed; see its log line, or run plano-asgi doctor",
    }.get(decision.reason, decision.reason.value)


def _bar(chance: float) -> str:
    return "█" * round(chance * BAR_WIDTH)
