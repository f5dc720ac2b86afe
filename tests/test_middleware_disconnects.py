"""Clients that go away before, in and after the classification: what the app sees, and that nothing is left of them."""

import asyncio
import gc
import json
import threading
import tracemalloc
import weakref
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Final

import anyio
import anyio.lowlevel
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

from plano_asgi import PlanoMiddleware
from plano_asgi.assembly import build_router
from plano_asgi.router import Router
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing code}]
classifier: {deadline_ms: 20000, threads: 1}
"""
PATH: Final = "/v1/chat/completions"
DECISION_PATH: Final = f"/routing{PATH}"
LARGE_BYTES: Final = 2_000_000
KEPT_BYTES: Final = LARGE_BYTES // 10
GONE: Final[Message] = {"type": "http.disconnect"}

every_backend = pytest.mark.parametrize("backend", ["asyncio", "trio"])
every_path = pytest.mark.parametrize("path", [PATH, DECISION_PATH], ids=["app", "decision endpoint"])


def body_of(text: str) -> bytes:
    """Return the body of a call."""
    return json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}]}).encode()


class HeldClassifier(FixedClassifier):
    """A classifier that answers when it may, counts, and keeps nothing of what it was given.

    Attributes:
        has_begun: Set while or after a classification runs.
        may_answer: Classifications wait for this.
        asked: How many classifications there were.
    """

    def __init__(self) -> None:
        """Hold nobody up yet."""
        super().__init__({"code": 0.9}, before=self._hold_up)
        self.has_begun, self.may_answer = Event(), Event()
        self.may_answer.set()
        self.asked = 0

    async def begin(self) -> None:
        """Wait until a classification runs."""
        while not self.has_begun.is_set():
            await anyio.lowlevel.checkpoint()

    def _hold_up(self) -> None:
        """Count, and wait until it may answer."""
        self.calls.clear()
        self.asked += 1
        self.has_begun.set()
        self.may_answer.wait(10)


class WeakScope(dict[str, Any]):
    """A scope that can be referred to weakly."""


class Client:
    """A client's side of one request; it sends its messages and is there until it goes away.

    Attributes:
        answer: What it was answered.
        is_answered: Set with the answer's first message.
    """

    def __init__(self, *messages: Message, path: str = PATH) -> None:
        """Say what is sent."""
        self._messages = list(messages)
        self._has_left = anyio.Event()
        headers = [(b"content-type", b"application/json")]
        self.scope = WeakScope(type="http", method="POST", path=path, headers=headers)
        self.answer: list[Message] = []
        self.is_answered = anyio.Event()

    @classmethod
    def of(cls, body: bytes, path: str = PATH) -> "Client":
        """Return a client that sends a body."""
        return cls({"type": "http.request", "body": body, "more_body": False}, path=path)

    def leave(self) -> None:
        """Go away."""
        self._has_left.set()

    async def receive(self) -> Message:
        """Give what is left to send, then the disconnect when it happens."""
        await anyio.lowlevel.checkpoint()
        if self._messages:
            return self._messages.pop(0)
        await self._has_left.wait()
        return GONE

    async def send(self, message: Message) -> None:
        """Take a piece of the answer."""
        await anyio.lowlevel.checkpoint()
        self.answer.append(message)
        self.is_answered.set()

    async def call(self, app: ASGIApp) -> None:
        """Make the request."""
        await app(self.scope, self.receive, self.send)


@dataclass(slots=True)
class HearingApp:
    """An app that notes the types and bodies it hears up to the disconnect, and answers nothing."""

    heard: list[tuple[str, bytes]] = field(default_factory=list)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        while not self.heard or self.heard[-1][0] != "http.disconnect":
            message = await receive()
            self.heard.append((message["type"], message.get("body", b"")))


@pytest.fixture
def classifier() -> HeldClassifier:
    """Return a classifier that can be held up."""
    return HeldClassifier()


@pytest.fixture
def router(settings_of: Callable[[str], Settings], classifier: HeldClassifier) -> Iterator[Router]:
    """Return a router with it, to be closed."""
    router = build_router(settings_of(CONFIG), classifier=classifier)
    yield router
    classifier.may_answer.set()
    router.close()


@pytest.fixture
def wrap(router: Router, settings_of: Callable[[str], Settings]) -> Callable[[ASGIApp], PlanoMiddleware]:
    """Return what puts an app behind the middleware with that router."""
    return lambda app: PlanoMiddleware(app, settings=settings_of(CONFIG), router=router)


Wrap = Callable[[ASGIApp], PlanoMiddleware]


def hear(app: ASGIApp, listener: HearingApp, *messages: Message) -> list[tuple[str, bytes]]:
    """Return what a listener hears of a client that sends messages and is gone."""

    async def main() -> None:
        """Make the request."""
        client = Client(*messages)
        client.leave()
        await client.call(app)

    listener.heard.clear()
    anyio.run(main)
    return [*listener.heard]


@pytest.mark.parametrize("place", [0, 1, 20, 50], ids=lambda place: f"after {place} bytes")
def test_disconnect_within_the_body_is_heard_as_without_the_middleware(place: int, wrap: Wrap) -> None:
    """A client that leaves in its body is heard to, after the bytes it sent; nothing is classified or logged."""
    listener = HearingApp()
    sent: list[Message] = [{"type": "http.request", "body": body_of("hi")[:place], "more_body": True}]

    with capture_logs() as events:
        bare, wrapped = (hear(app, listener, *sent[: place or 0]) for app in (listener, wrap(listener)))

    assert wrapped == bare
    assert events == []


def test_disconnect_after_the_body_is_heard_after_the_rewritten_body(wrap: Wrap) -> None:
    """A client that leaves when all is sent is heard to when the app has read the body, as without the middleware."""
    listener = HearingApp()
    sent: Message = {"type": "http.request", "body": body_of("hi"), "more_body": False}

    bare, wrapped = hear(listener, listener, sent), hear(wrap(listener), listener, sent)

    assert bare == [("http.request", body_of("hi")), ("http.disconnect", b"")]
    assert wrapped == [("http.request", body_of("hi").replace(b"auto", b"gpt-4o")), ("http.disconnect", b"")]


def test_handler_is_told_of_a_client_that_left_in_its_body(wrap: Wrap) -> None:
    """Starlette's own `ClientDisconnect` is raised where the handler reads, and nothing but that."""
    raised: list[BaseException] = []

    async def handler(request: Request) -> Response:
        """Read the body."""
        try:
            await request.body()
        except ClientDisconnect as error:
            raised.append(error)
        return Response()

    app = wrap(Starlette(routes=[Route(PATH, handler, methods=["POST"])]))

    async def main() -> None:
        """Leave within the body."""
        client = Client({"type": "http.request", "body": b"{", "more_body": True})
        client.leave()
        await client.call(app)

    anyio.run(main)

    assert [error.__context__ for error in raised] == [None]


