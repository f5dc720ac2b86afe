"""What guardrails add to a call and to its answer: microseconds for each 1,024 characters of text."""

import json
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Final

import anyio

from benchmarks.middleware_cost.cases import Effort
from benchmarks.middleware_cost.figures import Figures, interval, quietly
from plano_asgi.assembly.guarding import build_guard
from plano_asgi.conversation import ApiFormat
from plano_asgi.guard import Guard, GuardedCall
from plano_asgi.guard.answer_texts import AnswerStream, AnswerTexts
from plano_asgi.guard.text_steps import Restoring
from plano_asgi.settings import load_settings
from plano_asgi.wire import read_call, read_document

KIB: Final = 1_024
CALL_KIB: Final = 4
PII_US: Final = 100.0
EVENT_US: Final = 50.0
PROSE: Final = (
    "The printer in the back office prints every second label twice since the update of last week. Please look at the "
    "log of the spooler, tell me what changed between version 4.2 and 4.3, and write a short note for the team: what "
    "happened, what we did, and whom to ask. The order came in at 10:42 and had 3 parcels of 1.5 kg each. "
)
PERSONAL: Final = "Answers go to anna@example.org or +49 30 1234567. "
WORDS: Final = "I wrote to [EMAIL_1] and called [PHONE_1] as you asked, then the label printer worked again. "
RULES: Final[dict[str, tuple[dict[str, object], float]]] = {
    "pii, mask": ({"filter": "pii"}, PII_US),
    "pii, report": ({"filter": "pii", "action": "report"}, PII_US),
    "injection": ({"filter": "injection"}, 200.0),
    "patterns, 2": ({"filter": "patterns", "deny": [r"project \w{1,20} is confidential", "top secret"]}, PII_US),
    "size": ({"filter": "size", "characters": 1_000_000}, PII_US),
}


def guardrails_cost(effort: Effort) -> Sequence[Figures]:
    """Return what each guardrail adds to a call of 4,096 characters, and what putting values back adds to a stream."""
    rows = [anyio.run(_of_call, name, rule, limit_us, effort) for name, (rule, limit_us) in RULES.items()]
    return [*rows, anyio.run(_of_answer, effort)]


async def _of_call(name: str, rule: dict[str, object], limit_us: float, effort: Effort) -> Figures:
    guard, call = _guard(rule), _call()

    async def admit() -> None:
        await guard.admit(call.call, call.document, request_id="benchmark")

    took = await _timed(admit, effort)
    return {
        "guardrail": name,
        "of": "call",
        "added_us": interval([one / CALL_KIB for one in took]),
        "quiet_us": quietly([one / CALL_KIB for one in took]),
        "limit_us": limit_us,
    }


async def _of_answer(effort: Effort) -> Figures:
    guarded = await _guard({"filter": "pii"}).admit(_call().call, _call().document, request_id="benchmark")
    text = WORDS * (KIB // len(WORDS) + 1)
    deltas = [text[at : at + 4] for at in range(0, KIB, 4)]
    events = [
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": one}}]}).encode() + b"\n\n"
        for one in deltas
    ]

    async def restore() -> None:
        watches = [Restoring(placeholders) for placeholders in guarded.placeholders]
        stream = AnswerStream(ApiFormat.CHAT_COMPLETIONS, AnswerTexts(watches))
        for event in events:
            stream.feed(event)
        stream.end()

    took = await _timed(restore, effort)
    return {
        "guardrail": "pii, put back",
        "of": f"streamed answer, {len(events)} events",
        "added_us": interval(took),
        "quiet_us": quietly(took),
        "limit_us": EVENT_US * len(events),
    }


def _guard(rule: dict[str, object]) -> Guard:
    told = {"model_providers": [{"model": "a/b", "default": True}], "guardrails": {"calls": [rule]}}
    guard = build_guard(load_settings(environ={}, overrides=told))
    if guard is None:
        raise RuntimeError("these settings have guardrails")
    return guard


def _call() -> GuardedCall:
    """Return a call of 4,096 characters, with something personal in every second thousand."""
    half = (PROSE * 8)[: 2 * KIB - len(PERSONAL)] + PERSONAL
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": half} for _ in range(CALL_KIB // 2)]})
    document = read_document(body.encode())
    return GuardedCall(call=read_call(document, ApiFormat.CHAT_COMPLETIONS), document=document)


async def _timed(step: Callable[[], Awaitable[None]], effort: Effort) -> Sequence[float]:
    """Return the microseconds of each time; the first tenth, which warms up, is left out."""
    took = []
    for _ in range(effort.pairs):
        started = perf_counter()
        await step()
        took.append((perf_counter() - started) * 1e6)
    return took[len(took) // 10 :]
