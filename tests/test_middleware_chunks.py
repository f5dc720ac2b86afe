"""Bodies as servers cut them: any chunks, lengths that lie, messages that nobody knows; the same call comes of it."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from plano_asgi import PlanoMiddleware
from plano_asgi.testing import FixedClassifier

CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
  - model: anthropic/claude-sonnet-4-20250514
routing_preferences:
  - {name: code, description: writing code, models: [openai/gpt-4o, anthropic/claude-sonnet-4-20250514]}
limits: {body_bytes: 400}
"""
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
TURNS: Final = [{"role": "user", "content": 'ein Parser – für 日本語 \U0001f680 "model": {}'}]
BODIES: Final[Mapping[str, bytes]] = {
    CHAT: json.dumps({"model": "auto", "messages": TURNS}, ensure_ascii=False).encode(),
    MESSAGES: json.dumps({"max_tokens": 5, "messages": TURNS, "model": "auto"}, ensure_ascii=False, indent=1).encode(),
    RESPONSES: json.dumps({"input": TURNS, "model": "auto"}).encode(),
}
MODELS: Final = {CHAT: b"gpt-4o", MESSAGES: b"claude-sonnet-4-20250514", RESPONSES: b"gpt-4o"}
ENCODERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}
NOT_READ: Final[Mapping[str, bytes]] = {
    "empty": b"",
    "not JSON": b'{"model": "auto", "messages',
    "odd shape": '{"model": "auto", "messages": "日本語"}'.encode(),
    "too large": BODIES[CHAT][:-1] + b', "pad": "' + b"x" * 400 + b'"}',
}
REFUSED: Final[Mapping[str, bytes]] = {
    "key twice": b'{"model": "a", "model": "b", "messages": []}',
    "policy": BODIES[CHAT][:-1] + b', "routing_policy": 1}',
}
LAST_WAYS: Final[Sequence[Message]] = (
    {"type": "http.request", "body": b"", "more_body": False},
    {"type": "http.request", "body": b""},
    {"type": "http.request", "more_body": False},
    {"type": "http.request"},
)
GONE: Final[Message] = {"type": "http.disconnect"}

every_api = pytest.mark.parametrize("path", BODIES, ids=lambda path: path.removeprefix("/v1/"))
any_cuts = st.lists(st.integers(0, 600), max_size=12) | st.just(list(range(600)))
any_last = st.sampled_from(LAST_WAYS) | st.none()


class Listener:
    """An app that notes what it is given up to the end of the body or a disconnect, and answers nothing.

    Attributes:
        scope: The scope of the last request.
        given: The messages of the last request.
    """

    scope: Scope
    given: list[Message]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del send
        self.scope, self.given = scope, []
        while not self.given or self.given[-1].get("more_body"):
            self.given.append(await receive())

    def body(self) -> bytes:
        """Return the body that was given."""
        return b"".join(message["body"] for message in self.given)


Door = tuple[Listener, PlanoMiddleware]


@pytest.fixture(scope="module")
def door(behind: Callable[..., PlanoMiddleware]) -> Door:
    """Return an app that notes what it is given, and the same behind the middleware."""
    app = Listener()
    return app, behind(app, CONFIG, FixedClassifier({"code": 0.9}))


def chunks(body: bytes, cuts: Iterable[int], last: Message | None) -> list[Message]:
    """Return a body cut at some places, and one more message that ends it, or none where the last chunk does."""
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    messages: list[Message] = [
        {"type": "http.request", "body": body[start:end], "more_body": True} for start, end in pairwise(places)
    ]
    if last is not None:
        return [*messages, last]
    return [*messages[:-1], {**messages[-1], "more_body": False}]


def drive(door: Door, path: str, messages: Sequence[Message], **headers: str) -> list[Message]:
    """Send messages through the middleware and return what is answered; everything given must be taken, once."""
    left, sent = [*messages], []

    async def receive() -> Message:
        """Give the next message."""
        return left.pop(0) if left else GONE

    async def send(message: Message) -> None:
        """Note what is answered."""
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    door[0].given = []
    anyio.run(door[1], {"type": "http", "method": "POST", "path": path, "headers": raw}, receive, send)
    assert left == []
    return sent


def rewritten(path: str) -> bytes:
    """Return what an app reads of a good body."""
    return BODIES[path].replace(b'"auto"', b'"%s"' % MODELS[path])


@every_api
@settings(max_examples=80, deadline=None)
@given(cuts=any_cuts, last=any_last, encoding=st.sampled_from(sorted(ENCODERS)))
def test_any_chunks_make_the_same_call(
    path: str, cuts: list[int], last: Message | None, encoding: str, door: Door
) -> None:
    """However a body is cut, within a character or a compressed block too, the app reads one rewritten message."""
    body = ENCODERS[encoding](BODIES[path])

    drive(door, path, chunks(body, cuts, last), content_encoding=encoding)

    assert door[0].given == [{"type": "http.request", "body": rewritten(path), "more_body": False}]
    assert door[0].scope["headers"] == [(b"content-length", str(len(rewritten(path))).encode())]


