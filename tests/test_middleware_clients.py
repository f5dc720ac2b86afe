"""The official SDKs as clients of an app behind the middleware: what the app reads, what the client reads."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import anthropic
import anyio
import openai
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plano_asgi import PlanoMiddleware
from plano_asgi.testing import FixedClassifier

CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
  - model: anthropic/claude-sonnet-4-20250514
routing_preferences:
  - {name: code, description: writing code, models: [openai/gpt-4o, anthropic/claude-sonnet-4-20250514]}
"""
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
TURNS: Final = [{"role": "user", "content": 'Schreib "model":"auto" – 日本語 \U0001f680\n'}]
TOOL: Final = {"type": "object", "properties": {"model": {"type": "string"}}}
ODD: Final = {"metadata": {"model": "auto"}, "seed": 12345678901234567890, "x": [1.0, -0.0, 1e300, None]}

Clients = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Api:
    """One API as its SDK calls it, and the words in its answers."""

    sdk: str
    path: str
    method: Callable[[Any], Any]
    arguments: Mapping[str, Any]
    model: str
    words: Callable[[Any], str]
    words_of_event: Callable[[Any], str]


APIS: Final = (
    Api(
        sdk="openai",
        path=CHAT,
        method=lambda client: client.chat.completions.create,
        arguments={
            "messages": TURNS,
            "model": "auto",
            "temperature": 1.0,
            "tools": [{"type": "function", "function": {"name": "f", "parameters": TOOL}}],
            "extra_body": ODD,
        },
        model="gpt-4o",
        words=lambda answer: answer.choices[0].message.content,
        words_of_event=lambda event: event.choices[0].delta.content,
    ),
    Api(
        sdk="openai",
        path=RESPONSES,
        method=lambda client: client.responses.create,
        arguments={"input": TURNS, "model": "auto", "instructions": "be brief", "extra_body": ODD},
        model="gpt-4o",
        words=lambda answer: answer.output_text,
        words_of_event=lambda event: event.delta if event.type == "response.output_text.delta" else "",
    ),
    Api(
        sdk="anthropic",
        path=MESSAGES,
        method=lambda client: client.messages.create,
        arguments={
            "messages": TURNS,
            "model": "auto",
            "max_tokens": 5,
            "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
            "tools": [{"name": "f", "input_schema": TOOL}],
            "extra_body": ODD,
        },
        model="claude-sonnet-4-20250514",
        words=lambda answer: answer.content[0].text,
        words_of_event=lambda event: event.delta.text if event.type == "content_block_delta" else "",
    ),
)
every_api = pytest.mark.parametrize("api", APIS, ids=lambda api: api.path.removeprefix("/v1/"))


