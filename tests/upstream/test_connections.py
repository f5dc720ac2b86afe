"""Connections to a provider: used again, bounded, closed in the end."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketStream

from plano_asgi.errors import NetworkError, NetworkTimeoutError, NoConnectionError
from plano_asgi.net import HttpRequest, StreamingClient, connections

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Counting:
    """A server on loopback that counts connections, answers at once, and can close each after its answer."""

    def __init__(self, *, closes: bool = False, is_silent: bool = False) -> None:
        """Set how it behaves."""
        self.opened = self.open = 0
        self.url = ""
        self.heard = b""
        self._closes, self._is_silent = closes, is_silent

    async def __call__(self, stream: SocketStream) -> None:
        """Serve one connection."""
        self.opened, self.open = self.opened + 1, self.open + 1
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    self.heard += await stream.receive()
                    is_whole = self.heard.endswith(b"\r\n\r\n" if self.heard.startswith(b"GET") else b"{}")
                    if is_whole and not self._is_silent:
                        await stream.send(ANSWER)
                    if is_whole and self._closes:
                        break
        self.open -= 1

    async def abandoned(self) -> None:
        """Return when it has no connection any more."""
        with anyio.fail_after(5):
            while self.open:  # noqa: ASYNC110 - the far end of a socket has no event to wait for
                await anyio.sleep(0.005)


def against(server: Counting, client: StreamingClient, work: Callable[[], Awaitable[None]], backend: str) -> None:
    """Do the work while the server runs, and close the client after it."""

    async def run() -> None:
        """Serve, work, close, and wait until the server has seen it."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        server.url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/v1"  # noqa: S610 - no Django here
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, server)
            await work()
            await client.aclose()
            await server.abandoned()
            tasks.cancel_scope.cancel()

    anyio.run(run, backend=backend)


async def ask(client: StreamingClient, server: Counting) -> bytes:
    """Return the body of one answer."""
    answer = await client.open(HttpRequest(url=server.url, headers=(), body=b"{}"))
    try:
        return await answer.read()
    finally:
        await answer.read()
        await answer.aclose()


