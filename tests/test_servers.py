"""Every common ASGI server serves the FastAPI example: routed, streamed, chunked, and stopped."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "fastapi_app"
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
COMMANDS = dict(re.findall(r"^\| ([^|]+) \| `([^`]+)` \|$", PAGE, re.MULTILINE))
SHARED = "Gunicorn, one model for all"
SERVERS = {
    "uvicorn on h11 and asyncio": f"{COMMANDS['uvicorn']} --http h11 --loop asyncio",
    "uvicorn on httptools and uvloop": f"{COMMANDS['uvicorn']} --http httptools --loop uvloop",
    **{name: command for name, command in COMMANDS.items() if name not in {"uvicorn", SHARED}},
    "Gunicorn with uvicorn's workers": COMMANDS["Gunicorn"].replace("asgi", "uvicorn.workers.UvicornWorker"),
}
ENDED_BY_THE_SIGNAL = -15  # uvicorn cleans up and then, as is the custom, ends by the signal itself
CODE = {"role": "user", "content": "Write a Python function that implements binary search"}
KEYS = {"OPENAI_API_KEY": "sk-of-openai", "MISTRAL_API_KEY": "sk-of-mistral"}
PATIENCE = {"PLANO_CLASSIFIER__DEADLINE_MS": "20000"}  # a busy machine, and loading in the first call, take their time

Launch = Callable[..., Any]


@dataclass(frozen=True)
class Provider:
    """A provider on loopback; its stream goes on only when its first words were read.

    Attributes:
        url: Its base URL.
        first_words_read: Set by who has read them.
    """

    url: str
    first_words_read: Event


@dataclass(frozen=True)
class Served:
    """A server of the example, its client, and what it answered to the first call of all."""

    name: str
    server: Any
    client: httpx.Client
    first: httpx.Response

    def ask(self, **more: object) -> httpx.Response:
        """Return the answer to a call about code."""
        return self.client.post("/v1/chat/completions", json={"model": "auto", "messages": [CODE], **more})


@pytest.fixture(scope="module")
def provider(serve: Callable[[Starlette], str]) -> Provider:
    """Return a provider that tells which model was asked for with which key."""
    first_words_read = Event()

    def words() -> Iterator[str]:
        """Yield the first words, and the last when those have arrived."""
        yield "data: first\n\n"
        yield f"data: {'last' if first_words_read.wait(20) else 'nobody read the first words'}\n\n"

    async def chat(request: Request) -> Response:
        """Answer one call."""
        body = await request.json()
        if body.get("stream"):
            return StreamingResponse(words(), media_type="text/event-stream")
        told = {"model": body["model"], "key": request.headers["authorization"], "messages": len(body["messages"])}
        return JSONResponse(told)

    app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
    return Provider(f"{serve(app)}/v1", first_words_read)


@pytest.fixture(scope="module")
def start(launch: Launch, provider: Provider) -> Callable[..., Any]:
    """Return what starts a command of the page, in a folder, with every provider at the one on loopback."""
    urls = {f"PLANO_MODEL_PROVIDERS__{index}__BASE_URL": provider.url for index in range(3)}

    def run(command: str, folder: Path) -> Any:
        return launch(command.replace("8000", "{port}").split(), folder=folder, environ={**KEYS, **PATIENCE, **urls})

    return run


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest, start: Callable[..., Any]) -> Iterator[Served]:
    """Yield the example under one server after the other."""
    with ExitStack() as stack:
        server = start(SERVERS[request.param], EXAMPLE)
        client = stack.enter_context(httpx.Client(base_url=server.url, trust_env=False, timeout=30))
        first = client.post("/v1/chat/completions", json={"model": "auto", "messages": [CODE]})
        yield Served(request.param, server, client, first)
        server.stop()


def test_first_call_is_decided_by_the_model(served: Served) -> None:
    """The model is there for the first call: loaded in the lifespan or, where there is none, by that call."""
    assert served.first.status_code == 200
    assert served.first.headers["x-plano-reason"] == "matched"


def test_call_reaches_the_provider_of_its_route_with_that_providers_key(served: Served) -> None:
    """A call about code arrives at Mistral's side as Codestral, with Mistral's key."""
    answer = served.ask()

    assert answer.json() == {"model": "codestral-latest", "key": "Bearer sk-of-mistral", "messages": 1}
    assert answer.headers["x-plano-route"] == "code_generation"


def test_streaming_answer_arrives_while_it_is_made(served: Served, provider: Provider) -> None:
    """The first words of a stream are here before the provider has the last ones."""
    provider.first_words_read.clear()
    read = []

    call = {"model": "auto", "stream": True, "messages": [CODE]}
    with served.client.stream("POST", "/v1/chat/completions", json=call) as answer:
        for chunk in answer.iter_text():
            read.append(chunk)
            provider.first_words_read.set()

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "".join(read) == "data: first\n\ndata: last\n\n"


def test_large_chunked_body_is_routed(served: Served) -> None:
    """A body of a megabyte without content-length is read, decided and passed on whole."""
    past = [{"role": "user", "content": "lorem ipsum " * 90_000}, {"role": "assistant", "content": "indeed"}]
    body = json.dumps({"model": "auto", "messages": [*past, CODE]}).encode()
    assert len(body) > 1_000_000

    chunks = (body[start : start + 50_000] for start in range(0, len(body), 50_000))
    answer = served.client.post("/v1/chat/completions", content=chunks)

    assert (answer.status_code, answer.json()["messages"]) == (200, 3)
    assert answer.headers["x-plano-reason"] == "matched"


def test_other_requests_pass(served: Served) -> None:
    """What is no call is answered by the app as ever, and nothing is added."""
    home = served.client.get("/")
    unknown = served.client.post("/v1/embeddings", json={"model": "auto", "input": "lorem"})

    assert (home.json(), unknown.status_code) == ({"status": "ok"}, 404)
    assert not [name for name in (*home.headers, *unknown.headers) if name.startswith("x-plano")]


def test_every_worker_decides(served: Served) -> None:
    """Each process that takes connections routes the calls on them."""
    assert_every_worker_decides(served.server, workers=2 if "--workers 2" in SERVERS[served.name] else 1)


def test_sigterm_stops_the_server_in_order(served: Served) -> None:
    """The last call is answered, the exit code is the server's usual one, and stderr holds no trace of a fault."""
    assert served.ask().status_code == 200

    code = served.server.stop()

    is_lone_uvicorn = served.name.startswith("uvicorn") and "--workers" not in SERVERS[served.name]
    assert code == (ENDED_BY_THE_SIGNAL if is_lone_uvicorn else 0)
    assert_no_fault(served.server)


