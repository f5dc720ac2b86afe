"""examples/fastapi_app: calls arrive at the provider of their route, with its model and its key."""

import re
import runpy
import shlex
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import httpx
import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

EXAMPLE = Path(__file__).parents[1] / "examples" / "fastapi_app"
COMMANDS = "\n".join(re.findall(r"```sh\n(.*?)```", (EXAMPLE / "README.md").read_text(encoding="utf-8"), re.DOTALL))
EXPORTED = dict(
    word.split("=", 1) for line in re.findall(r"^export (.*)", COMMANDS, re.MULTILINE) for word in line.split()
)
SERVE = "uvicorn app:app --port 8000"
FAKE_PROVIDER = "http://127.0.0.1:9000"
KEYS = {"OPENAI_API_KEY": "sk-of-openai", "MISTRAL_API_KEY": "sk-of-mistral"}
PATIENCE = {"PLANO_CLASSIFIER__DEADLINE_MS": "20000"}  # on a busy machine
PYTHON = "Write a Python function that implements binary search"
REASONING = "Analyse step by step the trade-offs between microservices and monoliths, and reason about their costs"


@pytest.fixture(scope="module")
def provider() -> Starlette:
    """Return the example's own stand-in for the providers."""
    app: Starlette = runpy.run_path(str(EXAMPLE / "fake_provider.py"))["app"]
    return app


@pytest.fixture(scope="module")
def url(provider: Starlette, serve: Callable[[Starlette], str], launch: Callable[..., Any]) -> str:
    """Return the URL of the example, run as its README says, with the stand-in on another port."""
    assert SERVE in COMMANDS.splitlines()
    at = serve(provider)
    environ = {name: text.replace(FAKE_PROVIDER, at) for name, text in EXPORTED.items()} | KEYS | PATIENCE
    started: str = launch(SERVE.replace("8000", "{port}").split(), folder=EXAMPLE, environ=environ).url
    return started


def call(text: str, **more: object) -> dict[str, object]:
    """Return a call's body."""
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **more}


def test_configuration_and_change_are_as_small_as_promised() -> None:
    """The configuration has at most twelve lines, and the middleware is added by one line without arguments."""
    source = (EXAMPLE / "app.py").read_text(encoding="utf-8")

    assert len((EXAMPLE / "plano.yaml").read_text(encoding="utf-8").splitlines()) <= 12
    assert source.count("app.add_middleware(plano_asgi.PlanoMiddleware)\n") == 1


def test_readme_tells_what_its_curl_answers(url: str) -> None:
    """The README's own request is answered as the README says."""
    words = shlex.split(COMMANDS[COMMANDS.index("curl") :])
    path = next(word for word in words if word.startswith("http")).removeprefix("http://127.0.0.1:8000")

    answer = httpx.post(url + path, content=words[words.index("-d") + 1], trust_env=False, timeout=30)

    assert answer.headers["x-plano-route"] == "code_generation"
    assert answer.json()["choices"][0]["message"]["content"] == "codestral-latest was asked"


@pytest.mark.parametrize(
    ("text", "arrives"),
    [
        (PYTHON, {"provider": "mistral", "model": "codestral-latest", "authorization": "Bearer sk-of-mistral"}),
        (REASONING, {"provider": "openai", "model": "gpt-4o", "authorization": "Bearer sk-of-openai"}),
        ("good morning", {"provider": "openai", "model": "gpt-4o-mini", "authorization": "Bearer sk-of-openai"}),
    ],
    ids=["code", "reasoning", "neither"],
)
def test_call_arrives_at_its_provider_with_its_model_and_key(
    url: str, provider: Starlette, text: str, arrives: dict[str, str]
) -> None:
    """What the provider hears is the routed model and its own key, not the client's."""
    client_key = {"authorization": "Bearer of-the-client"}

    answer = httpx.post(f"{url}/v1/chat/completions", json=call(text), headers=client_key, trust_env=False, timeout=30)

    assert answer.status_code == 200
    assert provider.state.calls[-1] == arrives


def test_official_client_reads_the_stream(url: str) -> None:
    """OpenAI's own client gets the provider's words through the service, one after the other."""
    with OpenAI(base_url=f"{url}/v1", api_key="of-the-client", max_retries=0) as client:
        ask: Any = call(PYTHON, stream=True)
        words = [chunk.choices[0].delta.content for chunk in client.chat.completions.create(**ask)]

    assert words == ["codestral-latest ", "was ", "asked"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [({"model": "auto", "messages": 3}, {}), (call(PYTHON, model="someone/elses"), {"x-plano-routing": "off"})],
    ids=["no call", "a model of somebody else"],
)
def test_call_that_nobody_serves_is_refused_as_openai_would(url: str, body: object, headers: dict[str, str]) -> None:
    """A call that was not routed to a declared model is a 400 in OpenAI's shape."""
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, trust_env=False, timeout=30)

    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


@pytest.fixture(scope="module")
def endless() -> tuple[Starlette, Event]:
    """Return a provider that streams without end, and what it sets when nobody listens any more."""
    was_left = Event()

    async def words() -> AsyncIterator[str]:
        """Yield a word now and then."""
        try:
            while True:
                yield "data: and so on\n\n"
                await anyio.sleep(0.01)
        finally:
            was_left.set()

    async def chat(_: Request) -> StreamingResponse:
        """Answer."""
        return StreamingResponse(words(), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])]), was_left


@pytest.fixture(scope="module")
def troubled(
    endless: tuple[Starlette, Event], serve: Callable[[Starlette], str], launch: Callable[..., Any]
) -> Iterator[httpx.Client]:
    """Yield a client of the example with an endless provider, one that is down, and one that has no key."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        down = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    environ = {
        **PATIENCE,
        "OPENAI_API_KEY": KEYS["OPENAI_API_KEY"],
        "PLANO_MODEL_PROVIDERS__0__BASE_URL": f"{serve(endless[0])}/v1",
        "PLANO_MODEL_PROVIDERS__1__BASE_URL": down,
    }
    started = launch(SERVE.replace("8000", "{port}").split(), folder=EXAMPLE, environ=environ)
    with httpx.Client(base_url=started.url, trust_env=False, timeout=30) as client:
        yield client


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [(REASONING, 502, "did not answer"), (PYTHON, 503, "mistral/codestral-latest is not set up here")],
    ids=["down", "without key"],
)
def test_provider_in_trouble_is_told_as_openai_would(troubled: httpx.Client, text: str, status: int, says: str) -> None:
    """A provider that is down or has no key is a clear error in OpenAI's shape."""
    answer = troubled.post("/v1/chat/completions", json=call(text))

    assert (answer.status_code, answer.json()["error"]["type"]) == (status, "server_error")
    assert says in answer.json()["error"]["message"]


def test_client_that_leaves_ends_the_providers_stream(troubled: httpx.Client, endless: tuple[Starlette, Event]) -> None:
    """When a client goes away in the middle of a stream, the connection to the provider is closed too."""
    _, was_left = endless

    with troubled.stream("POST", "/v1/chat/completions", json=call("good morning", stream=True)) as answer:
        first = next(answer.iter_text())

    assert first.startswith("data: and so on")
    assert was_left.wait(10)
