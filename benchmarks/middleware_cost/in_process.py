"""ASGI calls with no server between."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from statistics import median
from time import perf_counter
from typing import Final

import uvloop
from rich.console import Console
from rich.progress import track
from starlette.types import ASGIApp, Message, Scope

from benchmarks.middleware_cost.cases import CASES, Case, Effort
from benchmarks.middleware_cost.figures import Figures, interval
from benchmarks.middleware_cost.hosts import TimedClassifier, bare_app, body_of, head_of, wrapped
from benchmarks.middleware_cost.logs import logging_as
from plano_asgi import RoutingPolicy, RoutingPreference
from plano_asgi.conversation import ApiFormat
from plano_asgi.wire import read_call, read_document

SLOWER: Final = 16  # as many times fewer pairs of what runs a model
POLICY: Final = RoutingPolicy(
    preferences=tuple(
        RoutingPreference(name=name, description=f"calls for {name}", models=("a/b",)) for name in ("code", "thought")
    )
)
NUMBERS: Final = count(1)


@dataclass(slots=True)
class Timed:
    """Seconds of one request.

    Attributes:
        bare: To the bare app.
        wrapped: To the wrapped one, the classifier's included.
        classify: Of the classifier within that.
        hand_over: What a thread costs on top of the classification that is handed to it.
    """

    bare: float = 0.0
    wrapped: float = 0.0
    classify: float = 0.0
    hand_over: float = 0.0


def in_process(effort: Effort) -> Sequence[Figures]:
    """Return the microseconds of every case."""
    timed: dict[Case, list[Timed]] = {case: [] for case in CASES}
    with ExitStack() as stack:
        subjects = [(case, *stack.enter_context(wrapped(case))) for case in CASES]
        for _ in track(range(effort.rounds), "in process", console=Console(stderr=True)):
            for case, app, classifier in subjects:
                pairs = effort.pairs // (SLOWER if case.is_embedded else 1)
                with logging_as(case.logs):
                    timed[case] += uvloop.run(time_pairs(case, app, classifier, pairs))
    return [figures_of(case, timed[case]) for case in CASES]


def figures_of(case: Case, timed: Sequence[Timed]) -> Figures:
    """Return medians in microseconds, and what was added with its interval."""
    parts = {f"{part}_us": round(median(getattr(one, part) for one in timed) * 1e6, 1) for part in Timed.__slots__}
    added = interval([(one.wrapped - one.classify - one.bare) * 1e6 for one in timed])
    return {"case": case.name, "logs": case.logs, **parts, "added_us": added, "limit_us": case.limit_us}


async def time_pairs(case: Case, app: ASGIApp, classifier: TimedClassifier, pairs: int) -> Sequence[Timed]:
    """Return the times of each pair; the first tenth, which warms up, is left out."""
    if not case.is_new:
        await time_call(app, case, body_of(0))
    timed = []
    for pair in range(pairs):
        body = body_of(next(NUMBERS) if case.is_new else 0)
        one = Timed()
        for is_wrapped in (False, True) if pair % 2 else (True, False):
            if is_wrapped:
                classifier.took_s = 0.0
                one.wrapped = await time_call(app, case, body)
                one.classify = classifier.took_s
            else:
                one.bare = await time_call(bare_app, case, body)
        if case.is_new:
            one.hand_over = await time_hand_over(classifier, body)
        timed.append(one)
    return timed[pairs // 10 :]


async def time_hand_over(classifier: TimedClassifier, body: bytes) -> float:
    """Return the seconds that a thread costs on top of the classification that is handed to it."""
    conversation = read_call(read_document(body), ApiFormat.CHAT_COMPLETIONS).conversation
    loop = asyncio.get_running_loop()
    started = perf_counter()
    await loop.run_in_executor(None, classifier.classify, conversation, POLICY)
    return perf_counter() - started - classifier.took_s


async def time_call(app: ASGIApp, case: Case, body: bytes) -> float:
    """Return the seconds of one call to an app, with no server between."""
    await asyncio.sleep(0)  # a server's loop gets a turn between calls

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        del message

    scope = scope_of(case.method, case.path, body)
    started = perf_counter()
    await app(scope, receive, send)
    return perf_counter() - started


def scope_of(method: str, path: str, body: bytes) -> Scope:
    """Return the scope of a request with a body, as a server makes it."""
    headers = [(name.encode(), value.encode()) for name, value in head_of(body).items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8_000),
        "state": {},
    }
