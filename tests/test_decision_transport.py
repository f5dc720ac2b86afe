"""The decision endpoints as an HTTP service: bodies, methods and paths on the wire, and in an ASGI host."""

import gzip
import json
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from http.client import HTTPMessage, parse_headers
from io import BufferedReader
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Message, Scope
from structlog.testing import capture_logs

from plano_asgi.http.bodies import DRAIN_BYTES
from plano_asgi.testing import FixedClassifier

SETTINGS: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing functions}]
limits: {body_bytes: 4096, body_timeout_s: 0.1}
"""
CHAT, MESSAGES, RESPONSES = "/routing/v1/chat/completions", "/routing/v1/messages", "/routing/v1/responses"
PATHS: Final = (CHAT, MESSAGES, RESPONSES)
CALL: Final = b'{"max_tokens": 1, "messages": [{"role": "user", "content": "hi"}], "input": "hi"}'
HEAD: Final = b"POST %s HTTP/1.1\r\nhost: plano.test\r\ncontent-type: application/json\r\n"
BOMB: Final = gzip.compress(b" " * 3_000_000)

Ask = Callable[..., httpx.Response]

every_api = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.removeprefix("/routing/v1/"))


@pytest.fixture(scope="module")
def classifier() -> FixedClassifier:
    """Return the classifier of the service."""
    return FixedClassifier({"code": 0.9})


@pytest.fixture(scope="module")
def app(app_of: Callable[..., Starlette], classifier: FixedClassifier) -> Starlette:
    """Return a service with narrow bounds."""
    return app_of(SETTINGS, classifier)


@pytest.fixture(scope="module")
def url(app: Starlette, serve: Callable[[Starlette], str]) -> str:
    """Return where the service is served."""
    return serve(app)


class Wire:
    """A bare connection."""

    def __init__(self, connection: socket.socket, reader: BufferedReader) -> None:
        """Take a connection and what reads from it."""
        self.send = connection.sendall
        self._reader = reader

    def read(self) -> tuple[int, HTTPMessage, dict[str, Any]]:
        """Return the next answer's status, headers and JSON."""
        status = int(self._reader.readline().split()[1])
        headers = parse_headers(self._reader)
        return status, headers, json.loads(self._reader.read(int(headers["content-length"])))

    def is_over(self) -> bool:
        """Return whether the server ends the connection without another word; waits for it."""
        return not self._reader.read(1)


@pytest.fixture
def wire(url: str) -> Iterator[Wire]:
    """Return a bare connection to the service."""
    place = urlsplit(url)
    with (
        socket.create_connection((place.hostname, place.port), timeout=10) as connection,
        connection.makefile("rb") as reader,
    ):
        yield Wire(connection, reader)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    """Return a client of the service."""
    with httpx.Client(base_url=url, headers={"content-type": "application/json"}) as client:
        yield client


def head(path: str, *lines: str) -> bytes:
    """Return a request's head."""
    return HEAD % path.encode() + b"".join(f"{line}\r\n".encode() for line in lines) + b"\r\n"


def whole(path: str) -> bytes:
    """Return a good request."""
    return head(path, f"content-length: {len(CALL)}") + CALL


def drive(app: Starlette, scope: Scope, *received: Message) -> tuple[int, list[Message]]:
    """Return how many messages an app took of those given, and what it sent."""
    taken, sent = iter(received), []

    async def receive() -> Message:
        """Return the next message."""
        return next(taken)

    async def send(message: Message) -> None:
        """Keep what is sent."""
        sent.append(message)

    anyio.run(app, scope, receive, send)
    return len(received) - len(list(taken)), sent


def http_scope(path: str, *headers: tuple[bytes, bytes]) -> Scope:
    """Return the scope of a POST."""
    fixed = [(b"content-type", b"application/json"), *headers]
    return {"type": "http", "method": "POST", "path": path, "root_path": "", "query_string": b"", "headers": fixed}


@every_api
def test_body_announced_too_large_is_refused_unread(path: str, wire: Wire) -> None:
    """A content-length beyond the limit is answered before a byte of the body is sent, and the connection ends."""
    wire.send(head(path, "content-length: 4097"))

    status, headers, said = wire.read()

    assert status == 413
    assert headers["connection"] == "close"
    assert said["error"].get("code", "request_too_large") == "request_too_large"
    assert wire.is_over()


@every_api
def test_endless_body_is_read_up_to_the_limit_only(path: str, app: Starlette) -> None:
    """A body without end is refused once its client has had a little time to see the answer, and none of it is kept."""
    chunk = {"type": "http.request", "body": b" " * 65_536, "more_body": True}

    taken, sent = drive(app, http_scope(path), *[chunk] * 100)

    assert taken == 1 + DRAIN_BYTES // 65_536
    assert sent[0]["status"] == 413


@every_api
def test_gzip_bomb_is_not_unfolded(path: str, app: Starlette) -> None:
    """A small body that would unfold to 3 MB is refused at the limit; those megabytes are never held."""
    tracemalloc.start()
    message = {"type": "http.request", "body": BOMB, "more_body": False}

    _, sent = drive(app, http_scope(path, (b"content-encoding", b"gzip")), message)

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sent[0]["status"] == 413
    assert peak_bytes < 2_000_000


