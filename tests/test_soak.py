"""Tens of thousands of mixed requests at once: each that stays is answered, and nothing of them is left."""

import asyncio
import gc
import gzip
import json
import logging
import math
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import psutil
import pytest
from starlette.types import Message, Receive, Scope, Send

from plano_asgi import PlanoMiddleware
from plano_asgi.assembly import build_router
from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.conversation import Conversation
from plano_asgi.decisions import Scores
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.router import Router
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

REQUESTS: Final = 30_000
WARM_UP_REQUESTS: Final = 6_000
AT_ONCE: Final = 48
BOUND_BYTES: Final = 256
CACHE_SIZE: Final = 300
CONFIG: Final = f"""\
model_providers:
  - {{model: openai/gpt-4o-mini, default: true}}
  - {{model: openai/gpt-4o}}
  - {{model: anthropic/claude-sonnet-4-20250514}}
routing_preferences:
  - {{name: code, description: writing code, models: [openai/gpt-4o, anthropic/claude-sonnet-4-20250514]}}
classifier: {{deadline_ms: 25, queue: 24, threads: 2}}
cache: {{size: {CACHE_SIZE}}}
limits: {{body_bytes: 8000}}
"""
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
MODELS: Final = {
    CHAT: {"gpt-4o", "gpt-4o-mini"},
    RESPONSES: {"gpt-4o", "gpt-4o-mini"},
    MESSAGES: {"claude-sonnet-4-20250514", "auto"},
}
FAULTS: Final = ("raises", "panics", "NaN", "other routes", "beyond one", "hangs")
HANG_S: Final = 0.04
JSON_TYPE: Final = (b"content-type", b"application/json")
GZIP: Final = (b"content-encoding", b"gzip")


class FaultyClassifier(FixedClassifier):
    """A classifier that fails in the way that a conversation names, and keeps nothing of it."""

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return scores, raise, or take too long."""
        del is_awaited
        chance, names = 0.9, [preference.name for preference in policy.preferences]
        match conversation[-1].text.partition(":")[0]:
            case "unlike":
                chance = 0.1
            case "raises":
                raise OSError("no such device")
            case "panics":
                raise Panic
            case "NaN":
                chance = math.nan
            case "beyond one":
                chance = 1.5
            case "other routes":
                names = ["unheard of"]
            case "hangs":
                time.sleep(HANG_S)
        return Scores(routes=dict.fromkeys(names, chance / len(names)), other=0.1)


class Panic(BaseException):
    """What a Rust library raises when it panics is no `Exception` either."""


class Refused(Exception):  # noqa: N818 - a server's word for a client that is gone
    """What a server's `send` may raise when the client is gone."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, and what may become of it.

    Attributes:
        path: Where it goes.
        body: What is sent.
        statuses: The statuses that it may be answered with; the app answers 200.
        is_routed: Whether the app reads another model than the client wrote; else it reads what was sent.
        headers: Headers beside the content type.
        method: GET or POST.
    """

    path: str
    body: bytes
    statuses: frozenset[int] = frozenset({200})
    is_routed: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()
    method: str = "POST"


class Requests:
    """An endless mixture of requests, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        """Seed it."""
        self.random = random.Random(seed)  # noqa: S311 - a mixture, no secret
        self._kinds: Mapping[Callable[[], Request], int] = {
            self.call: 46,
            self.decision: 14,
            self.own_policy: 8,
            self.refused_policy: 5,
            self.no_call: 9,
            self.unreadable: 12,
            self.faulty: 6,
        }

    def __iter__(self) -> Iterator[Request]:
        """Yield requests without end."""
        while True:
            (make,) = self.random.choices([*self._kinds], [*self._kinds.values()])
            yield make()

    def document(self, path: str, text: str) -> dict[str, Any]:
        """Return a good body."""
        turns = [{"role": "user", "content": text}]
        earlier = self.random.randrange(4)
        turns = [
            {"role": ("user", "assistant")[turn % 2], "content": f"turn {turn}"} for turn in range(earlier)
        ] + turns
        fields: dict[str, dict[str, Any]] = {
            RESPONSES: {"input": turns},
            MESSAGES: {"max_tokens": 9, "messages": turns},
        }
        return {"model": "auto", **fields.get(path, {"messages": turns})}

    def path(self) -> str:
        """Return the path of one of the APIs."""
        return self.random.choice((CHAT, MESSAGES, RESPONSES))

    def text(self) -> str:
        """Return what was said often before, or never."""
        number = self.random.randrange(40 if self.random.random() < 0.5 else 10**9)
        return f"unlike: {number}" if number % 5 == 0 else f"write part {number}"

    def call(self) -> Request:
        """Return a call, now and then compressed."""
        path = self.path()
        body = json.dumps(self.document(path, self.text())).encode()
        if self.random.random() < 0.05:
            return Request(path=path, body=gzip.compress(body), headers=(GZIP,), is_routed=True, statuses=SERVED)
        return Request(path=path, body=body, is_routed=True, statuses=SERVED)

    def decision(self) -> Request:
        """Return a call to a decision endpoint."""
        path = self.path()
        body = json.dumps(self.document(path, self.text())).encode()
        return Request(path=f"/routing{path}", body=body, statuses=SERVED)

    def own_policy(self) -> Request:
        """Return a call with a policy of its own."""
        path, number = self.path(), self.random.randrange(1_000)
        models = ["openai/gpt-4o", "anthropic/claude-sonnet-4-20250514"]
        policy = [{"name": f"route {number}", "description": "letters of all kinds", "models": models}]
        body = json.dumps({**self.document(path, self.text()), "routing_preferences": policy}).encode()
        return Request(path=path, body=body, is_routed=True, statuses=SERVED)

    def refused_policy(self) -> Request:
        """Return a call whose policy is malformed, undeclared or ambiguous."""
        path = self.path()
        document = self.document(path, self.text())
        undeclared = [{"name": "x", "description": "all", "models": ["openai/gpt-9"]}]
        bodies = {
            json.dumps({**document, "routing_policy": {}}): 400,
            json.dumps({**document, "routing_preferences": undeclared}): 403,
            json.dumps(document)[:-1] + ', "model": "again"}': 400,
        }
        body, status = self.random.choice([*bodies.items()])
        endpoint = self.random.choice(("", "/routing"))
        return Request(path=endpoint + path, body=body.encode(), statuses=frozenset({status}))

    def no_call(self) -> Request:
        """Return a request that is none of ours."""
        path = self.random.choice(("/", "/v1/messages/count_tokens", "/v1/files", f"{CHAT}/"))
        body = self.random.randbytes(self.random.randrange(3_000))
        return Request(path=path, body=body, method=self.random.choice(("GET", "POST")))

    def unreadable(self) -> Request:
        """Return a body that cannot be read: passed on, or refused by the decision endpoint."""
        path = self.path()
        good = json.dumps(self.document(path, self.text())).encode()
        body = self.random.choice(
            (b"", good[:-1], b"[1]", b'{"model": 5}', b"[" * 5_000, good + b" " * 9_000, self.random.randbytes(200))
        )
        headers = () if self.random.random() < 0.7 else (GZIP,)
        if self.random.random() < 0.3:
            return Request(path=f"/routing{path}", body=body, headers=headers, statuses=frozenset({400, 413}))
        return Request(path=path, body=body, headers=headers)

    def faulty(self) -> Request:
        """Return a call that the classifier has no answer for."""
        path, fault = self.path(), self.random.choice(FAULTS)
        body = json.dumps(self.document(path, f"{fault}: {self.random.randrange(10**9)}")).encode()
        is_app = self.random.random() < 0.7
        return Request(path=path if is_app else f"/routing{path}", body=body, is_routed=is_app, statuses=SERVED)


