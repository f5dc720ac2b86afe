"""Calls served by a provider of another API: asked in its words, answered in the caller's, failures included."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import anthropic
import openai
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

TEXT: Final = "Guten Tag, 日本語 \U0001f680!"
TURNS: Final[Any] = [{"role": "user", "content": "Schreib etwas"}]
every_foreign = pytest.mark.parametrize(
    ("caller", "model"),
    [
        ("chat", "anthropic/fine"),
        ("messages", "openai/fine"),
        ("messages", "mistral/fine"),
        ("responses", "anthropic/fine"),
        ("responses", "mistral/fine"),
    ],
)


class Caller:
    """One API's official SDK, and how it makes calls and reads answers."""

    def __init__(self, name: str, url: str, **options: Any) -> None:
        """Begin with nothing sent."""
        self.name = name
        self.sdk: Any = anthropic if name == "messages" else openai
        if name == "messages":
            self.client: Any = anthropic.Anthropic(base_url=url, api_key="mine", **options)
        else:
            self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="mine", **options)

    def create(self, **more: Any) -> Any:
        """Make a call."""
        if self.name == "messages":
            return self.client.messages.create(model="auto", max_tokens=9, messages=TURNS, **more)
        if self.name == "responses":
            return self.client.responses.create(model="auto", input="Schreib etwas", **more)
        return self.client.chat.completions.create(model="auto", messages=TURNS, **more)

    def text(self) -> str:
        """Make a plain call, and return the answer's text."""
        answer = self.create()
        if self.name == "messages":
            return str(answer.content[0].text)
        return str(answer.output_text if self.name == "responses" else answer.choices[0].message.content)

    def streamed_text(self) -> str:
        """Make a streamed call, and return what its events say."""
        said = ""
        for event in self.create(stream=True):
            if self.name == "messages":
                said += event.delta.text if event.type == "content_block_delta" else ""
            elif self.name == "responses":
                said += event.delta if event.type == "response.output_text.delta" else ""
                said += "!error" if event.type == "error" else ""
            elif event.choices:
                said += event.choices[0].delta.content or ""
        return said


@pytest.fixture
def caller_of(serve: Callable[[Starlette], str]) -> Iterator[Callable[..., Caller]]:
    """Return what serves an app and gives an SDK's client of it."""
    with ExitStack() as clients:

        def make(name: str, app: Starlette, **options: Any) -> Caller:
            """Serve it."""
            caller = Caller(name, serve(app), **options)
            clients.enter_context(caller.client)
            return caller

        yield make


@every_foreign
def test_caller_reads_its_own_api(
    caller: str, model: str, mixed: Callable[..., Starlette], caller_of: Callable[..., Caller], provider: Any
) -> None:
    """Plain and streamed, an SDK gets the words of a model whose provider speaks another API; native is native."""
    asking = caller_of(caller, mixed(model))

    assert (asking.text(), asking.streamed_text()) == (TEXT, TEXT)
    native = (caller, model.partition("/")[0]) == ("responses", "openai")
    assert native or not [heard for heard in provider.heard if heard.path.endswith(caller)]


@pytest.mark.parametrize("caller", ["chat", "messages", "responses"])
def test_failover_crosses_apis(
    caller: str, mixed: Callable[..., Starlette], caller_of: Callable[..., Caller], provider: Any
) -> None:
    """Where one maker's model fails another's answers, each asked in its API with its own key."""
    asking = caller_of(caller, mixed("openai/down", "anthropic/html", "mistral/fine"))

    assert (asking.text(), asking.streamed_text()) == (TEXT, TEXT)
    for heard in provider.heard:
        maker = {"down": "openai", "html": "anthropic", "fine": "mistral"}[heard.call["model"]]
        sent = " ".join(heard.headers.values())
        assert [f"sk-canary-of-{other}" in sent for other in ("openai", "anthropic", "mistral")] == [
            maker == other for other in ("openai", "anthropic", "mistral")
        ]
        assert "mine" not in sent


@pytest.mark.parametrize("fault", ["cut", "stalls", "malformed", "unterminated"])
@pytest.mark.parametrize(
    ("caller", "maker"), [("chat", "anthropic"), ("messages", "mistral"), ("responses", "anthropic")]
)
def test_stream_that_breaks_off_is_an_error_of_the_callers_api(
    fault: str, caller: str, maker: str, mixed: Callable[..., Starlette], caller_of: Callable[..., Caller]
) -> None:
    """A translated stream that breaks has no good end either."""
    asking = caller_of(caller, mixed(f"{maker}/{fault}"), max_retries=0)

    if caller == "responses":
        assert asking.streamed_text().endswith("!error")
        return
    with pytest.raises(asking.sdk.APIError):
        asking.streamed_text()


@pytest.mark.parametrize(
    ("caller", "maker"), [("chat", "anthropic"), ("messages", "mistral"), ("responses", "anthropic")]
)
def test_refusal_is_told_in_the_callers_api(
    caller: str, maker: str, mixed: Callable[..., Starlette], caller_of: Callable[..., Caller]
) -> None:
    """What a provider's filter stops is the caller's SDK's own error, with the provider's words."""
    asking = caller_of(caller, mixed(f"{maker}/filtered"), max_retries=0)

    with pytest.raises(asking.sdk.BadRequestError, match="content filtering policy"):
        asking.text()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_what_is_lost_is_told(mixed: Callable[..., Starlette], ask_chat: Callable[..., Any], *, stream: bool) -> None:
    """A header names what the model was not told, and the log says why."""
    with capture_logs() as logs:
        answer = ask_chat(mixed("anthropic/fine"), seed=3, max_tokens=9, stream=stream)

    (line,) = [entry for entry in logs if entry["event"] == "plano.call_forwarded"]
    assert answer.headers["x-plano-losses"] == "seed"
    assert line["losses"][0].startswith("seed: ")


def test_strict_translation_passes_over_models_that_cannot_be_told_all(
    mixed: Callable[..., Starlette], ask_chat: Callable[..., Any], provider: Any
) -> None:
    """Under `translation.strict` a native model serves such a call, and where there is none, it is refused."""
    strict = "translation: {strict: true}"

    served = ask_chat(mixed("anthropic/fine", "openai/fine", more=strict), seed=3, max_tokens=9)
    refused = ask_chat(mixed("anthropic/fine", more=strict), seed=3, max_tokens=9)

    assert served.headers["x-plano-model"] == "openai/fine"
    assert "x-plano-losses" not in served.headers
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "not_translatable")
    assert len(provider.heard) == 1