@every_backend
@every_path
@pytest.mark.parametrize("when", ["while it runs", "while it waits"])
def test_cancelled_call_takes_nothing_from_the_others(
    when: str, path: str, backend: str, wrap: Wrap, classifier: HeldClassifier
) -> None:
    """Of three alike calls two are cancelled while they are classified; the third has the answer, and so the cache."""
    reached = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Note that a call came through."""
        await receive()
        reached.append(scope["state"]["plano"].decision.source.value)
        await send({"type": "http.response.start", "status": 204, "headers": []})

    wrapped = wrap(app)
    clients: list[Client] = []

    async def main() -> None:
        """Cancel two of three, let the classifier answer, then ask again; another call may hold the only thread."""
        clients.extend(Client.of(body_of("the same"), path) for _ in range(4))
        classifier.may_answer.clear()
        async with anyio.create_task_group() as tasks:
            if when == "while it waits":
                tasks.start_soon(Client.of(body_of("another"), DECISION_PATH).call, wrapped)
                await classifier.begin()
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as leaving:
                    leaving.start_soon(clients[1].call, wrapped)
                    leaving.start_soon(clients[2].call, wrapped)
                    tasks.start_soon(clients[0].call, wrapped)
                    await classifier.begin()
                    await anyio.sleep(0.01)
                    scope.cancel()
            assert scope.cancelled_caught
            classifier.may_answer.set()
        await clients[3].call(wrapped)

    anyio.run(main, backend=backend)

    assert classifier.asked == (1 if when == "while it runs" else 2)
    assert [bool(client.answer) for client in clients] == [True, False, False, True]
    if path == DECISION_PATH:
        reached = [json.loads(clients[number].answer[1]["body"])["source"] for number in (0, 3)]
    assert reached == ["classifier", "cache"]


@every_path
def test_answer_nobody_waited_for_is_kept(path: str, wrap: Wrap, classifier: HeldClassifier) -> None:
    """A classification whose only caller is cancelled ends by itself, and the next alike call has its answer."""
    wrapped = wrap(HearingApp())

    async def main() -> Client:
        """Cancel the first caller, let the classifier answer, and ask again until the answer is from the cache."""
        classifier.may_answer.clear()
        task = asyncio.create_task(Client.of(body_of("mine"), path).call(wrapped))
        await classifier.begin()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        classifier.may_answer.set()
        again = Client.of(body_of("mine"), DECISION_PATH)
        await again.call(wrapped)
        return again

    again = asyncio.run(main())

    assert classifier.asked == 1
    assert json.loads(again.answer[1]["body"])["route"] == "code"


async def leave_in_the_body(client: Client, app: ASGIApp, classifier: HeldClassifier) -> None:
    """Leave in the body."""
    del classifier
    client._messages[0]["more_body"] = True  # noqa: SLF001 - its own
    client.leave()
    await client.call(app)


async def be_cancelled_in_the_body(client: Client, app: ASGIApp, classifier: HeldClassifier) -> None:
    """Send half and be cancelled."""
    del classifier
    client._messages[0]["more_body"] = True  # noqa: SLF001 - its own
    with anyio.move_on_after(0.01):
        await client.call(app)


async def be_cancelled_in_classification(client: Client, app: ASGIApp, classifier: HeldClassifier) -> None:
    """Be cancelled while it is classified."""
    classifier.may_answer.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call, app)
        await classifier.begin()
        tasks.cancel_scope.cancel()
    classifier.may_answer.set()


async def leave_in_the_answer(client: Client, app: ASGIApp, classifier: HeldClassifier) -> None:
    """Leave when the call is with the app."""
    del classifier
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call, app)
        await client.is_answered.wait()
        client.leave()


async def be_cancelled_in_the_answer(client: Client, app: ASGIApp, classifier: HeldClassifier) -> None:
    """Be cancelled when the call is with the app."""
    del classifier
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call, app)
        await client.is_answered.wait()
        tasks.cancel_scope.cancel()


async def streaming_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, begin an answer and go on until the client leaves."""
    del scope
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        if message["type"] == "http.disconnect":
            return
    del message
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while (await receive())["type"] != "http.disconnect":
        pass


