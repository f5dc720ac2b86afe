"""The official SDKs, blocking and async, through the gateway in every pair of caller's and provider's API.

The provider is llmock, which was written by others: it answers as OpenAI (Chat Completions and Responses), as Mistral
(Chat Completions alone) and as Anthropic (Messages).
"""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import anthropic
import anyio
import openai
import pytest
from llmock.pytest_plugin import LLMock
from pydantic import BaseModel
from starlette.applications import Starlette

from plano_asgi.testing import FixedClassifier

QUESTION: Final = "How is the weather in Ulm?"
ANSWER: Final = "Sunny, 21 °C \N{BLACK SUN WITH RAYS}"
SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PROVIDERS: Final = {
    "chat": ("mistral", "/mistral/v1"),
    "openai": ("openai", "/v1"),
    "messages": ("anthropic", "/anthropic"),
}
every_pair = pytest.mark.parametrize(
    ("caller", "provider"),
    [(caller, provider) for caller in ("chat", "messages", "responses") for provider in PROVIDERS],
    ids=lambda name: name,
)


class Weather(BaseModel):
    """An answer of a given form."""

    city: str


@dataclass(frozen=True)
class Said:
    """What an SDK made of an answer.

    Attributes:
        text: Its words.
        calls: The tools it calls: id, name and arguments.
        end: Why it ended, in the words of the SDK's API.
        tokens: Those of the answer.
    """

    text: str
    calls: tuple[tuple[str, str, Any], ...]
    end: str
    tokens: int


def of_chat(answer: Any) -> Said:
    """Read a chat completion."""
    choice = answer.choices[0]
    calls = [
        (call.id, call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or ()
    ]
    return Said(choice.message.content or "", tuple(calls), choice.finish_reason, answer.usage.completion_tokens)


def of_message(answer: Any) -> Said:
    """Read a message."""
    text = "".join(block.text for block in answer.content if block.type == "text")
    calls = tuple((block.id, block.name, block.input) for block in answer.content if block.type == "tool_use")
    return Said(text, calls, answer.stop_reason, answer.usage.output_tokens)


def of_response(answer: Any) -> Said:
    """Read a response."""
    calls = [item for item in answer.output if item.type == "function_call"]
    called = tuple((call.call_id, call.name, json.loads(call.arguments)) for call in calls)
    return Said(answer.output_text, called, answer.status, answer.usage.output_tokens)


@dataclass(frozen=True)
class Speaker:
    """How one API's SDK makes calls; every method returns arguments for `create` or reads what comes back."""

    name: str
    read: Callable[[Any], Said]
    ends: tuple[str, str]

    def resource(self, client: Any) -> Any:
        """Return that part of a client that makes calls."""
        return {"chat": lambda: client.chat.completions, "messages": lambda: client.messages}.get(
            self.name, lambda: client.responses
        )()

    def call(self, *later: Any) -> dict[str, Any]:
        """Return a call."""
        turns = [{"role": "user", "content": QUESTION}, *later]
        if self.name == "responses":
            return {"model": "auto", "input": turns, "max_output_tokens": 99}
        return {"model": "auto", "messages": turns, "max_tokens": 99}

    @property
    def tools(self) -> dict[str, Any]:
        """Return the one tool there is."""
        tool = {"name": "weather", "description": "Weather of a city"}
        if self.name == "chat":
            return {"tools": [{"type": "function", "function": {**tool, "parameters": SCHEMA}}]}
        if self.name == "messages":
            return {"tools": [{**tool, "input_schema": SCHEMA}]}
        return {"tools": [{"type": "function", **tool, "parameters": SCHEMA}]}

    def after(self, calls: Any) -> list[dict[str, Any]]:
        """Return the turns of a tool that was called and has answered."""
        ((call_id, name, arguments),) = calls
        if self.name == "messages":
            used = {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
            result = {"type": "tool_result", "tool_use_id": call_id, "content": "sunny"}
            return [{"role": "assistant", "content": [used]}, {"role": "user", "content": [result]}]
        function = {"name": name, "arguments": json.dumps(arguments)}
        if self.name == "chat":
            call = {"id": call_id, "type": "function", "function": function}
            turn = {"role": "assistant", "content": None, "tool_calls": [call]}
            return [turn, {"role": "tool", "tool_call_id": call_id, "content": "sunny"}]
        result = {"type": "function_call_output", "call_id": call_id, "output": "sunny"}
        return [{"type": "function_call", "call_id": call_id, **function}, result]

    @property
    def form(self) -> dict[str, Any]:
        """Return what asks for an answer of the form, as the SDK's helpers take it."""
        name = {"chat": "response_format", "messages": "output_format", "responses": "text_format"}[self.name]
        return {name: Weather}

    def parsed(self, answer: Any) -> Any:
        """Return what the SDK has read out of an answer of the form."""
        if self.name == "chat":
            return answer.choices[0].message.parsed
        return answer.parsed_output if self.name == "messages" else answer.output_parsed


SPEAKERS: Final = {
    "chat": Speaker("chat", of_chat, ("stop", "tool_calls")),
    "messages": Speaker("messages", of_message, ("end_turn", "tool_use")),
    "responses": Speaker("responses", of_response, ("completed", "completed")),
}


@pytest.fixture(scope="module")
def gateways(app_of: Callable[..., Starlette], serve: Callable[[Starlette], str], llmock_server: Any) -> dict[str, str]:
    """Return the URL of a gateway in front of each of the providers."""
    urls = {}
    for kind, (maker, path) in PROVIDERS.items():
        declared = f"{{model: {maker}/m, default: true, base_url: '{llmock_server.url}{path}', access_key: sk-any}}"
        route = f"{{name: all, description: all, models: [{maker}/m]}}"
        text = f"mode: forward\nmodel_providers: [{declared}]\nrouting_preferences: [{route}]\n"
        urls[kind] = serve(app_of(text, FixedClassifier({"all": 0.9})))
    return urls


@pytest.fixture
def client_of(gateways: dict[str, str]) -> Iterator[Callable[[str, str], Any]]:
    """Return what makes the caller's blocking client of the gateway in front of a provider."""
    with ExitStack() as clients:

        def make(caller: str, provider: str) -> Any:
            """Make it."""
            url = gateways[provider]
            if caller == "messages":
                return clients.enter_context(anthropic.Anthropic(base_url=url, api_key="mine", max_retries=0))
            return clients.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key="mine", max_retries=0))

        yield make