@pytest.mark.parametrize("body", NOT_READ.values(), ids=NOT_READ)
@settings(max_examples=40, deadline=None)
@given(cuts=any_cuts, last=any_last)
def test_any_chunks_of_what_cannot_be_read_are_passed_on_whole(
    body: bytes, cuts: list[int], last: Message | None, door: Door
) -> None:
    """However a body that is no call is cut, the app reads its bytes, no more and no less."""
    drive(door, CHAT, chunks(body, cuts, last))

    given = b"".join(message.get("body", b"") for message in door[0].given)
    assert given == body


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
@settings(max_examples=30, deadline=None)
@given(cuts=any_cuts, last=any_last)
def test_any_chunks_of_what_is_refused_are_refused_alike(
    body: bytes, cuts: list[int], last: Message | None, door: Door
) -> None:
    """No way to cut a body brings it past the refusal of a doubled key or a malformed policy."""
    answer = drive(door, CHAT, chunks(body, cuts, last))

    assert (answer[0]["status"], door[0].given) == (400, [])


@settings(max_examples=60, deadline=None)
@given(cuts=any_cuts, last=any_last)
def test_any_chunks_give_the_same_decision(cuts: list[int], last: Message | None, door: Door) -> None:
    """A decision endpoint answers alike however the body is cut."""
    messages = chunks(BODIES[CHAT], cuts, last)

    _, answer = drive(door, f"/routing{CHAT}", messages, content_type="application/json")

    assert json.loads(answer["body"])["route"] == "code"


LENGTHS: Final = {
    "none": (),
    "right": (str(len(BODIES[CHAT])),),
    "short": ("5",),
    "long": ("399",),
    "zero": ("0",),
    "negative": ("-5",),
    "no number": ("many",),
    "digits of another script": ("\u0664\u0665",),
    "beyond 64 bits": ("9" * 30,),
    "twice alike": (str(len(BODIES[CHAT])),) * 2,
    "twice and different": ("5", "399"),
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_length_that_lies_changes_nothing(lengths: Sequence[str], door: Door) -> None:
    """What counts is what the server gives; the app is told one right length, whatever the client announced."""
    left = chunks(BODIES[CHAT], [50], None)
    raw = [(b"content-length", length.encode()) for length in lengths]

    async def receive() -> Message:
        """Give the next message."""
        return left.pop(0)

    async def send(message: Message) -> None:
        """Do without an answer."""

    anyio.run(door[1], {"type": "http", "method": "POST", "path": CHAT, "headers": raw}, receive, send)

    assert door[0].body() == rewritten(CHAT)
    assert door[0].scope["headers"] == [(b"content-length", str(len(rewritten(CHAT))).encode())]


def test_body_announced_too_large_is_the_apps_to_read(door: Door) -> None:
    """A length beyond the bound means that nothing is read: the app is given the server's own messages."""
    messages = chunks(BODIES[CHAT], [10, 20], None)

    drive(door, CHAT, messages, content_length="401")

    assert door[0].given == messages
    assert door[0].scope["headers"] == [(b"content-length", b"401")]


@pytest.mark.parametrize("more", [0, 3], ids=["at once", "in chunks"])
def test_body_beyond_the_bound_is_read_no_further(more: int, door: Door) -> None:
    """What was read up to the bound is given as one message; the rest comes from the server, chunk by chunk."""
    rest: list[Message] = [
        {"type": "http.request", "body": b"y", "more_body": left > 0} for left in reversed(range(more))
    ]
    first = [{"type": "http.request", "body": b"x" * 250, "more_body": True}]
    first.append({"type": "http.request", "body": b"x" * 250, "more_body": more > 0})

    drive(door, CHAT, [*first, *rest])

    assert door[0].given == [{"type": "http.request", "body": b"x" * 500, "more_body": more > 0}, *rest]


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "within", "before the end"])
def test_message_that_nobody_knows_reaches_the_app(place: int, door: Door) -> None:
    """A message of a kind that is not known here is passed on where it came, and the body around it as it is."""
    strange: Message = {"type": "http.future", "more_body": True, "payload": object()}
    messages = chunks(BODIES[CHAT], [20], None)
    begun = b"".join(message["body"] for message in messages[:place])
    messages.insert(place, strange)
    if place == 2:
        messages = [*chunks(BODIES[CHAT], [20], LAST_WAYS[0])[:2], strange, LAST_WAYS[0]]

    drive(door, CHAT, messages)

    joined: list[Message] = [{"type": "http.request", "body": begun, "more_body": True}] if begun else []
    assert door[0].given == [*joined, *messages[place:]]


def test_decision_endpoint_does_without_messages_that_nobody_knows(door: Door) -> None:
    """A decision endpoint reads on past a message of a kind that is not known."""
    messages = chunks(BODIES[CHAT], [20], None)
    messages.insert(1, {"type": "http.future"})

    _, answer = drive(door, f"/routing{CHAT}", messages, content_type="application/json")

    assert json.loads(answer["body"])["route"] == "code"


def test_app_that_asks_on_hears_the_server(behind: Callable[..., PlanoMiddleware]) -> None:
    """After the replayed body every message is the server's own, as many as the app asks for."""
    heard: list[Any] = []

    async def asking(_: Scope, receive: Receive, __: Send) -> None:
        """Ask four times."""
        heard.extend([await receive() for _ in range(4)])

    door = (Listener(), behind(asking, CONFIG, FixedClassifier({"code": 0.9})))
    drive(door, CHAT, chunks(BODIES[CHAT], [1, 2, 3], LAST_WAYS[1]))

    assert heard == [{"type": "http.request", "body": rewritten(CHAT), "more_body": False}, GONE, GONE, GONE]