LEAVING: Final = (
    leave_in_the_body,
    be_cancelled_in_the_body,
    be_cancelled_in_classification,
    leave_in_the_answer,
    be_cancelled_in_the_answer,
)


@every_backend
@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
def test_nothing_is_left_of_a_client_that_went_away(
    leave: Callable[[Client, ASGIApp, HeldClassifier], Awaitable[None]],
    backend: str,
    wrap: Wrap,
    classifier: HeldClassifier,
) -> None:
    """Whenever a client leaves, its scope, its connection and its megabytes of body are freed while others go on."""
    wrapped = wrap(streaming_app)
    left: list[weakref.ref[Any]] = []

    async def main() -> int:
        """Leave, and return how much memory is taken that was not before."""
        await Client.of(body_of("warm up"), DECISION_PATH).call(wrapped)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        client = Client.of(body_of("x" * LARGE_BYTES))
        left.extend([weakref.ref(client), weakref.ref(client.scope)])
        classifier.has_begun.clear()
        await leave(client, wrapped, classifier)
        del client
        await anyio.sleep(0.05)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    kept_bytes = anyio.run(main, backend=backend)
    tracemalloc.stop()

    assert [reference() for reference in left] == [None, None]
    assert kept_bytes < KEPT_BYTES


@pytest.mark.parametrize(
    "body", [body_of("x" * LARGE_BYTES), b"[" + b"1," * (LARGE_BYTES // 2) + b"1]"], ids=["routed", "passed on"]
)
def test_body_is_not_kept_while_the_app_answers(body: bytes, wrap: Wrap) -> None:
    """Once the app has read it, the middleware holds nothing of a body, however long the answer takes."""
    held: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, forget it, and see what is held."""
        del scope
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await anyio.sleep(0.05)  # so that the event loop and the thread that read a large body get their turns
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])

    wrapped = wrap(app)
    tracemalloc.start()
    for data in (body_of("warm up"), body):
        anyio.run(Client.of(data).call, wrapped)
    tracemalloc.stop()

    warm, large = held
    assert large - warm < KEPT_BYTES


def test_threads_end_with_the_router(wrap: Wrap, router: Router, classifier: HeldClassifier) -> None:
    """The only thread that routing leaves is the router's own, and it ends when the router is closed."""
    before = set(threading.enumerate())

    async def main() -> None:
        """Make a call and cancel another."""
        wrapped = wrap(streaming_app)
        await leave_in_the_answer(Client.of(body_of("one")), wrapped, classifier)
        await be_cancelled_in_classification(Client.of(body_of("two")), wrapped, classifier)

    anyio.run(main)
    left = set(threading.enumerate()) - before
    router.close()
    for thread in left:
        thread.join(5)

    assert len(left) == 1
    assert not any(thread.is_alive() for thread in left)


def test_what_the_app_raises_has_no_history_of_ours(wrap: Wrap) -> None:
    """An app's error over a body that could not be read is raised with no other error in it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Fail."""
        del scope, send
        await receive()
        raise LookupError

    with pytest.raises(LookupError) as caught:
        anyio.run(Client.of(b"{").call, wrap(app))

    assert caught.value.__context__ is None
