"""The official SDKs as clients of a service that forwards: answers, streams and errors are as they know them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import anthropic
import openai
import pytest
from starlette.applications import Starlette

from plano_asgi.testing import FixedClassifier

TEXT: Final = "Guten Tag, 日本語 \U0001f680!"
TURNS: Final[Any] = [{"role": "user", "content": "Schreib etwas"}]


@pytest.fixture
def client_of(
    configured: Callable[..., str], app_of: Callable[..., Starlette], serve: Callable[[Starlette], str]
) -> Iterator[Callable[..., Any]]:
    """Return what serves a route of some models and gives the maker's own client of it."""
    with ExitStack() as clients:

        def make(maker: str, *models: str, **options: Any) -> Any:
            text = configured(maker, *models, more="failover: {attempts: 2, backoff_s: 0.01}")
            url = serve(app_of(text, FixedClassifier({"code": 0.9})))
            if maker == "anthropic":
                return clients.enter_context(anthropic.Anthropic(base_url=url, api_key="mine", **options))
            return clients.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key="mine", **options))

        yield make


def test_chat_completions(client_of: Callable[..., Any]) -> None:
    """OpenAI's client reads the fallback's answer and stream."""
    client = client_of("openai", "down", "fine")

    answer = client.chat.completions.create(model="auto", messages=TURNS)
    chunks = list(client.chat.completions.create(model="auto", messages=TURNS, stream=True))

    assert (answer.choices[0].message.content, answer.model, answer.usage.completion_tokens) == (TEXT, "fine", 4)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert chunks[-1].usage.prompt_tokens == 7


def test_responses(client_of: Callable[..., Any]) -> None:
    """OpenAI's client reads the fallback's response and gathers its stream."""
    client = client_of("openai", "down", "fine")

    answer = client.responses.create(model="auto", input="Schreib etwas")
    events = list(client.responses.create(model="auto", input="Schreib etwas", stream=True))

    assert (answer.output_text, answer.model, answer.usage.output_tokens) == (TEXT, "fine", 4)
    assert events[-1].response.output_text == TEXT


def test_messages(client_of: Callable[..., Any]) -> None:
    """Anthropic's client reads the fallback's message and gathers its stream."""
    client = client_of("anthropic", "down", "fine")

    answer = client.messages.create(model="auto", max_tokens=9, messages=TURNS)
    with client.messages.stream(model="auto", max_tokens=9, messages=TURNS) as stream:
        gathered = stream.get_final_message()

    assert (answer.content[0].text, answer.model, answer.usage.output_tokens) == (TEXT, "fine", 4)
    assert (gathered.content[0].text, gathered.usage.output_tokens) == (TEXT, 4)


def read_all(maker: str, client: Any, api: str) -> str:
    """Read a stream to its end, and return its text."""
    if maker == "anthropic":
        events = client.messages.create(model="auto", max_tokens=9, messages=TURNS, stream=True)
        return "".join(event.delta.text for event in events if event.type == "content_block_delta")
    if api == "responses":
        return "".join(
            "!error" if event.type == "error" else getattr(event, "delta", "")
            for event in client.responses.create(model="auto", input="x", stream=True)
        )
    chunks = client.chat.completions.create(model="auto", messages=TURNS, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@pytest.mark.parametrize("model", ["cut", "stalls", "malformed", "unterminated"])
@pytest.mark.parametrize(("maker", "api"), [("openai", "chat"), ("anthropic", "messages"), ("openai", "responses")])
def test_stream_that_breaks_off_is_an_error_to_the_client(
    model: str, maker: str, api: str, client_of: Callable[..., Any]
) -> None:
    """No SDK takes a broken stream for a good one: it raises, or gives its API's own error event."""
    client = client_of(maker, model, max_retries=0)

    if api == "responses":
        assert read_all(maker, client, api).endswith("!error")
        return
    sdk: Any = {"openai": openai, "anthropic": anthropic}[maker]
    with pytest.raises(sdk.APIError):
        read_all(maker, client, api)


@pytest.mark.parametrize(
    ("model", "name"),
    [("filtered", "BadRequestError"), ("limited", "RateLimitError"), ("down", "InternalServerError")],
)
@pytest.mark.parametrize("maker", ["openai", "anthropic"])
def test_error_is_the_clients_own(model: str, name: str, maker: str, client_of: Callable[..., Any]) -> None:
    """What a provider refuses, and that nobody answers, is the SDK's own typed error."""
    sdk: Any = {"openai": openai, "anthropic": anthropic}[maker]
    client = client_of(maker, model, max_retries=0)
    create = client.chat.completions.create if maker == "openai" else partial(client.messages.create, max_tokens=9)
    arguments = {"model": "auto", "messages": TURNS}

    with pytest.raises(getattr(sdk, name)):
        create(**arguments)