def within_a_loop(caller: str, url: str, work: Callable[[Any, Speaker], Awaitable[Any]]) -> Any:
    """Do work with the caller's async client."""

    async def main() -> Any:
        """Open the client, and close it."""
        kind: Any = anthropic.AsyncAnthropic if caller == "messages" else openai.AsyncOpenAI
        path = "" if caller == "messages" else "/v1"
        async with kind(base_url=url + path, api_key="mine", max_retries=0) as client:
            return await work(client, SPEAKERS[caller])

    return anyio.run(main)


@every_pair
def test_plain_and_streamed(caller: str, provider: str, client_of: Callable[..., Any], llmock: LLMock) -> None:
    """A blocking client gets the words, the end and the tokens, at once and piece by piece."""
    llmock.reply(ANSWER, times=None)
    speaker, client = SPEAKERS[caller], client_of(caller, provider)

    whole = speaker.read(speaker.resource(client).create(**speaker.call()))
    streamed = streamed_by(speaker, client)

    assert (whole.text, whole.calls, whole.end) == (ANSWER, (), speaker.ends[0])
    assert (streamed.text, streamed.end) == (ANSWER, speaker.ends[0])
    assert whole.tokens > 0
    assert {record.status for record in llmock.requests} == {200}


def streamed_by(speaker: Speaker, client: Any, **more: Any) -> Said:
    """Make a streamed call by the SDK's own helper, and return what it has gathered."""
    if speaker.name == "chat":
        more["stream_options"] = {"include_usage": True}
    with speaker.resource(client).stream(**speaker.call(), **more) as stream:
        for _ in stream:
            pass
        if speaker.name == "messages":
            return speaker.read(stream.get_final_message())
        return speaker.read(stream.get_final_completion() if speaker.name == "chat" else stream.get_final_response())


@every_pair
def test_async(caller: str, provider: str, gateways: dict[str, str], llmock: LLMock) -> None:
    """An async client gets the same."""
    llmock.reply(ANSWER, times=None)

    async def work(client: Any, speaker: Speaker) -> tuple[Said, str]:
        """Make a plain and a streamed call."""
        whole = speaker.read(await speaker.resource(client).create(**speaker.call()))
        events = [event async for event in await speaker.resource(client).create(**speaker.call(), stream=True)]
        return whole, "".join(map(word_of, events))

    whole, streamed = within_a_loop(caller, gateways[provider], work)

    assert (whole.text, streamed) == (ANSWER, ANSWER)


def word_of(event: Any) -> str:
    """Return what an event of any stream says."""
    if getattr(event, "choices", None):
        return event.choices[0].delta.content or ""
    if event.type == "content_block_delta":
        return str(event.delta.text)
    return str(event.delta) if event.type == "response.output_text.delta" else ""


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@every_pair
def test_tools(caller: str, provider: str, client_of: Callable[..., Any], llmock: LLMock, *, stream: bool) -> None:
    """The model calls the tool, its result goes back under the same id, and the answer to it comes."""
    llmock.call_tool("weather", {"city": "Ulm"}).reply(ANSWER)
    speaker, client = SPEAKERS[caller], client_of(caller, provider)

    if stream:
        asked = streamed_by(speaker, client, **speaker.tools)
    else:
        asked = speaker.read(speaker.resource(client).create(**speaker.call(), **speaker.tools))
    call = speaker.call(*speaker.after(asked.calls))
    told = speaker.read(speaker.resource(client).create(**call, **speaker.tools))

    assert [(name, arguments) for _, name, arguments in asked.calls] == [("weather", {"city": "Ulm"})]
    assert (asked.end, told.text, told.end) == (speaker.ends[1], ANSWER, speaker.ends[0])
    assert "sunny" in json.dumps(llmock.last_request.body)
    assert asked.calls[0][0] in json.dumps(llmock.last_request.body)


@every_pair
def test_structured_output(caller: str, provider: str, client_of: Callable[..., Any], llmock: LLMock) -> None:
    """The SDK's own helper asks for a form, the provider is told its schema, and the SDK reads the answer."""
    llmock.reply('{"city": "Ulm"}', times=None)
    speaker, client = SPEAKERS[caller], client_of(caller, provider)

    answer = speaker.resource(client).parse(**speaker.call(), **speaker.form)

    assert speaker.parsed(answer) == Weather(city="Ulm")
    assert '"city": {"' in json.dumps(llmock.last_request.body)


@every_pair
def test_error(caller: str, provider: str, client_of: Callable[..., Any], llmock: LLMock) -> None:
    """What the provider says against the call is the SDK's own error, with its words."""
    llmock.context_overflow()
    speaker, client = SPEAKERS[caller], client_of(caller, provider)
    sdk: Any = anthropic if caller == "messages" else openai

    with pytest.raises(sdk.BadRequestError, match="maximum context length"):
        speaker.resource(client).create(**speaker.call())
