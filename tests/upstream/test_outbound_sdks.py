"""The official SDKs calling through `transport` and `wrap_client`, in every API, to providers of every API."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import anthropic
import anyio
import httpx
import httpx2
import openai
import pydantic
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import plano_asgi
from plano_asgi.assembly import build_router
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

TURNS: Final[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
ARGUMENTS: Final = {"city": "Oslo"}
SCHEMA: Final[Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT_TOOLS: Final[Any] = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
RESPONSES_TOOLS: Final[Any] = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]
MESSAGES_TOOLS: Final[Any] = [{"name": "weather", "input_schema": SCHEMA}]
MAKERS: Final = {"mistral": "chat", "anthropic": "messages", "openai": "responses"}
KEYS: Final = {maker: f"sk-canary-of-{maker}" for maker in MAKERS}


class Weather(pydantic.BaseModel):
    """What a structured answer holds."""

    city: str
    degrees: int


SAID: Final = Weather(city="Oslo", degrees=3)


class Speaker:
    """A provider of all three APIs: calls the tool it is given, else says the weather as JSON; remembers what it heard.

    Attributes:
        heard: The requests, with their bodies.
        url: Where it is.
    """

    def __init__(self) -> None:
        """Have heard nothing."""
        self.heard: list[tuple[Request, dict[str, Any]]] = []
        self.url = ""
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/messages", self.messages, methods=["POST"]),
                Route("/v1/responses", self.responses, methods=["POST"]),
            ]
        )

    async def _take(self, request: Request) -> dict[str, Any]:
        """Remember a request."""
        body: dict[str, Any] = await request.json()
        self.heard.append((request, body))
        return body

    async def chat(self, request: Request) -> Response:
        """Answer in Chat Completions."""
        body = await self._take(request)
        function = {"name": "weather", "arguments": json.dumps(ARGUMENTS)}
        call = {"id": "call_1", "type": "function", "function": function}
        said: dict[str, Any] = {"role": "assistant", "content": SAID.model_dump_json()}
        if body.get("tools"):
            said |= {"content": None, "tool_calls": [call]}
        reason = "tool_calls" if body.get("tools") else "stop"
        usage = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
        head = {"id": "c", "created": 0, "model": body["model"]}
        if not body.get("stream"):
            choice = {"index": 0, "finish_reason": reason, "message": said}
            return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        if body.get("tools"):
            said["tool_calls"] = [{**call, "index": 0}]
        deltas: list[dict[str, Any]] = [
            {"delta": said, "finish_reason": None},
            {"delta": {}, "finish_reason": reason},
        ]
        chunks: list[Any] = [
            {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, **delta}]} for delta in deltas
        ]
        return events([*chunks, "[DONE]"])

    async def messages(self, request: Request) -> Response:
        """Answer in Messages."""
        body = await self._take(request)
        block: dict[str, Any] = {"type": "text", "text": SAID.model_dump_json()}
        if body.get("tools"):
            block = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": ARGUMENTS}
        reason = "tool_use" if body.get("tools") else "end_turn"
        message = {"id": "m", "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None}
        usage = {"input_tokens": 7, "output_tokens": 4}
        if not body.get("stream"):
            return JSONResponse({**message, "content": [block], "stop_reason": reason, "usage": usage})
        delta = {"type": "text_delta", "text": block.get("text")}
        if body.get("tools"):
            delta = {"type": "input_json_delta", "partial_json": json.dumps(ARGUMENTS)}
        empty: dict[str, Any] = {**block, **({"input": {}} if body.get("tools") else {"text": ""})}
        return events(
            [
                {
                    "type": "message_start",
                    "message": {**message, "content": [], "stop_reason": None, "usage": usage},
                },
                {"type": "content_block_start", "index": 0, "content_block": empty},
                {"type": "content_block_delta", "index": 0, "delta": delta},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
                {"type": "message_stop"},
            ]
        )

    async def responses(self, request: Request) -> Response:
        """Answer in Responses."""
        body = await self._take(request)
        part = {"type": "output_text", "text": SAID.model_dump_json(), "annotations": []}
        item: dict[str, Any] = {"id": "i", "type": "message", "role": "assistant", "status": "completed"}
        item |= {"content": [part]}
        if body.get("tools"):
            item = {"id": "i", "type": "function_call", "call_id": "call_1", "name": "weather", "status": "completed"}
            item |= {"arguments": json.dumps(ARGUMENTS)}
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        usage = {"input_tokens": 7, "output_tokens": 4, "total_tokens": 11, **details}
        head: dict[str, Any] = {"id": "r", "object": "response", "created_at": 0, "model": body["model"]}
        head |= {"error": None, "tools": [], "tool_choice": "auto", "parallel_tool_calls": True}
        done = {**head, "status": "completed", "output": [item], "usage": usage}
        if not body.get("stream"):
            return JSONResponse(done)
        began = {**head, "status": "in_progress", "output": [], "usage": None}
        told: list[dict[str, Any]] = [{"type": "response.created", "response": began}]
        told += [{"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress"}}]
        if not body.get("tools"):
            place = {"item_id": "i", "output_index": 0, "content_index": 0}
            told += [{"type": "response.content_part.added", "part": {**part, "text": ""}, **place}]
            told += [{"type": "response.output_text.delta", "delta": part["text"], "logprobs": [], **place}]
        told += [{"type": "response.output_item.done", "output_index": 0, "item": item}]
        told += [{"type": "response.completed", "response": done}]
        return events([{**event, "sequence_number": number} for number, event in enumerate(told)])


def events(told: list[Any]) -> Response:
    """Return a stream of events."""

    def written() -> Iterator[str]:
        """Write them, with the names of their types."""
        for event in told:
            name = f"event: {event['type']}\n" if isinstance(event, Mapping) and "type" in event else ""
            yield f"{name}data: {event if isinstance(event, str) else json.dumps(event)}\n\n"

    return StreamingResponse(written(), media_type="text/event-stream")


@pytest.fixture(scope="module")
def speaker(serve: Callable[[Starlette], str]) -> Speaker:
    """Return the provider, served."""
    speaker = Speaker()
    speaker.url = serve(speaker.app)
    return speaker


@pytest.fixture
def routing(speaker: Speaker, settings_of: Callable[[str], Settings]) -> Iterator[Callable[..., dict[str, Any]]]:
    """Return what gives the arguments of `transport` for a route with one model of a maker, all calls taking it."""
    speaker.heard.clear()
    with ExitStack() as routers:

        def make(maker: str, more: str = "") -> dict[str, Any]:
            url = speaker.url if maker == "anthropic" else f"{speaker.url}/v1"
            at = f"base_url: '{url}', access_key: {KEYS[maker]}"
            text = f"""
