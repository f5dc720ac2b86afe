"""A provider on loopback whose faults are chosen by the model's name, and the service in front of it."""

import asyncio
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, Final

import anyio
import brotli  # type: ignore[import-untyped]  # has no types
import httpx
import httpx2
import pytest
import zstandard
from starlette.applications import Starlette

import plano_asgi
from plano_asgi.assembly import build_router
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
WORDS: Final = ("Guten ", "Tag, ", "日本語 ", "\U0001f680!")
TEXT: Final = "".join(WORDS)
KEYS: Final = {
    "openai": "sk-canary-of-openai",
    "anthropic": "sk-canary-of-anthropic",
    "mistral": "sk-canary-of-mistral",
}
FOR_EVER: Final = 30.0
PATIENCE: Final = "{connect_s: 10, first_byte_s: 20, answer_s: 20, stall_s: 20, total_s: 60}"
HASTE: Final = "{connect_s: 10, first_byte_s: 0.6, answer_s: 0.6, stall_s: 0.6, total_s: 60}"
SLOW: Final = frozenset({"silent", "late", "stalls"})


def whole_answer(path: str, model: str, text: str = TEXT) -> dict[str, Any]:
    """Return an API's answer."""
    if path == CHAT:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
        return {
            "id": "c",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": [choice],
            "usage": usage,
        }
    if path == MESSAGES:
        said = {"id": "m", "type": "message", "role": "assistant", "model": model, "stop_reason": "end_turn"}
        usage = {"input_tokens": 7, "output_tokens": 4}
        return {**said, "stop_sequence": None, "content": [{"type": "text", "text": text}], "usage": usage}
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": "i", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    usage = {"input_tokens": 7, "output_tokens": 4, "total_tokens": 11}
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    head: dict[str, Any] = {"id": "r", "object": "response", "created_at": 0, "model": model}
    head |= {"status": "completed", "error": None}
    return {**head, "output": [item], "usage": {**usage, **details}}


def sse(data: Mapping[str, Any] | str, name: str = "") -> bytes:
    """Return one event."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"{f'event: {name}{chr(10)}' if name else ''}data: {text}\n\n".encode()


@dataclass(frozen=True)
class Stream:
    """An API's stream in three parts: what comes before the first word, the words, and the end."""

    opening: tuple[bytes, ...]
    words: tuple[bytes, ...]
    end: tuple[bytes, ...]

    @property
    def whole(self) -> bytes:
        """All of it."""
        return b"".join((*self.opening, *self.words, *self.end))