KINDS_OF_ANSWER: Final = {"unanswered", "200", "400", "403", "413", "503", "529"} | {
    *("matched", "no_match", "error"),
    *("classifier", "cache", "none"),
}
SERVED: Final = frozenset({200, 503, 529})  # the last two under `on_error: reject` only


async def echoing_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body that was read, in pieces; give up when the client does."""
    del scope
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for start in range(0, len(body), 4_000):
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": body[start : start + 4_000], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Client:
    """One client: it sends its request in pieces and stays to the end, or goes away somewhere."""

    def __init__(self, request: Request, luck: random.Random) -> None:
        """Draw how the body is cut, and whether and when the client goes away."""
        self._request = request
        size = luck.choice((1_000_000, 2_000, 300))
        pieces = [request.body[at : at + size] for at in range(0, len(request.body), size)] or [b""]
        self._left: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
            for number, piece in enumerate(pieces, 1)
        ]
        way = luck.choices(("stays", "disconnects", "is cancelled", "breaks"), (91, 3, 4, 2))[0]
        self.stays = way == "stays"
        self._messages_heard = luck.randrange(len(pieces) + 1) if way == "disconnects" else None
        self._turns_left = luck.randrange(12) if way == "is cancelled" else None
        self._answers_taken = luck.randrange(3) if way == "breaks" else None
        self.status = 0
        self.answer = bytearray()
        self.is_answered = False

    async def call(self, app: PlanoMiddleware) -> None:
        """Make the request."""
        request = self._request
        headers = [JSON_TYPE, (b"content-length", str(len(request.body)).encode()), *request.headers]
        scope = {"type": "http", "method": request.method, "path": request.path, "root_path": "", "headers": headers}
        if self._turns_left is None:
            with suppress(Refused):
                await app(scope, self._receive, self._send)
            return
        task = asyncio.create_task(app(scope, self._receive, self._send))
        for _ in range(self._turns_left):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _receive(self) -> Message:
        """Give what comes next: a piece of the body, or the disconnect."""
        await asyncio.sleep(0)
        if self._messages_heard is not None:
            self._messages_heard -= 1
        if not self._left or self._messages_heard == -1:
            self._left.clear()
            return {"type": "http.disconnect"}
        return self._left.pop(0)

    async def _send(self, message: Message) -> None:
        """Take a piece of the answer, or be gone."""
        await asyncio.sleep(0)
        if self._answers_taken is not None:
            self._answers_taken -= 1
            if self._answers_taken < 0:
                raise Refused
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.answer += message["body"]
            self.is_answered = not message.get("more_body", False)

    def check(self) -> None:
        """Check that a client that stayed was answered, and rightly."""
        if not self.stays:
            return
        request = self._request
        assert self.is_answered, request
        assert self.status in request.statuses, (request, self.status, self.answer)
        if self.status != 200:
            assert json.loads(self.answer)["error"]["message"], request
        elif request.path.startswith("/routing"):
            assert json.loads(self.answer)["would_use"], request
        elif request.is_routed:
            sent = json.loads(gzip.decompress(request.body) if GZIP in request.headers else request.body)
            read = json.loads(self.answer)
            assert read.pop("model") in MODELS[request.path], request
            assert read == {key: sent[key] for key in sent if key not in {"model", "routing_preferences"}}, request
        else:
            assert self.answer == request.body, request

    def kinds_of_answer(self) -> Iterator[str]:
        """Yield the status, and what a decision endpoint says of its decision."""
        yield f"{self.status}" if self.is_answered else "unanswered"
        if self.is_answered and self.status == 200 and self._request.path.startswith("/routing"):
            decision = json.loads(self.answer)
            yield from (decision["reason"], decision["source"])


Door = tuple[PlanoMiddleware, Router]


@pytest.fixture
def doors(settings_of: Callable[[str], Settings]) -> Iterator[list[Door]]:
    """Return two hosts, one that serves what it cannot decide and one that rejects it, and their routers."""
    doors: list[Door] = []
    for more in ("", "routing: {on_error: reject}\n"):
        settings = settings_of(CONFIG + more)
        router = build_router(settings, classifier=FaultyClassifier({}))
        doors.append((PlanoMiddleware(echoing_app, settings=settings, router=router), router))
    yield doors
    for _, router in doors:
        router.close()


async def soak(doors: list[Door], mixture: Requests, count: int) -> Counter[str]:
    """Send requests, many at once, check each, and return how often there was which kind of answer."""
    requests, answers = zip(range(count), mixture, strict=False), Counter[str]()

    async def send_on() -> None:
        """Send one request after another, as long as there are any."""
        for _, request in requests:
            client = Client(request, mixture.random)
            await client.call(mixture.random.choice(doors)[0])
            client.check()
            answers.update(client.kinds_of_answer())

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(send_on())
    return answers


def resident_bytes() -> int:
    """Return the resident memory of this process after a collection."""
    gc.collect()
    resident: int = psutil.Process().memory_info().rss
    return resident


def test_everybody_who_stays_is_answered_and_nothing_is_left(
    doors: list[Door], caplog: pytest.LogCaptureFixture
) -> None:
    """Calls, other requests, bad bodies, faults and clients that leave, all mixed: all who stay are answered rightly.

    Nothing is left of them: no task, no thread, no memory to speak of, and caches within their bounds.
    """
    seed = int(os.environ.get("SOAK_SEED") or random.randrange(2**32))  # noqa: S311 - a mixture, no secret
    caplog.set_level(logging.CRITICAL, "plano_asgi")  # or what is logged would be kept by pytest
    print(f"SOAK_SEED={seed}")  # noqa: T201 - shown when it fails, to run it again
    before = set(threading.enumerate())

    async def main() -> tuple[Counter[str], float]:
        """Warm up and soak; return the kinds of answers, and the growth in bytes a request."""
        mixture = Requests(seed)
        await soak(doors, mixture, WARM_UP_REQUESTS)
        resident = resident_bytes()
        answers = await soak(doors, mixture, REQUESTS - WARM_UP_REQUESTS)
        growth = (resident_bytes() - resident) / (REQUESTS - WARM_UP_REQUESTS)
        await asyncio.sleep(2 * HANG_S)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return answers, growth

    answers, growth = asyncio.run(main())

    for _, router in doors:
        assert len(router._deciding.cache) <= CACHE_SIZE  # type: ignore[arg-type]  # noqa: SLF001 - no public way to see it
        router.close()
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(5)
    assert not any(thread.is_alive() for thread in left)
    assert [router._classifications._in_flight for _, router in doors] == [{}, {}]  # noqa: SLF001 - nor to see this
    assert answers.keys() == KINDS_OF_ANSWER
    assert answers["unanswered"] < 0.1 * REQUESTS
    assert growth < BOUND_BYTES