model_providers: [{{model: {maker}/chosen, {at}}}, {{model: openai/default, default: true, {at}}}]
routing_preferences: [{{name: weather, description: weather, models: [{maker}/chosen]}}]
{more}
"""
            settings = settings_of(text)
            router = build_router(settings, classifier=FixedClassifier({"weather": 0.9}))
            routers.callback(router.close)
            return {"settings": settings, "router": router}

        yield make


def blocking_openai(routing: dict[str, Any]) -> openai.OpenAI:
    """Return OpenAI's blocking client, made with the transport."""
    http_client = openai.DefaultHttpxClient(transport=plano_asgi.transport(**routing))
    return openai.OpenAI(api_key="sk-of-the-client", http_client=http_client, max_retries=0)


def async_openai(routing: dict[str, Any]) -> openai.AsyncOpenAI:
    """Return OpenAI's async client, wrapped."""
    client = openai.AsyncOpenAI(api_key="sk-of-the-client", max_retries=0)
    return plano_asgi.wrap_client(client, **routing)


def blocking_anthropic(routing: dict[str, Any]) -> anthropic.Anthropic:
    """Return Anthropic's blocking client, wrapped."""
    return plano_asgi.wrap_client(anthropic.Anthropic(api_key="sk-of-the-client", max_retries=0), **routing)


def async_anthropic(routing: dict[str, Any]) -> anthropic.AsyncAnthropic:
    """Return Anthropic's async client, made with the transport."""
    http_client = anthropic.DefaultAsyncHttpxClient(transport=plano_asgi.transport(**routing))
    return anthropic.AsyncAnthropic(api_key="sk-of-the-client", http_client=http_client, max_retries=0)


every_provider = pytest.mark.parametrize("maker", list(MAKERS))