def test_workers_forked_from_a_loaded_model_decide_and_end_in_order(start: Callable[..., Any], tmp_path: Path) -> None:
    """The page's app, loaded before the fork, is served by every worker; none aborts when it is stopped."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "app.py").write_text(source, encoding="utf-8")
    (tmp_path / "plano.yaml").write_bytes((EXAMPLE / "plano.yaml").read_bytes())

    server = start(COMMANDS[SHARED], tmp_path)
    assert_every_worker_decides(server, workers=2)

    assert server.stop() == 0
    assert_no_fault(server)


def assert_every_worker_decides(server: Any, *, workers: int) -> None:
    """Call on new connections until as many processes as there are workers have each decided one."""
    decided: set[int] = set()
    for _ in range(500):
        with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
            answer = client.post("/v1/chat/completions", json={"model": "auto", "messages": [CODE]})
            assert answer.headers["x-plano-reason"] == "matched"
            decided.add(worker_of(answer, server.process.pid))
        if len(decided) == workers:
            return
    pytest.fail(f"{len(decided)} of {workers} workers took a connection")


def worker_of(answer: httpx.Response, server: int) -> int:
    """Return the process that holds the server's end of the connection that an answer came on."""
    mine = answer.extensions["network_stream"].get_extra_info("client_addr")
    main = psutil.Process(server)
    for process in [*main.children(recursive=True), main]:
        if any(tuple(held.raddr) == tuple(mine) for held in process.net_connections("tcp4") if held.raddr):
            return process.pid
    raise AssertionError("nobody holds the connection")


def assert_no_fault(server: Any) -> None:
    """Find nothing in what a server wrote that tells of a crash."""
    written = server.said + server.complained
    assert not re.findall(r"Traceback|terminate called|SIG(?:ABRT|KILL|SEGV)", written), written