@every_api
def test_body_that_does_not_arrive_is_not_waited_for(path: str, wire: Wire) -> None:
    """A body slower than `limits.body_timeout_s` is answered 408, not to be tried again, and the connection ends."""
    wire.send(head(path, "content-length: 100") + b"{")

    status, headers, said = wire.read()

    assert (status, headers["x-should-retry"]) == (408, "false")
    assert headers["connection"] == "close"
    assert said["error"]["type"] == "invalid_request_error"
    assert wire.is_over()


def test_body_longer_than_announced_does_not_reach_a_call(wire: Wire, classifier: FixedClassifier) -> None:
    """What follows the announced length is no part of the call, and no request of its own."""
    asked = len(classifier.calls)
    wire.send(head(CHAT, f"content-length: {len(CALL) - 5}") + CALL)

    status, _, said = wire.read()

    assert (status, said["error"]["code"]) == (400, "invalid_json")
    assert len(classifier.calls) == asked


@every_api
def test_client_that_goes_away_while_sending_is_not_answered(
    path: str, app: Starlette, classifier: FixedClassifier
) -> None:
    """Half a body is no call: nothing is classified, sent or logged."""
    asked = len(classifier.calls)

    with capture_logs() as events:
        _, sent = drive(
            app,
            http_scope(path),
            {"type": "http.request", "body": CALL[:20], "more_body": True},
            {"type": "http.disconnect"},
        )

    assert (sent, events, len(classifier.calls)) == ([], [], asked)


def test_connection_cut_while_sending_leaves_the_service_well(url: str, client: httpx.Client) -> None:
    """A connection that breaks off within a body does no harm to the next one."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(head(CHAT, f"content-length: {len(CALL)}") + CALL[:20])

    answer = client.post(CHAT, content=CALL)

    assert answer.json()["route"] == "code"


def test_pipelined_calls_are_answered_in_their_order(wire: Wire) -> None:
    """Requests sent before the first answer come are answered one by one, a bad one between good ones too."""
    bad = head(MESSAGES, "content-length: 2") + b"[]"
    wire.send(whole(CHAT) + bad + whole(RESPONSES))

    answers = [wire.read() for _ in range(3)]

    assert [status for status, _, _ in answers] == [200, 400, 200]
    assert [said.get("route") or said["type"] for _, _, said in answers] == ["code", "error", "code"]


@every_api
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_told_which_one_there_is(path: str, method: str, client: httpx.Client) -> None:
    """Whatever is not a POST is answered 405 with `Allow: POST`, HEAD without a body."""
    answer = client.request(method, path)

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert bool(answer.content) == (method != "HEAD")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/routing/v1/chat/completions/",
        "//routing/v1/chat/completions",
        "/routing/v1//chat/completions",
        "/routing%2Fv1/chat/completions",
        "/routing/v1/chat%2fcompletions",
        "/routing/v1/x/../chat/completions",
        "/Routing/v1/chat/completions",
        "/v1/chat/completions",
        "/routing/v1/models",
    ],
)
def test_path_that_is_almost_an_endpoint_is_not_found(path: str, wire: Wire) -> None:
    """Only the exact paths are endpoints; no other spelling is redirected or read as one of them."""
    wire.send(whole(path))

    status, _, said = wire.read()

    assert status == 404
    assert said["error"] == {
        "message": f"nothing is served here; POST a call to one of {', '.join(PATHS)}",
        "type": "invalid_request_error",
        "param": None,
        "code": "not_found",
    }


@pytest.mark.parametrize("path", ["/routing/v1/messages/", "/routing/v1/messages/count_tokens"])
def test_neighbour_of_the_messages_endpoint_is_not_found_in_its_own_shape(path: str, app: Starlette, ask: Ask) -> None:
    """An Anthropic client that asks for what is not served reads an error of its own API."""
    answer = ask(app, "POST", path, json={})

    said = answer.json()
    assert (answer.status_code, said["type"], said["error"]["type"]) == (404, "error", "not_found_error")
    assert said["request_id"] == answer.headers["request-id"]


@every_api
def test_service_can_be_mounted_below_a_prefix(path: str, app: Starlette, ask: Ask) -> None:
    """A host app that mounts the service finds the endpoints below its prefix."""
    host = Starlette(routes=[Mount("/gateway", app)])

    answer = ask(host, "POST", f"/gateway{path}", content=CALL, headers={"content-type": "application/json"})

    assert answer.json()["route"] == "code"


@every_api
def test_websocket_is_turned_away(path: str, app: Starlette) -> None:
    """A websocket to an endpoint is closed, and nothing else happens."""
    scope = {**http_scope(path), "type": "websocket", "subprotocols": []}

    _, sent = drive(app, scope, {"type": "websocket.connect"})

    assert [message["type"] for message in sent] == ["websocket.close"]


@every_api
def test_repeated_headers_are_no_way_around_a_check(path: str, app: Starlette) -> None:
    """A header sent twice counts as both values: here that is no JSON type, and no harmless request id."""
    message = {"type": "http.request", "body": CALL, "more_body": False}
    scope = http_scope(path, (b"content-type", b"text/plain"), (b"x-request-id", b"one"), (b"X-Request-ID", b"two"))

    _, sent = drive(app, scope, message)

    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == 415
    assert headers.get(b"x-request-id", headers.get(b"request-id", b"")).startswith(b"req_")