def stream_of(path: str, model: str, words: Sequence[str] = WORDS) -> Stream:
    """Return an API's stream of the words."""
    if path == CHAT:
        head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": model}
        deltas: list[dict[str, str]] = [
            {"role": "assistant", "content": ""},
            *({"content": word} for word in words),
            {},
        ]
        chunks = [
            sse({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}]})
            for delta in deltas
        ]
        usage = sse({**head, "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}})
        return Stream((b": hello\n\n", chunks[0]), tuple(chunks[1:-1]), (chunks[-1], usage, sse("[DONE]")))
    if path == MESSAGES:
        message = {**whole_answer(path, model), "content": [], "stop_reason": None}
        opening: list[Mapping[str, Any]] = [{"type": "message_start", "message": message}, {"type": "ping"}]
        said: list[Mapping[str, Any]] = [
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": w}} for w in words),
            {"type": "content_block_stop", "index": 0},
        ]
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        end: list[Mapping[str, Any]] = [{"type": "message_delta", "delta": delta, "usage": {"output_tokens": 4}}]
        return named(opening, said, [*end, {"type": "message_stop"}])
    response = {**whole_answer(path, model), "status": "in_progress", "output": [], "usage": None}
    place: Mapping[str, Any] = {"item_id": "i", "output_index": 0, "content_index": 0, "logprobs": []}
    opening = [{"type": kind, "response": response} for kind in ("response.created", "response.in_progress")]
    said = [{"type": "response.output_text.delta", "delta": word, **place} for word in words]
    end = [{"type": "response.completed", "response": whole_answer(path, model, "".join(words))}]
    numbered = [{**event, "sequence_number": n} for n, event in enumerate([*opening, *said, *end])]
    return named(numbered[:2], numbered[2:-1], numbered[-1:])


def named(*parts: Sequence[Mapping[str, Any]]) -> Stream:
    """Return a stream whose events bear the names of their types."""
    return Stream(*(tuple(sse(event, event["type"]) for event in part) for part in parts))


def error_of(path: str, kind: str, message: str, code: str | None = None) -> dict[str, Any]:
    """Return an error as an API's provider writes it."""
    if path == MESSAGES:
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_event_of(path: str) -> bytes:
    """Return an overload as an event of an API's stream."""
    if path == MESSAGES:
        return sse(error_of(path, "overloaded_error", "Overloaded"), "error")
    if path == CHAT:
        return sse(error_of(path, "server_error", "The server had an error"))
    return sse({"type": "error", "code": "server_error", "message": "x", "param": None, "sequence_number": 2}, "error")


@dataclass(frozen=True)
class Heard:
    """A request as the provider heard it."""

    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def call(self) -> dict[str, Any]:
        """The body's meaning."""
        meaning: dict[str, Any] = json.loads(self.body)
        return meaning

    @property
    def path(self) -> str:
        """The API's path, whatever stands before it."""
        return next(path for path in (CHAT, MESSAGES, RESPONSES) if self.target.split("?")[0].endswith(path[3:]))


@dataclass
class Exchange:
    """One request to the provider, and the ways to answer it."""

    server: "FaultServer"
    heard: Heard
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def is_stream(self) -> bool:
        """Whether a stream is asked for."""
        return bool(self.heard.call.get("stream"))

    @property
    def model(self) -> str:
        """The model that is asked for, wherever its name is."""
        return str(self.heard.call.get("model"))

    @property
    def stream(self) -> Stream:
        """What a good stream would be."""
        return stream_of(self.heard.path, self.model)

    async def head(self, status: int = 200, content_type: str = "", **headers: str) -> None:
        """Begin an answer whose body is as long as the connection."""
        kind = content_type or ("text/event-stream" if self.is_stream else "application/json")
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.write("\r\n".join([*lines, "", ""]).encode())

    async def write(self, data: bytes) -> None:
        """Send some bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes, status: int = 200, content_type: str = "", **headers: str) -> None:
        """Send a whole answer."""
        await self.head(status, content_type, content_length=str(len(body)), **headers)
        await self.write(body)

    async def in_two(self, body: bytes) -> None:
        """Send a whole answer; of a stream what comes to the third word, and the rest a little later."""
        if not self.is_stream:
            await self.answer(body)
            return
        await self.begin()
        await asyncio.sleep(0.05)
        stream = self.stream
        await self.write(body.removeprefix(b"".join((*stream.opening, *stream.words[:3]))))

    async def refuse(self, status: int, kind: str, message: str, code: str | None = None, **headers: str) -> None:
        """Send an error."""
        body = json.dumps(error_of(self.heard.path, kind, message, code)).encode()
        await self.answer(body, status, "application/json", **headers)

    @property
    def good_body(self) -> bytes:
        """What a good answer would be."""
        if self.is_stream:
            return self.stream.whole
        return json.dumps(whole_answer(self.heard.path, self.model), ensure_ascii=False).encode()

    async def serve_well(self) -> None:
        """Answer as a healthy provider."""
        await self.answer(self.good_body)

    async def begin(self) -> None:
        """Send the head, and a stream's first two words or half of an answer that is whole."""
        await self.head(content_length="999999") if not self.is_stream else await self.head()
        stream = self.stream
        for piece in (*stream.opening, *stream.words[:3]) if self.is_stream else [self.good_body[:40]]:
            await self.write(piece)

    async def hold(self) -> None:
        """Wait until the other side closes, and note that it did."""
        with suppress(asyncio.TimeoutError):
            with suppress(ConnectionError):  # closed with words unread, it is reset
                await asyncio.wait_for(self.reader.read(), FOR_EVER)
            self.server.left[self.model].set()


Scenario = Callable[[Exchange], Awaitable[None]]


class FaultServer:
    """A provider that misbehaves as the model's name says.

    Attributes:
        heard: The requests so far.
        left: By model: set when the other side has closed the connection under an answer.
        is_down: Whether `recovering` fails.
        written: Bytes that `flood` has sent.
    """

    def __init__(self, scenarios: Mapping[str, Scenario]) -> None:
        """Know the scenarios; start nothing."""
        self._scenarios = scenarios
        self.url = ""
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.heard: list[Heard] = []
        self.counts: Counter[str] = Counter()
        self.left: dict[str, Event] = {name: Event() for name in self._scenarios}
        self.is_down = True
        self.written = 0

    def run(self, started: Event) -> None:
        """Serve until `stop`; to be run in a thread."""
        asyncio.run(self._serve(started))

    async def _serve(self, started: Event) -> None:
        """Serve until it is stopped."""
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started.set()
        await self._stopped.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """End serving."""
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request, and let its scenario answer."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            body = await reader.readexactly(int(headers["content-length"]))
            exchange = Exchange(self, Heard(head[0].split(" ")[1], headers, body), reader, writer)
            self.heard.append(exchange.heard)
            self.counts[exchange.model] += 1
            await self._scenarios.get(exchange.model, Exchange.serve_well)(exchange)
        writer.close()


async def limited(exchange: Exchange) -> None:
    """Limit the rate, and say for how long."""
    await exchange.refuse(429, "rate_limit_error", "slow down", retry_after="1")


async def limited_bare(exchange: Exchange) -> None:
    """Limit the rate, and say no more."""
    await exchange.refuse(429, "rate_limit_error", "slow down")


async def fails_once(exchange: Exchange) -> None:
    """Fail the first time."""
    await (exchange.serve_well() if exchange.server.counts[exchange.model] > 1 else down(exchange))


async def down(exchange: Exchange) -> None:
    """Be out of order."""
    await exchange.answer(b"<html>upstream connect error</html>", 503, "text/html")


async def recovering(exchange: Exchange) -> None:
    """Be out of order until told otherwise."""
    await (down(exchange) if exchange.server.is_down else exchange.serve_well())


async def resets(exchange: Exchange) -> None:
    """Reset the connection at once."""
    exchange.writer.transport.abort()


async def resets_in_head(exchange: Exchange) -> None:
    """Reset the connection within the head."""
    await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-ty")
    exchange.writer.transport.abort()


async def silent(exchange: Exchange) -> None:
    """Never answer."""
    await exchange.hold()


async def late(exchange: Exchange) -> None:
    """Send a head, and what comes before the first word, and nothing else."""
    await exchange.head()
    for piece in exchange.stream.opening if exchange.is_stream else ():
        await exchange.write(piece)
    await exchange.hold()


async def cut(exchange: Exchange) -> None:
    """Break off after some words."""
    await exchange.begin()
    await asyncio.sleep(0.05)
    exchange.writer.transport.abort()


async def stalls(exchange: Exchange) -> None:
    """Say nothing any more after some words."""
    await exchange.begin()
    await exchange.hold()


async def malformed(exchange: Exchange) -> None:
    """Say something that is no JSON, and hold the connection."""
    if not exchange.is_stream:
        await exchange.answer(b'{"choices": [')
        return
    await exchange.begin()
    await exchange.write(b'data: {"choices": [\n\n')
    await exchange.hold()


async def unterminated(exchange: Exchange) -> None:
    """End without the end."""
    if not exchange.is_stream:
        await exchange.answer(exchange.good_body[:-1])
        return
    await exchange.head()
    await exchange.write(b"".join((*exchange.stream.opening, *exchange.stream.words)))


async def too_long(exchange: Exchange) -> None:
    """Find the call too long."""
    if exchange.heard.path == MESSAGES:
        await exchange.refuse(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
    else:
        words = "This model's maximum context length is 8192 tokens."
        await exchange.refuse(400, "invalid_request_error", words, "context_length_exceeded")


async def filtered(exchange: Exchange) -> None:
    """Stop the call by a filter."""
    words = "Output blocked by content filtering policy"
    await exchange.refuse(400, "invalid_request_error", words, "content_filter")


async def filtered_403(exchange: Exchange) -> None:
    """Stop the call by a filter, as forbidden."""
    await exchange.refuse(403, "permission_error", "The input was flagged by moderation", "content_policy_violation")


async def rejects(exchange: Exchange) -> None:
    """Find the call wrong."""
    words = "This model does not support assistant message prefill."
    await exchange.refuse(400, "invalid_request_error", words)


async def flaps(exchange: Exchange) -> None:
    """Fail every other time."""
    await (down(exchange) if exchange.server.counts[exchange.model] % 2 else exchange.serve_well())


async def refuses_key(exchange: Exchange) -> None:
    """Refuse the key, and repeat it."""
    sent = exchange.heard.headers.get("authorization") or exchange.heard.headers.get("x-api-key")
    await exchange.refuse(401, "authentication_error", f"Incorrect API key provided: {sent}", "invalid_api_key")


async def html(exchange: Exchange) -> None:
    """Say 200, and show an error page."""
    await exchange.answer(b"<html>error</html>", 200, "text/html")


async def empty(exchange: Exchange) -> None:
    """Say 200 and nothing else."""
    await exchange.answer(b"")


async def wrong_type(exchange: Exchange) -> None:
    """Say the right thing as the wrong type."""
    await exchange.answer(exchange.good_body, 200, "text/plain")


async def error_in_200(exchange: Exchange) -> None:
    """Say 200, and then that it is overloaded."""
    if exchange.is_stream:
        await exchange.answer(error_event_of(exchange.heard.path))
    else:
        await exchange.answer(json.dumps(error_of(exchange.heard.path, "overloaded_error", "Overloaded")).encode())


async def filtered_in_200(exchange: Exchange) -> None:
    """Say 200, and then that a filter has stopped the call."""
    words = "Stopped by our content filter"
    error = error_of(exchange.heard.path, "invalid_request_error", words, "content_filter")
    if not exchange.is_stream:
        await exchange.answer(json.dumps(error).encode())
    elif exchange.heard.path == RESPONSES:
        event = {"type": "error", "code": "content_filter", "message": words, "param": None, "sequence_number": 0}
        await exchange.answer(sse(event, "error"))
    else:
        await exchange.answer(sse(error, "error" if exchange.heard.path == MESSAGES else ""))


async def untranslatable(exchange: Exchange) -> None:
    """Say what no other API can repeat: a tool without a name, words that are a number."""
    if exchange.heard.path == CHAT:
        call = {"index": 0, "id": "t", "type": "function", "function": {"arguments": "{}"}}
        choice = {"index": 0, "finish_reason": None, "delta": {"tool_calls": [call]}}
        whole = whole_answer(CHAT, exchange.model) | {"choices": [{**choice, "message": {"tool_calls": [call]}}]}
        event = sse({"id": "c", "object": "chat.completion.chunk", "choices": [choice]})
    else:
        block = {"type": "text", "text": 7}
        whole = whole_answer(exchange.heard.path, exchange.model) | {"content": [block]}
        event = sse({"type": "content_block_start", "index": 0, "content_block": block}, "content_block_start")
    if not exchange.is_stream:
        await exchange.answer(json.dumps(whole).encode())
        return
    await exchange.head()
    await exchange.write(b"".join((*exchange.stream.opening, event)))
    await exchange.hold()


async def aborts(exchange: Exchange) -> None:
    """Give up after some words, and say so in the reason to finish."""
    await exchange.in_two(exchange.good_body.replace(b'"stop"', b'"abort"'))


async def chatty(exchange: Exchange) -> None:
    """Tell more than other APIs have a place for, at the end."""
    before, mark, after = exchange.good_body.rpartition(b'"choices"')
    await exchange.in_two(before + b'"citations": ["a"], ' + mark + after)


async def large_error(exchange: Exchange) -> None:
    """Find the call wrong at great length."""
    await exchange.refuse(400, "invalid_request_error", "x" * 70_000)


async def html_error(exchange: Exchange) -> None:
    """Find the call wrong in a page."""
    await exchange.answer(b"<html>bad request</html>", 400, "text/html")


def encoded(encode: Callable[[bytes], bytes], name: str) -> Scenario:
    """Return a scenario that encodes its answer."""

    async def scenario(exchange: Exchange) -> None:
        """Answer."""
        await exchange.answer(encode(exchange.good_body), content_encoding=name)

    return scenario


async def byte_by_byte(exchange: Exchange) -> None:
    """Send every byte in a chunk of its own."""
    await exchange.head(transfer_encoding="chunked")
    for byte in exchange.good_body:
        await exchange.write(b"1\r\n%c\r\n" % byte)
    await exchange.write(b"0\r\n\r\n")


async def crlf(exchange: Exchange) -> None:
    """End lines by CR and LF, the one in another chunk than the other."""
    await exchange.head()
    for line in exchange.good_body.split(b"\n"):
        await exchange.write(line + b"\r")
        await asyncio.sleep(0)
        await exchange.write(b"\n")


async def endless(exchange: Exchange) -> None:
    """Stream words for as long as somebody listens."""
    leaving = asyncio.ensure_future(exchange.hold())  # before a word is said, since the first may be enough
    await exchange.begin()
    while not leaving.done():
        await exchange.write(exchange.stream.words[1])
        await asyncio.sleep(0.01)


async def flood(exchange: Exchange) -> None:
    """Send as much as is taken."""
    await exchange.begin()
    word = exchange.stream.words[1] * 100
    while True:
        await exchange.write(word)
        exchange.server.written += len(word)


async def parrots(exchange: Exchange) -> None:
    """Say what was said last, a few letters at a time."""
    call = exchange.heard.call
    said: Any = call.get("messages", call.get("input"))
    last = said if isinstance(said, str) else said[-1]["content"]
    text = last if isinstance(last, str) else last[-1]["text"]
    if not exchange.is_stream:
        await exchange.answer(json.dumps(whole_answer(exchange.heard.path, exchange.model, text)).encode())
        return
    pieces = [text[at : at + 3] for at in range(0, len(text), 3)]
    await exchange.answer(stream_of(exchange.heard.path, exchange.model, pieces).whole)


async def redirects(exchange: Exchange) -> None:
    """Send people elsewhere."""
    await exchange.answer(b"", 302, location=f"{exchange.server.url}/v1/elsewhere")


def deflated(data: bytes) -> bytes:
    """Return data as `deflate` means it."""
    return zlib.compress(data)


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "limited": limited,
    "limited_bare": limited_bare,
    "fails_once": fails_once,
    "down": down,
    "recovering": recovering,
    "resets": resets,
    "resets_in_head": resets_in_head,
    "silent": silent,
    "late": late,
    "cut": cut,
    "stalls": stalls,
    "malformed": malformed,
    "unterminated": unterminated,
    "too_long": too_long,
    "filtered": filtered,
    "filtered_403": filtered_403,
    "rejects": rejects,
    "flaps": flaps,
    "refuses_key": refuses_key,
    "html": html,
    "empty": empty,
    "wrong_type": wrong_type,
    "error_in_200": error_in_200,
    "filtered_in_200": filtered_in_200,
    "untranslatable": untranslatable,
    "aborts": aborts,
    "chatty": chatty,
    "large_error": large_error,
    "html_error": html_error,
    "gzip": encoded(gzip.compress, "gzip"),
    "deflate": encoded(deflated, "deflate"),
    "br": encoded(brotli.compress, "br"),
    "zstd": encoded(zstandard.ZstdCompressor().compress, "zstd"),
    "byte_by_byte": byte_by_byte,
    "crlf": crlf,
    "endless": endless,
    "flood": flood,
    "parrots": parrots,
    "redirects": redirects,
    "fine": Exchange.serve_well,
    "default": Exchange.serve_well,
    "large": Exchange.serve_well,
}


@pytest.fixture(scope="session")
def running_provider() -> Iterator[FaultServer]:
    """Serve the provider until the last test is over."""
    server, started = FaultServer(SCENARIOS), Event()
    thread = Thread(target=server.run, args=[started], daemon=True)
    thread.start()
    assert started.wait(10)
    yield server
    server.stop()
    thread.join(10)


@pytest.fixture
def provider(running_provider: FaultServer) -> FaultServer:
    """Return the provider, its memory fresh."""
    running_provider.clear()
    return running_provider


@dataclass(frozen=True)
class Api:
    """One API: its path, the provider that speaks it, and what is particular to it."""

    path: str
    maker: str

    def body(self, **more: Any) -> dict[str, Any]:
        """Return a call."""
        if self.path == RESPONSES:
            return {"model": "auto", "input": "Schreib etwas – 日本語", **more}
        turns = [{"role": "user", "content": "Schreib etwas – 日本語"}]
        limit = {"max_tokens": 9} if self.path == MESSAGES else {}
        return {"model": "auto", "messages": turns, **limit, **more}

    def good(self, model: str, *, stream: bool) -> bytes:
        """Return what a healthy model answers."""
        if stream:
            return stream_of(self.path, model).whole
        return json.dumps(whole_answer(self.path, model), ensure_ascii=False).encode()

    def __str__(self) -> str:
        """Return the API's name, as the id of its tests."""
        return self.path.removeprefix("/v1/").replace("/", ".")


@dataclass
class Service:
    """The service in front of the provider, and a way to ask it without a server between.

    Attributes:
        app: The service.
        api: The API that is asked.
    """

    app: Starlette
    api: Api
    calls: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, times: int = 1, **more: Any) -> list[httpx.Response]:
        """Make calls, one after the other, and return the answers."""
        return anyio.run(self.aask, times, more)

    async def aask(self, times: int, more: Mapping[str, Any], pause_s: float = 0) -> list[httpx.Response]:
        """Make calls within an event loop."""
        headers = more.get("headers", {})
        body = self.api.body(**{key: value for key, value in more.items() if key != "headers"})
        content = json.dumps(body, ensure_ascii=False).encode()
        async with (
            self.app.router.lifespan_context(self.app),
            httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://plano.test") as client,
        ):
            answers = []
            for turn in range(times):
                await anyio.sleep(pause_s if turn else 0)
                head = {"content-type": "application/json", **headers}
                answers.append(await client.post(self.api.path, content=content, headers=head))
            return answers


APIS: Final = (Api(CHAT, "openai"), Api(MESSAGES, "anthropic"), Api(RESPONSES, "openai"))


@pytest.fixture(params=[str(api) for api in APIS])
def api(request: pytest.FixtureRequest) -> Api:
    """Return each of the APIs."""
    return next(api for api in APIS if str(api) == request.param)


def patience_with(models: Sequence[str]) -> str:
    """Return deadlines: short where one of the models lets them pass, else long enough for a busy machine."""
    return HASTE if SLOW & {model.rpartition("/")[2] for model in models} else PATIENCE


@pytest.fixture
def configured(provider: FaultServer) -> Callable[..., str]:
    """Return what writes a configuration: a route with these models of one maker, and the fault server for all."""

    def write(
        maker: str,
        *models: str,
        more: str = "",
        provider_more: str = "",
        forward: str = "",
        windows: Mapping[str, int] | None = None,
    ) -> str:
        url = provider.url if maker == "anthropic" else f"{provider.url}/v1"
        lines = ["mode: forward", f"forward: {forward or patience_with(models)}", "model_providers:"]
        for name in dict.fromkeys((*models, "default")):
            kind = "default: true, " if name == "default" else ""
            key = f"access_key: {KEYS[maker]}"
            window = f", capabilities: {{window: {(windows or {})[name]}}}" if name in (windows or {}) else ""
            lines += [f"  - {{model: {maker}/{name}, {kind}base_url: '{url}', {key}{provider_more}{window}}}"]
        listed = ", ".join(f"{maker}/{name}" for name in models)
        lines += ["routing_preferences:", f"  - {{name: code, description: writing code, models: [{listed}]}}"]
        return "\n".join([*lines, more, ""])

    return write


@pytest.fixture
def mixed(provider: FaultServer, app_of: Callable[..., Starlette]) -> Callable[..., Starlette]:
    """Return what makes the service of a route with these qualified models, each with its maker's key."""

    def make(*models: str, more: str = "", forward: str = "") -> Starlette:
        lines = ["mode: forward", f"forward: {forward or patience_with(models)}", "model_providers:"]
        for number, model in enumerate(models):
            maker = model.partition("/")[0]
            url = provider.url if maker == "anthropic" else f"{provider.url}/v1"
            kind = "" if number else "default: true, "
            lines += [f"  - {{model: {model}, {kind}base_url: '{url}', access_key: {KEYS[maker]}}}"]
        lines += [f"routing_preferences: [{{name: code, description: code, models: [{', '.join(models)}]}}]", more, ""]
        return app_of("\n".join(lines), FixedClassifier({"code": 0.9}))

    return make


@pytest.fixture
def service(api: Api, configured: Callable[..., str], app_of: Callable[..., Starlette]) -> Callable[..., Service]:
    """Return what makes the service of a route with these models of the API's maker."""

    def make(*models: str, **more: Any) -> Service:
        text = configured(api.maker, *models, **more)
        return Service(app_of(text, FixedClassifier({"code": 0.9})), api)

    return make


@pytest.fixture
def ask_chat() -> Callable[..., httpx.Response]:
    """Return what makes one Chat Completions call to an app."""
    return lambda app, **more: Service(app, APIS[0]).ask(**more)[0]


@pytest.fixture
def ask_in(api: Api) -> Callable[..., httpx.Response]:
    """Return what makes one call of the API to an app."""
    return lambda app, **more: Service(app, api).ask(**more)[0]


@dataclass(frozen=True)
class Caller:
    """One way to send: a library, blocking or async."""

    library: Any
    is_async: bool

    def __str__(self) -> str:
        """Return its name, as the id of its tests."""
        return f"{self.library.__name__} {'async' if self.is_async else 'blocking'}"

    def send(self, transport: Any, url: str, **request: Any) -> Any:
        """Send one request through a transport, and return the response, read."""
        if self.is_async:
            return anyio.run(self._asend, transport, url, request)
        with self.library.Client(transport=transport) as client:
            return client.request(request.pop("method", "POST"), url, **request)

    async def _asend(self, transport: Any, url: str, request: dict[str, Any]) -> Any:
        """Send it within an event loop."""
        async with self.library.AsyncClient(transport=transport) as client:
            return await client.request(request.pop("method", "POST"), url, **request)


CALLERS: Final = [Caller(library, is_async) for library in (httpx, httpx2) for is_async in (False, True)]


@pytest.fixture(params=[str(caller) for caller in CALLERS])
def caller(request: pytest.FixtureRequest) -> Caller:
    """Return each of the ways to send."""
    return next(caller for caller in CALLERS if str(caller) == request.param)


@pytest.fixture
def outbound(configured: Callable[..., str], settings_of: Callable[[str], Settings]) -> Iterator[Callable[..., Any]]:
    """Return what makes a transport for a route with these models of one maker; keywords are those of `configured`."""
    with ExitStack() as routers:

        def make(
            maker: str, *models: str, mode: str = "rewrite", inner: object = None, chances: Any = None, **more: Any
        ) -> Any:
            text = configured(maker, *models, **more).replace("mode: forward", f"mode: {mode}")
            settings = settings_of(text)
            router = build_router(settings, classifier=FixedClassifier({"code": 0.9} if chances is None else chances))
            routers.callback(router.close)
            return plano_asgi.transport(inner, settings=settings, router=router)

        yield make