@every_provider
def test_openai_blocking(maker: str, routing: Callable[..., Any], speaker: Speaker) -> None:
    """Chat Completions and Responses: answers, streams, tools and structured output, from a provider of each API."""
    with blocking_openai(routing(maker)) as client:
        chat, responses = client.chat.completions, client.responses
        answer = chat.create(model="auto", messages=TURNS)
        chunks = list(chat.create(model="auto", messages=TURNS, stream=True))
        called = chat.create(model="auto", messages=TURNS, tools=CHAT_TOOLS)
        parsed = chat.parse(model="auto", messages=TURNS, response_format=Weather)
        response = responses.create(model="auto", input="Weather?")
        told = list(responses.create(model="auto", input="Weather?", stream=True))
        function: Any = responses.create(model="auto", input="Weather?", tools=RESPONSES_TOOLS).output[-1]
        structured = responses.parse(model="auto", input="Weather?", text_format=Weather)

    text = SAID.model_dump_json()
    assert (answer.choices[0].message.content, answer.model, answer.usage and answer.usage.prompt_tokens) == (
        text,
        "chosen",
        7,
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    call: Any = next(iter(called.choices[0].message.tool_calls or []))
    assert (called.choices[0].finish_reason, call.function.name) == ("tool_calls", "weather")
    assert json.loads(call.function.arguments) == ARGUMENTS
    assert parsed.choices[0].message.parsed == SAID
    assert (response.output_text, told[-1].type) == (text, "response.completed")
    assert (function.name, json.loads(function.arguments)) == ("weather", ARGUMENTS)
    assert structured.output_parsed == SAID
    assert_keys_stay(speaker, maker)


@every_provider
def test_openai_async(maker: str, routing: Callable[..., Any], speaker: Speaker) -> None:
    """The same of the async client, wrapped."""

    async def talk() -> tuple[Any, ...]:
        """Make the calls."""
        async with async_openai(routing(maker)) as client:
            chat, responses = client.chat.completions, client.responses
            answer = await chat.create(model="auto", messages=TURNS)
            async with chat.stream(model="auto", messages=TURNS, tools=CHAT_TOOLS) as stream:
                streamed = await stream.get_final_completion()
            parsed = await chat.parse(model="auto", messages=TURNS, response_format=Weather)
            async with responses.stream(model="auto", input="Weather?", text_format=Weather) as events:
                structured = await events.get_final_response()
            return answer, streamed, parsed, structured

    answer, streamed, parsed, structured = anyio.run(talk)

    assert answer.choices[0].message.content == SAID.model_dump_json()
    assert json.loads(streamed.choices[0].message.tool_calls[0].function.arguments) == ARGUMENTS
    assert (parsed.choices[0].message.parsed, structured.output_parsed) == (SAID, SAID)
    assert_keys_stay(speaker, maker)


@every_provider
def test_anthropic_blocking(maker: str, routing: Callable[..., Any], speaker: Speaker) -> None:
    """Messages: answers, streams, tools and structured output, from a provider of each API."""
    with blocking_anthropic(routing(maker)) as client:
        messages = client.messages
        answer: Any = messages.create(model="auto", max_tokens=99, messages=TURNS).content[0]
        with messages.stream(model="auto", max_tokens=99, messages=TURNS) as stream:
            streamed = "".join(stream.text_stream)
        called: Any = messages.create(model="auto", max_tokens=99, messages=TURNS, tools=MESSAGES_TOOLS)
        parsed = messages.parse(model="auto", max_tokens=99, messages=TURNS, output_format=Weather)

    text = SAID.model_dump_json()
    assert (answer.text, streamed, parsed.parsed_output) == (text, text, SAID)
    block = called.content[-1]
    assert (called.stop_reason, block.name, block.input) == ("tool_use", "weather", ARGUMENTS)
    assert_keys_stay(speaker, maker)


@every_provider
def test_anthropic_async(maker: str, routing: Callable[..., Any], speaker: Speaker) -> None:
    """The same of the async client."""

    async def talk() -> tuple[Any, Any]:
        """Make the calls."""
        async with async_anthropic(routing(maker)) as client:
            answer = await client.messages.create(model="auto", max_tokens=99, messages=TURNS)
            async with client.messages.stream(
                model="auto", max_tokens=99, messages=TURNS, tools=MESSAGES_TOOLS
            ) as stream:
                return answer, await stream.get_final_message()

    answer, streamed = anyio.run(talk)

    assert answer.content[0].text == SAID.model_dump_json()
    assert (streamed.content[-1].name, streamed.content[-1].input) == ("weather", ARGUMENTS)
    assert_keys_stay(speaker, maker)


def assert_keys_stay(speaker: Speaker, maker: str) -> None:
    """Make sure that the provider was asked in its own API, with its own key, and never shown the client's."""
    assert speaker.heard
    for request, body in speaker.heard:
        headers = str(request.headers)
        assert (KEYS[maker] in headers, "sk-of-the-client" in headers) == (True, False)
        assert body["model"] == "chosen"
        if maker != "openai":  # which speaks both
            assert request.url.path.endswith({"chat": "/chat/completions", "messages": "/messages"}[MAKERS[maker]])


@pytest.mark.parametrize(
    ("model", "name"),
    [("filtered", "BadRequestError"), ("limited", "RateLimitError"), ("down", "InternalServerError")],
)
@pytest.mark.parametrize("sdk", [openai, anthropic], ids=["openai", "anthropic"])
def test_errors_are_the_sdks_own(sdk: Any, model: str, name: str, outbound: Callable[..., Any]) -> None:
    """What a provider refuses, and that nobody answers, is raised as each SDK raises it."""
    transport = outbound(sdk.__name__, model, more="failover: {attempts: 1}")
    http_client = sdk.DefaultHttpxClient(transport=transport)
    if sdk is openai:
        client: Any = openai.OpenAI(api_key="x", http_client=http_client, max_retries=0)
        create = client.chat.completions.create
    else:
        client = anthropic.Anthropic(api_key="x", http_client=http_client, max_retries=0)
        create = partial(client.messages.create, max_tokens=9)
    with client, pytest.raises(getattr(sdk, name)) as told:
        create(model="auto", messages=TURNS)

    words = {"filtered": "content filter", "limited": "limited in its rate", "down": "attempts: "}
    assert words[model] in str(told.value)


class Hasty(openai.OpenAI):
    """A client that tries again at once."""

    def _calculate_retry_timeout(self, *arguments: Any, **more: Any) -> float:
        """Wait for nothing."""
        return 0.0


def test_retry_of_the_sdk_is_one_more_try_of_the_same_call(outbound: Callable[..., Any]) -> None:
    """What an SDK tries again by itself is answered in the end."""
    http_client = openai.DefaultHttpxClient(transport=outbound("openai", "fails_once", more="failover: {attempts: 1}"))
    with Hasty(api_key="x", http_client=http_client) as client:
        answer = client.chat.completions.create(model="auto", messages=TURNS)

    assert answer.model == "fails_once"


def test_wrapped_client_is_as_it_was(routing: Callable[..., Any]) -> None:
    """Key, URL, timeouts, retries and headers are those of the client that is wrapped, which stays as it is."""
    client = openai.OpenAI(
        api_key="mine",
        base_url="https://elsewhere.test/v1",
        timeout=7.5,
        max_retries=5,
        default_headers={"x-team": "blue"},
        http_client=openai.DefaultHttpxClient(headers={"x-client": "yes"}, max_redirects=3),
    )

    with plano_asgi.wrap_client(client, **routing("openai")) as wrapped:
        kept = (wrapped.api_key, str(wrapped.base_url), wrapped.timeout, wrapped.max_retries)
        assert kept == ("mine", "https://elsewhere.test/v1/", 7.5, 5)
        assert wrapped.default_headers["x-team"] == "blue"
        assert isinstance(wrapped, openai.OpenAI)
        assert wrapped.chat.completions.create(model="auto", messages=TURNS).model == "chosen"
        assert not client.is_closed()

    assert client.is_closed()


def test_hooks_and_connections_of_a_wrapped_client_serve_providers_too(
    routing: Callable[..., Any], speaker: Speaker
) -> None:
    """An event hook sees the request that a model provider gets; what a client mounts for its URL carries it."""
    seen: list[str] = []
    carrier = httpx2.HTTPTransport()
    http_client = openai.DefaultHttpxClient(
        auth=("me", "sk-of-the-client"),
        event_hooks={"request": [lambda request: seen.append(str(request.url))]},
        mounts={speaker.url: carrier, "all://": httpx2.MockTransport(lambda _: httpx2.Response(500))},
    )

    with plano_asgi.wrap_client(openai.OpenAI(api_key="x", http_client=http_client), **routing("openai")) as client:
        assert client.chat.completions.create(model="auto", messages=TURNS).model == "chosen"

    assert seen == [f"{speaker.url}/v1/chat/completions"]
    assert speaker.heard[0][0].headers["authorization"] == f"Bearer {KEYS['openai']}"


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_legacy_http_client_of_openai_is_wrapped(library: Any, routing: Callable[..., Any]) -> None:
    """OpenAI's SDK takes clients of both libraries, and so does `wrap_client`."""
    http_client = library.Client()

    with plano_asgi.wrap_client(openai.OpenAI(api_key="x", http_client=http_client), **routing("anthropic")) as client:
        chunks = list(client.chat.completions.create(model="auto", messages=TURNS, stream=True))

    assert {chunk.model for chunk in chunks} == {"chosen"}


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_azure_client_is_wrapped(api: str, routing: Callable[..., Any], speaker: Speaker) -> None:
    """Azure's paths, with the deployment in them or without, are calls as others are."""
    azure = openai.AzureOpenAI(api_key="azures", azure_endpoint="https://mine.test", api_version="2024-10-21")

    with plano_asgi.wrap_client(azure, **routing("anthropic")) as client:
        if api == "chat":
            model = client.chat.completions.create(model="my-deployment", messages=TURNS).model
        else:
            model = client.responses.create(model="my-deployment", input="Weather?").model

    assert model == "chosen"
    ((request, _),) = speaker.heard
    assert "azures" not in str(request.headers)


@pytest.mark.parametrize("value", [object(), httpx2.Client()], ids=["anything", "an HTTP client"])
def test_what_is_no_sdk_client_is_refused_clearly(value: object) -> None:
    """The error says what is taken instead."""
    with pytest.raises(TypeError, match=r"expected a client of the openai or the anthropic SDK, got \w+; other HTTP"):
        plano_asgi.wrap_client(value)
