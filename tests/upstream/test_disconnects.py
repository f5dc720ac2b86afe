"""Callers that go away or read slowly, over real sockets: the provider is let go, and nothing piles up."""

import json
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from plano_asgi.testing import FixedClassifier

BOUND_S: Final = 2.0
PATIENT: Final = "{first_byte_s: 20, answer_s: 20, stall_s: 20, total_s: 60}"
READERS: Final = 30
MOST_BYTES_EACH: Final = 8_388_608  # most of it in the kernel's buffers
MOST_MEMORY_EACH: Final = 524_288


@pytest.fixture
def url_of(
    api: Any, configured: Callable[..., str], app_of: Callable[..., Starlette], serve: Callable[[Starlette], str]
) -> Callable[[str], str]:
    """Return what serves a route of one model, and gives the URL of its API."""

    def make(model: str) -> str:
        text = configured(api.maker, model, forward=PATIENT)
        return serve(app_of(text, FixedClassifier({"code": 0.9}))) + str(api.path)

    return make


def wait_until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.005)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_caller_who_leaves_before_the_first_word_ends_the_providers_work(
    url_of: Callable[[str], str], api: Any, provider: Any, *, stream: bool
) -> None:
    """F19: the provider's connection is closed as soon as the caller's is, though nothing was said yet."""
    body = json.dumps(api.body(stream=stream)).encode()
    host, _, path = url_of("silent").removeprefix("http://").partition("/")
    head = f"POST /{path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"

    with capture_logs() as logs:
        address, _, port = host.partition(":")
        with socket.create_connection((address, int(port))) as caller:
            caller.sendall(head.encode() + body)
            wait_until(lambda: provider.heard)
        assert provider.left["silent"].wait(BOUND_S)
        wait_until(lambda: any(entry["event"] == "plano.call_forwarded" for entry in logs))

    (line,) = [entry for entry in logs if entry["event"] == "plano.call_forwarded"]
    assert (line["end"], line["attempts"].split(";")[1]) == ("abandoned", "outcome=abandoned")


def test_caller_who_leaves_after_the_first_word_ends_the_providers_work(
    url_of: Callable[[str], str], api: Any, provider: Any
) -> None:
    """F19: so it is in the middle of a stream, and what was used until then is recorded."""
    with capture_logs() as logs:
        with httpx.stream("POST", url_of("endless"), json=api.body(stream=True), trust_env=False) as answer:
            next(answer.iter_raw())
        assert provider.left["endless"].wait(BOUND_S)
        wait_until(lambda: any(entry["event"] == "plano.call_forwarded" for entry in logs))

    (line,) = [entry for entry in logs if entry["event"] == "plano.call_forwarded"]
    assert (line["end"], line["status"], line["model"]) == ("abandoned", 200, f"{api.maker}/endless")
    assert line["input_tokens"] == (7 if api.maker == "anthropic" else None)


@pytest.fixture
def readers(url_of: Callable[[str], str], api: Any) -> Iterator[list[socket.socket]]:
    """Return callers who ask for a stream that never ends, and read nothing of it."""
    body = json.dumps(api.body(stream=True)).encode()
    host, _, path = url_of("flood").removeprefix("http://").partition("/")
    address, _, port = host.partition(":")
    head = f"POST /{path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with ExitStack() as sockets:
        callers = []
        for _ in range(READERS):
            caller = sockets.enter_context(socket.socket())
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            caller.connect((address, int(port)))
            caller.sendall(head.encode() + body)
            callers.append(caller)
        yield callers


@pytest.mark.parametrize("api", ["chat.completions"], indirect=True)
def test_slow_readers_slow_the_provider_down(
    readers: list[socket.socket], provider: Any, request: pytest.FixtureRequest
) -> None:
    """F20: what callers do not read stays with the provider: nothing grows, and who reads again gets more."""
    tracemalloc.start()
    request.addfinalizer(tracemalloc.stop)
    wait_until(lambda: len(provider.heard) == READERS, 60)  # tracing memory is slow
    written = -1
    while written != provider.written and written < READERS * MOST_BYTES_EACH:
        written = provider.written
        time.sleep(0.2)

    assert 0 < written < READERS * MOST_BYTES_EACH
    assert tracemalloc.get_traced_memory()[0] < READERS * MOST_MEMORY_EACH
    received = 0
    until = time.monotonic() + 20
    while provider.written == written and time.monotonic() < until:
        received += len(readers[0].recv(1_048_576))
    assert received > 0
    assert provider.written > written