@pytest.mark.parametrize("http2", [False, True], ids=["one call each", "shared"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_free_connection_is_used_again(backend: str, *, http2: bool) -> None:
    """One call after the other needs one connection, and closing the client closes it."""
    server, client = Counting(), StreamingClient(connections=8, connect_s=2, http2=http2)

    async def work() -> None:
        """Ask five times."""
        for _ in range(5):
            assert await ask(client, server) == b"ok"
        assert server.opened == server.open == 1

    against(server, client, work, backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_calls_side_by_side_have_a_connection_each_up_to_the_bound(backend: str) -> None:
    """Twenty calls at once over at most four connections are all answered."""
    server, client = Counting(), StreamingClient(connections=4, connect_s=5)

    async def work() -> None:
        """Ask twenty times at once."""
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask, client, server)
        assert 1 < server.opened <= 4

    against(server, client, work, backend)


def test_a_call_that_finds_no_free_connection_in_time_is_told_so() -> None:
    """With the only connection in use, the next call fails within its patience; nothing was sent for it."""
    server, client = Counting(), StreamingClient(connections=1, connect_s=0.1)

    async def work() -> None:
        """Hold the one connection, and ask again."""
        held = await client.open(HttpRequest(url=server.url, headers=(), body=b"{}"))
        with pytest.raises(NetworkTimeoutError):
            await client.open(HttpRequest(url=server.url, headers=(), body=b"{}"))
        await held.aclose()
        assert await ask(client, server) == b"ok"

    against(server, client, work, "asyncio")


def test_an_answer_that_is_not_read_costs_its_connection_and_no_more() -> None:
    """An answer closed before it was read closes its connection; the next call has a new one, within the bound."""
    server, client = Counting(), StreamingClient(connections=1, connect_s=1)

    async def work() -> None:
        """Close three answers unread, twice each."""
        for _ in range(3):
            answer = await client.open(HttpRequest(url=server.url, headers=(), body=b"{}"))
            await answer.aclose()
            await answer.aclose()
        assert await ask(client, server) == b"ok"
        assert server.opened == 4

    against(server, client, work, "asyncio")


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    """A server that closes after each answer is asked over a new connection each time, and no call fails for it."""
    server, client = Counting(closes=True), StreamingClient(connections=2, connect_s=2)

    async def work() -> None:
        """Ask three times, leaving the server time to close."""
        for asked in range(1, 4):
            assert await ask(client, server) == b"ok"
            await server.abandoned()
            assert server.opened == asked

    against(server, client, work, "asyncio")


def test_a_cancelled_call_gives_its_place_back() -> None:
    """A call given up before its answer leaves room for the next, which nobody answers but which does not wait."""
    server, client = Counting(is_silent=True), StreamingClient(connections=1, connect_s=0.2)

    async def work() -> None:
        """Give up three calls."""
        for asked in range(1, 4):
            with anyio.move_on_after(0.05):
                await client.open(HttpRequest(url=server.url, headers=(), body=b"{}"))
            assert server.opened == asked

    against(server, client, work, "asyncio")


@pytest.mark.parametrize("ticks", range(8))
def test_closing_an_idle_connection_leaves_room_for_others(ticks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one that nobody has used for long is closed, another call may take the last free one."""
    monkeypatch.setattr(connections, "IDLE_CONNECTION_S", 0.1)
    server, client = Counting(), StreamingClient(connections=8, connect_s=2)

    async def late() -> None:
        """Ask some turns of the event loop later."""
        for _ in range(ticks):
            await anyio.lowlevel.checkpoint()
        assert await ask(client, server) == b"ok"

    async def work() -> None:
        """Have two, one of them idle for long, and give the other back while a call begins."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, client, server)
            tasks.start_soon(ask, client, server)
        await anyio.sleep(0.06)
        assert await ask(client, server) == b"ok"
        await anyio.sleep(0.06)
        answer = await client.open(HttpRequest(url=server.url, headers=(), body=b"{}"))
        while await answer.read():
            pass
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(late)
            await answer.aclose()

    against(server, client, work, "asyncio")


def test_a_refused_connection_gives_its_place_back() -> None:
    """Where nobody listens every call is told so at once, however often."""
    client = StreamingClient(connections=1, connect_s=0.5)

    async def work() -> None:
        """Ask in vain."""
        for _ in range(3):
            with pytest.raises(NoConnectionError):
                await client.open(HttpRequest(url="http://127.0.0.1:9/v1", headers=(), body=b"{}"))
        await client.aclose()

    anyio.run(work)


@pytest.mark.parametrize(
    ("request_of", "heard"),
    [
        (lambda url: HttpRequest(url=url, headers=(("x", "\xe4"),), body=b"{}"), b"POST /v1?a=%20 HTTP/1.1"),
        (
            lambda url: HttpRequest(url=url, headers=(("host", "other"),), body=b"", method="GET"),
            b"GET /v1?a=%20 HTTP/1.1",
        ),
    ],
    ids=["body", "none"],
)
def test_a_request_is_written_as_http_wants_it(request_of: Callable[[str], HttpRequest], heard: bytes) -> None:
    """It names its host, ours unless told another, and the length of its body where it has one; once each."""
    server, client = Counting(), StreamingClient(connections=1, connect_s=2)

    async def work() -> None:
        """Ask once."""
        answer = await client.open(request_of(f"{server.url}?a= "))
        assert await answer.read() == b"ok"
        await answer.read()
        await answer.aclose()

    against(server, client, work, "asyncio")

    line, *headers = server.heard.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    host = server.url.removeprefix("http://").removesuffix("/v1").encode()
    of_body = [b"host: " + host, b"x: \xe4", b"content-length: 2"]
    assert line == heard.lower()
    assert headers == [*(of_body if heard.startswith(b"POST") else [b"host: other"]), b"accept-encoding: identity"]


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("ftp://127.0.0.1/x", NoConnectionError),
        ("127.0.0.1/x", NoConnectionError),
        ("http://127.0.0.1:x/", NetworkError),
    ],
    ids=["scheme", "no scheme", "no port"],
)
def test_what_is_no_url_of_http_is_an_error_of_the_network(url: str, error: type[NetworkError]) -> None:
    """Nothing is sent, the message has no address, and the client goes on."""
    client = StreamingClient(connections=1, connect_s=2)

    async def work() -> None:
        """Ask."""
        with pytest.raises(error) as told:
            await client.open(HttpRequest(url=url, headers=(), body=b"{}"))
        assert "127.0.0.1" not in str(told.value)

    anyio.run(work)


def test_a_connection_to_one_server_is_not_used_for_another() -> None:
    """A client that asks several servers closes what it has free to the one before it asks the next."""
    first, second, client = Counting(), Counting(), StreamingClient(connections=1, connect_s=2)

    async def ask_both() -> None:
        """Ask the first, the second and the first."""

        async def work() -> None:
            """Ask in turn."""
            for server in (first, second, first):
                assert await ask(client, server) == b"ok"

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        second.url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/v1"  # noqa: S610 - no Django here
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, second)
            await work()
            await client.aclose()
            tasks.cancel_scope.cancel()

    against(first, client, ask_both, "asyncio")

    assert (first.opened, second.opened) == (2, 1)