@dataclass(frozen=True)
class Witness:
    """An app that notes the heads and bodies of the requests that pass, and changes nothing."""

    app: ASGIApp
    seen: list[tuple[list[tuple[bytes, bytes]], bytearray]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        body = bytearray()
        if scope["type"] == "http":
            self.seen.append((list(scope["headers"]), body))

        async def receive_and_note() -> Message:
            """Note a piece of the body."""
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        await self.app(scope, receive_and_note, send)


def whole_answer(path: str, model: str) -> object:
    """Return an API's answer that says the model's name."""
    if path == CHAT:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": model}}
        return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    if path == MESSAGES:
        usage = {"input_tokens": 1, "output_tokens": 1}
        head = {"id": "1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
        return {**head, "stop_sequence": None, "usage": usage, "content": [{"type": "text", "text": model}]}
    text = {"type": "output_text", "text": model, "annotations": []}
    item = {"id": "2", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    return {"id": "1", "object": "response", "created_at": 0, "model": "m", "status": "completed", "output": [item]}


def events(path: str, model: str) -> Iterator[Mapping[str, object]]:
    """Yield an API's events that say the model's name, a letter each."""
    if path == CHAT:
        for letter in model:
            choice = {"index": 0, "delta": {"content": letter}, "finish_reason": None}
            yield {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
    elif path == MESSAGES:
        usage = {"input_tokens": 1, "output_tokens": 1}
        head = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
        yield {"type": "message_start", "message": {**head, "stop_reason": None, "stop_sequence": None}}
        yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        for letter in model:
            yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": letter}}
        yield {"type": "content_block_stop", "index": 0}
        yield {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage}
        yield {"type": "message_stop"}
    else:
        place = {"item_id": "2", "output_index": 0, "content_index": 0, "logprobs": []}
        for number, letter in enumerate(model):
            yield {"type": "response.output_text.delta", "sequence_number": number, "delta": letter, **place}
        yield {"type": "response.completed", "sequence_number": len(model), "response": whole_answer(path, model)}


async def model_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as a model would, with the name of the model that was asked for."""
    assert scope["type"] == "http"
    message = await receive()
    assert not message["more_body"]
    request = json.loads(message["body"])
    if not request.get("stream"):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send(
            {"type": "http.response.body", "body": json.dumps(whole_answer(scope["path"], request["model"])).encode()}
        )
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for event in events(scope["path"], request["model"]):
        line = f"event: {event['type']}\n" if "type" in event else ""
        await send(
            {"type": "http.response.body", "body": f"{line}data: {json.dumps(event)}\n\n".encode(), "more_body": True}
        )
    end = b"data: [DONE]\n\n" if scope["path"] == CHAT else b""
    await send({"type": "http.response.body", "body": end})


@dataclass(frozen=True)
class Host:
    """A served app behind the middleware, with a witness on either side of it."""

    url: str
    in_front: Witness
    behind: Witness

    def clear(self) -> None:
        """Forget what was seen."""
        self.in_front.seen.clear()
        self.behind.seen.clear()

    def clients(self, **options: Any) -> dict[str, Any]:
        """Return both SDKs' blocking clients, by name."""
        return {
            "openai": openai.OpenAI(base_url=f"{self.url}/v1", api_key="sk-of-the-client", **options),
            "anthropic": anthropic.Anthropic(base_url=self.url, api_key="sk-of-the-client", **options),
        }

    def async_clients(self) -> dict[str, Any]:
        """Return both SDKs' asynchronous clients, by name."""
        return {
            "openai": openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="sk-of-the-client"),
            "anthropic": anthropic.AsyncAnthropic(base_url=self.url, api_key="sk-of-the-client"),
        }


@pytest.fixture(scope="module")
def host_of(behind: Callable[..., PlanoMiddleware], serve: Callable[[Any], str]) -> Callable[..., Host]:
    """Return what serves a model's app behind the middleware, with some more settings or another classifier."""

    def make(more: str = "", classifier: FixedClassifier | None = None) -> Host:
        inner = Witness(model_app)
        in_front = Witness(behind(without_lifespan(inner), CONFIG + more, classifier or FixedClassifier({"code": 0.9})))
        return Host(serve(in_front), in_front, inner)

    return make


def without_lifespan(app: ASGIApp) -> ASGIApp:
    """Return an app that answers lifespan by itself."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for _ in range(2):
            message = await receive()
            await send({"type": f"{message['type']}.complete"})

    return serve


@pytest.fixture(scope="module")
def served(host_of: Callable[..., Host]) -> Host:
    """Return the host that most tests talk to."""
    return host_of()


@pytest.fixture
def host(served: Host) -> Host:
    """Return the host, its witnesses fresh."""
    served.clear()
    return served


@pytest.fixture(scope="module")
def clients(served: Host) -> Iterator[Clients]:
    """Return both SDKs' blocking clients, by name; they would try again twice."""
    clients = served.clients()
    with ExitStack() as stack:
        for client in clients.values():
            stack.enter_context(client)
        yield clients


def assert_only_the_model_was_changed(host: Host, api: Api, *, calls: int) -> None:
    """Check what the app read against what the client sent: the top-level model and the length differ, nothing else."""
    expected = []
    for headers, sent in host.in_front.seen:
        assert sent.count(b'"model":"auto"') == 2
        read = sent.replace(b'"model":"auto"', b'"model":"%s"' % api.model.encode(), 1)
        length = (b"content-length", str(len(read)).encode())
        expected.append(([*(header for header in headers if header[0] != b"content-length"), length], read))
    assert len(expected) == calls
    assert sorted(host.behind.seen) == sorted(expected)


@every_api
def test_blocking_client_is_routed(api: Api, host: Host, clients: Clients) -> None:
    """A blocking SDK reads a plain answer and a stream of the decided model; the app reads its bytes but the model."""
    create = api.method(clients[api.sdk])

    plain = create(**api.arguments)
    streamed = "".join(api.words_of_event(event) for event in create(**api.arguments, stream=True))

    assert (api.words(plain), streamed) == (api.model, api.model)
    assert_only_the_model_was_changed(host, api, calls=2)


@every_api
def test_asynchronous_client_is_routed(api: Api, host: Host) -> None:
    """An asynchronous SDK reads the same, many calls at once; the app reads its bytes but the model."""
    read: list[str] = []

    async def main() -> None:
        """Make four plain calls and four streamed ones at once."""
        async with host.async_clients()[api.sdk] as client, anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(plain, api.method(client))
                tasks.start_soon(streamed, api.method(client))

    async def plain(create: Any) -> None:
        """Read a whole answer."""
        read.append(api.words(await create(**api.arguments)))

    async def streamed(create: Any) -> None:
        """Read a stream."""
        stream = await create(**api.arguments, stream=True)
        read.append("".join([api.words_of_event(event) async for event in stream]))

    anyio.run(main)

    assert read == [api.model] * 8
    assert_only_the_model_was_changed(host, api, calls=8)


def test_anthropic_stream_helper_is_routed(host: Host, clients: Clients) -> None:
    """The SDK's own gatherer of events makes a message of the stream."""
    with clients["anthropic"].messages.stream(max_tokens=5, model="auto", messages=TURNS) as stream:
        said = stream.get_final_text()

    assert said == "claude-sonnet-4-20250514"
    assert len(host.behind.seen) == 1


@every_api
def test_answer_tells_the_client_of_the_decision(api: Api, clients: Clients) -> None:
    """The raw answer of either SDK, a stream's too, has the decision in its headers."""
    raw = api.method(clients[api.sdk]).__self__.with_raw_response.create

    for stream in (False, True):
        answer = raw(**api.arguments, stream=stream)
        assert (answer.headers["x-plano-route"], answer.headers["x-plano-reason"]) == ("code", "matched")
        answer.http_response.close()


@every_api
def test_policy_in_extra_body_is_obeyed_and_cut(api: Api, host: Host, clients: Clients) -> None:
    """A policy that a client sends as `extra_body` decides that call, and the app does not see it."""
    models = ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-20250514"]
    policy = [{"name": "code", "description": "all", "models": models}]

    answer = api.method(clients[api.sdk])(**{**api.arguments, "extra_body": {"routing_preferences": policy}})

    assert api.words(answer) == ("gpt-4o-mini" if api.sdk == "openai" else models[1].partition("/")[2])
    assert b"routing_preferences" not in host.behind.seen[0][1]


MALFORMED: Final[Mapping[str, Any]] = {"extra_body": {"routing_policy": {}}}
UNDECLARED: Final[Mapping[str, Any]] = {
    "extra_body": {"routing_preferences": [{"name": "x", "description": "all", "models": ["openai/gpt-9"]}]}
}


@every_api
@pytest.mark.parametrize(
    ("changes", "fault"),
    [(MALFORMED, ("BadRequestError", "invalid_type")), (UNDECLARED, ("PermissionDeniedError", "model_not_allowed"))],
    ids=["malformed policy", "undeclared model"],
)
def test_refusal_is_the_clients_own_error_and_not_tried_again(
    api: Api, changes: Mapping[str, Any], fault: tuple[str, str], host: Host, clients: Clients
) -> None:
    """What the middleware refuses is the SDK's own typed error, raised after one request; the app is not asked."""
    sdk: Any = {"openai": openai, "anthropic": anthropic}[api.sdk]

    with pytest.raises(getattr(sdk, fault[0])) as caught:
        api.method(clients[api.sdk])(**{**api.arguments, **changes})

    assert str(caught.value.request_id).startswith("req_")
    assert api.sdk == "anthropic" or caught.value.code == fault[1]
    assert (len(host.in_front.seen), host.behind.seen) == (1, [])


@every_api
def test_app_judges_what_the_middleware_cannot_read(api: Api, host: Host, clients: Clients) -> None:
    """A call of an odd shape reaches the app as the SDK sent it."""
    turns = {"messages" if "messages" in api.arguments else "input": [{"role": "nobody", "content": "hi"}]}

    answer = api.method(clients[api.sdk])(**{**api.arguments, **turns})

    assert api.words(answer) == "auto"
    assert host.behind.seen == host.in_front.seen


@every_api
def test_strict_refusal_is_the_clients_own_error(api: Api, host_of: Callable[..., Host]) -> None:
    """Under `strict` the same call is a `BadRequestError`, and one beyond the bound a 413, neither tried again."""
    host = host_of("strict: true\nlimits: {body_bytes: 3000}\n")
    sdk: Any = {"openai": openai, "anthropic": anthropic}[api.sdk]
    key = "messages" if "messages" in api.arguments else "input"

    with host.clients()[api.sdk] as client:
        with pytest.raises(sdk.BadRequestError, match="role"):
            api.method(client)(**{**api.arguments, key: [{"role": "nobody", "content": "hi"}]})
        with pytest.raises(sdk.APIStatusError, match="3000 bytes") as caught:
            api.method(client)(**{**api.arguments, "extra_body": {"pad": "x" * 3_000}})

    assert caught.value.status_code == 413
    assert (len(host.in_front.seen), host.behind.seen) == (2, [])


@every_api
def test_rejection_is_the_clients_own_server_error(api: Api, host_of: Callable[..., Host]) -> None:
    """Under `reject` a call that cannot be decided is a server error that says when to try again."""
    host = host_of("routing: {on_error: reject}\nstartup: background\n", FixedClassifier({}, before=lambda: 1 / 0))
    sdk: Any = {"openai": openai, "anthropic": anthropic}[api.sdk]
    status, name = (503, "InternalServerError") if api.sdk == "openai" else (529, "OverloadedError")

    with host.clients(max_retries=0)[api.sdk] as client, pytest.raises(sdk.InternalServerError) as caught:
        api.method(client)(**api.arguments)

    assert (caught.value.status_code, type(caught.value).__name__) == (status, name)
    assert caught.value.response.headers["retry-after"] == "1"
    assert "x-should-retry" not in caught.value.response.headers
    assert host.behind.seen == []
