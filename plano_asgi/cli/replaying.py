"""`plano-asgi replay`: logged conversations decided again, under another configuration."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plano_asgi.assembly import build_router
from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.decisions import PolicySource, Reason
from plano_asgi.errors import CasesError, Fault, RoutingUnavailableError
from plano_asgi.observe.journal import read_conversation
from plano_asgi.router import Router
from plano_asgi.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One call that would go elsewhere; what was decided then, and what would be now."""

    request_id: str | None
    at: str
    route_was: str | None
    route_is: str | None
    model_was: str | None
    model_is: str | None
    reason_is: str
    confidence_is: float | None


@dataclass(slots=True)
class Replay:
    """What came of deciding again.

    Attributes:
        replayed: Calls that were decided again.
        without_conversation: Calls whose conversation the log has not kept.
        with_own_policy: Calls that brought a policy along, which the log does not keep.
        changes: Those of the first that would go elsewhere.
    """

    replayed: int = 0
    without_conversation: int = 0
    with_own_policy: int = 0
    changes: list[Change] = field(default_factory=list)


def print_replay(settings: Settings, lines: Iterable[bytes], *, name: str, as_json: bool) -> bool:
    """Print what would change; return whether anything could be decided again.

    Args:
        settings: The other configuration.
        lines: Decisions as `plano-asgi decisions --json` prints them.
        name: Of the file they come from.
        as_json: Whether to print JSON.

    Raises:
        CasesError: A line is no decision.
    """
    logged = list(_read(lines, name))
    router = build_router(settings)
    router.start()
    try:
        replay = _replayed(router, logged)
    finally:
        router.close()
    if as_json:
        sys.stdout.write(json.dumps(asdict(replay), ensure_ascii=False) + "\n")
    else:
        _show(replay)
    return replay.replayed > 0


def _read(lines: Iterable[bytes], name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if not isinstance(told, dict) or "reason" not in told or "at" not in told:
            what = "is no decision; give what plano-asgi decisions --json prints"
            raise CasesError([Fault(where="", what=what, origin=f"{name}:{number}")])
        yield told


def _replayed(router: Router, logged: Iterable[dict[str, Any]]) -> Replay:
    replay = Replay()
    for told in logged:
        conversation = read_conversation(told.get("conversation"))
        if told.get("policy") == PolicySource.INLINE:
            replay.with_own_policy += 1
        elif conversation is None:
            replay.without_conversation += 1
        else:
            model = told.get("requested_model")
            api = told.get("api")
            api_format = ApiFormat(api) if api in set(ApiFormat) else ApiFormat.CHAT_COMPLETIONS
            call = LLMCall(api_format=api_format, conversation=conversation, model=model)
            replay.replayed += 1
            replay.changes += _change(router, call, told)
    return replay


def _change(router: Router, call: LLMCall, told: dict[str, Any]) -> list[Change]:
    """Return what changes for one call, in a list of one; an empty one where nothing does."""
    is_translated = told.get("reason") != Reason.FORMAT
    try:
        decision = router.route(call, bypass=told.get("reason") == Reason.BYPASSED, is_translated=is_translated)
    except RoutingUnavailableError:
        route, model, reason, confidence = None, None, Reason.ERROR.value, None
    else:
        route, model, reason = decision.route, decision.would_use, decision.reason.value
        confidence = None if decision.confidence is None else round(decision.confidence, 4)
    if (route, model) == (told.get("route"), told.get("model")):
        return []
    return [
        Change(
            request_id=told.get("request_id"),
            at=told["at"],
            route_was=told.get("route"),
            route_is=route,
            model_was=told.get("model"),
            model_is=model,
            reason_is=reason,
            confidence_is=confidence,
        )
    ]


def _show(replay: Replay) -> None:
    console = Console()
    if replay.changes:
        table = Table("at", "request", "route", "model", "now", "confidence")
        for change in replay.changes:
            table.add_row(
                *map(
                    escape,
                    (
                        change.at,
                        change.request_id or "-",
                        f"{change.route_was or '-'} -> {change.route_is or '-'}",
                        f"{change.model_was or '-'} -> {change.model_is or '-'}",
                        change.reason_is,
                        "-" if change.confidence_is is None else f"{change.confidence_is:.2f}",
                    ),
                )
            )
        console.print(table)
    console.print(f"{replay.replayed} decided again, {len(replay.changes)} would go elsewhere")
    if replay.without_conversation:
        advice = "set decision_log.content: conversation to keep them"
        console.print(f"{replay.without_conversation} left out: the log has no conversation of theirs; {advice}")
    if replay.with_own_policy:
        console.print(f"{replay.with_own_policy} left out: they brought a policy of their own")
