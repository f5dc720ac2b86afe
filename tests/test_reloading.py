"""Another configuration comes into force while calls are served; one with faults does not."""

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Final

import anyio
import httpx
import pytest
from asgi_lifespan import LifespanManager
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from plano_asgi.assembly import build_router
from plano_asgi.http.reloading import ReloadableApp
from plano_asgi.http.server import create_app
from plano_asgi.settings import load_settings
from plano_asgi.testing import FixedClassifier, routed_by

RELOAD: Final = "/routing/v1/reload"
CHAT: Final = "/routing/v1/chat/completions"
CALL: Final = {"messages": [{"role": "user", "content": "Write a function."}]}
KEY: Final = "sk-canary-4711"
FIRST: Final = f"""\
model_providers:
  - {{model: openai/gpt-4o-mini, default: true, access_key: {KEY}}}
  - model: openai/gpt-4o
    routing_preferences: [{{name: code, description: writing functions}}]
"""
SECOND: Final = FIRST.replace("name: code", "name: programs")
BROKEN: Final = FIRST.replace("default: true", "default: perhaps") + f"mode: {KEY}\n"

LIMITED: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true, access_key: sk-any, base_url: "PROVIDER/v1"}
mode: forward
ratelimits: [{model: "*", limit: {requests: 1, unit: day}}]
"""

Launch = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a configuration."""
    path = tmp_path / "plano.yaml"
    path.write_text(FIRST, encoding="utf-8")
    return path


@asynccontextmanager
async def serving(file: Path, classifier: FixedClassifier | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Run the app of a file as a server does, and give a client on this machine."""
    load = partial(load_settings, file, environ={})
    settings = load()
    app = ReloadableApp(create_app(settings, build_router(settings, classifier=classifier)), load)
    async with LifespanManager(app, startup_timeout=20, shutdown_timeout=20):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=20) as client:
            yield client


async def names_of(client: httpx.AsyncClient) -> list[str]:
    """Return the names of the routes in force."""
    told = await client.get("/routing/playground/configuration.json")
    return [route["name"] for route in told.json()["routes"]]


class ClosingClassifier(FixedClassifier):
    """A classifier that tells when it is closed."""

    def __init__(self, *chances: Any, **more: Any) -> None:
        """Be open."""
        super().__init__(*chances, **more)
        self.closed = Event()

    def close(self) -> None:
        """Be closed."""
        self.closed.set()


def write(file: Path, text: str) -> None:
    """Put something else into the file."""
    file.write_text(text, encoding="utf-8")


async def completed(_: Request) -> JSONResponse:
    """Answer as a provider does."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return JSONResponse({"id": "1", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage})


@pytest.mark.anyio
async def test_changed_configuration_comes_into_force(file: Path) -> None:
    """After the admin call, calls are decided by the file as it now is."""
    with routed_by({"function": "programs"}):
        async with serving(file) as client:
            write(file, SECOND)
            assert await names_of(client) == ["code"]

            with capture_logs() as logs:
                answer = await client.post(RELOAD)

            assert answer.json() == {"status": "reloaded", "routes": ["programs"], "warnings": []}
            assert (await client.post(CHAT, json=CALL)).json()["route"] == "programs"
            assert {"event": "plano.configuration_reloaded", "log_level": "info", "routes": 1} in logs


@pytest.mark.anyio
async def test_configuration_with_faults_changes_nothing(file: Path) -> None:
    """All faults are told, with their places and no values, and the configuration in force stays."""
    async with serving(file) as client:
        write(file, BROKEN)

        with capture_logs() as logs:
            answer = await client.post(RELOAD)

        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (422, "configuration_refused")
        assert len(error["faults"]) == 2
        assert any("mode" in fault and "plano.yaml" in fault for fault in error["faults"])
        assert KEY not in answer.text
        assert "perhaps" not in answer.text
        assert KEY not in str(logs)
        assert [line["event"] for line in logs] == ["plano.configuration_refused"]
        assert await names_of(client) == ["code"]


@pytest.mark.anyio
async def test_configuration_whose_model_is_missing_changes_nothing(file: Path, tmp_path: Path) -> None:
    """A valid configuration that cannot be served is refused as one with faults is."""
    async with serving(file) as client:
        write(file, f"{SECOND}classifier: {{model_path: {tmp_path}}}\n")

        answer = await client.post(RELOAD)

        assert answer.status_code == 422
        assert await names_of(client) == ["code"]


@pytest.mark.anyio
async def test_call_in_flight_ends_under_the_configuration_it_began_with(file: Path) -> None:
    """A call that is being decided is answered as if nothing had happened, and its router is closed after it."""
    begun, go_on = Event(), Event()

    def wait() -> None:
        """Take as long as the test wants."""
        begun.set()
        assert go_on.wait(10)

    classifier = ClosingClassifier({"code": 0.9}, before=lambda: None)
    answers: list[httpx.Response] = []
    async with serving(file, classifier) as client, anyio.create_task_group() as tasks:
        classifier._before = wait  # noqa: SLF001 - warm by now

        async def call() -> None:
            """Make the call."""
            answers.append(await client.post(CHAT, json=CALL))

        tasks.start_soon(call)
        await anyio.to_thread.run_sync(begun.wait, 10)
        write(file, SECOND)

        assert (await client.post(RELOAD)).status_code == 200
        assert await names_of(client) == ["programs"]
        assert not answers
        assert not classifier.closed.is_set()
        go_on.set()
        assert await anyio.to_thread.run_sync(classifier.closed.wait, 10)

    assert answers[0].json()["route"] == "code"


@pytest.mark.anyio
async def test_what_was_counted_goes_on(file: Path) -> None:
    """The decision log in memory and the metrics of Prometheus do not begin anew."""
    async with serving(file) as client:
        await client.post(CHAT, json=CALL)
        write(file, SECOND)
        await client.post(RELOAD)
        await client.post(CHAT, json=CALL)

        entries = (await client.get("/routing/v1/decisions")).json()["decisions"]
        metrics = (await client.get("/metrics")).text
        decided = [line for line in metrics.splitlines() if line.startswith("plano_decisions_total{")]
        assert [entry["id"] for entry in entries] == ["2", "1"]
        assert sum(float(line.rpartition(" ")[2]) for line in decided) == 2


@pytest.mark.anyio
async def test_entries_that_hold_conversations_do_not_outlive_the_setting(file: Path) -> None:
    """Where conversations are no longer to be kept, those in memory are gone at once."""
    write(file, f"{FIRST}decision_log: {{content: conversation}}\n")
    async with serving(file) as client:
        await client.post(CHAT, json=CALL)
        write(file, FIRST)
        await client.post(RELOAD)

        assert (await client.get("/routing/v1/decisions")).json()["decisions"] == []


@pytest.mark.anyio
async def test_limits_go_on_where_they_are_the_same(file: Path, serve: Callable[[Starlette], str]) -> None:
    """Nobody gets a new allowance by a reload that leaves the limits as they are; other limits begin anew."""
    provider = serve(Starlette(routes=[Route("/v1/chat/completions", completed, methods=["POST"])]))
    write(file, LIMITED.replace("PROVIDER", provider))
    statuses = []
    async with serving(file) as client:
        for requests in (1, 1, 2):
            write(file, LIMITED.replace("PROVIDER", provider).replace("requests: 1", f"requests: {requests}"))
            await client.post(RELOAD)
            statuses.append((await client.post("/v1/chat/completions", json=CALL)).status_code)

    assert statuses == [200, 429, 200]


@pytest.mark.anyio
async def test_conversations_go_on_where_their_bounds_are_the_same(
    file: Path, serve: Callable[[Starlette], str]
) -> None:
    """What Responses calls go on from in memory outlives a reload that leaves its bounds as they are, and no other."""
    provider = serve(Starlette(routes=[Route("/v1/chat/completions", completed, methods=["POST"])]))
    kept = LIMITED.replace("PROVIDER", provider).replace("requests: 1", "requests: 9")
    kept = f"{kept.replace('openai/gpt-4o-mini', 'mistral/small')}responses_state: {{store: memory, size: 9}}\n"
    write(file, kept)
    async with serving(file) as client:
        first = (await client.post("/v1/responses", json={"model": "auto", "input": "Hello"})).json()
        going_on = {"model": "auto", "input": "Go on", "previous_response_id": first["id"]}
        write(file, kept.replace("requests: 9", "requests: 8"))
        assert (await client.post(RELOAD)).json()["status"] == "reloaded"
        same = await client.post("/v1/responses", json=going_on)
        write(file, kept.replace("size: 9", "size: 8"))
        await client.post(RELOAD)
        other = await client.post("/v1/responses", json=going_on)

    assert (same.status_code, same.json()["previous_response_id"]) == (200, first["id"])
    assert (other.status_code, other.json()["error"]["code"]) == (400, "previous_response_not_found")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"headers": {"host": "plano.example"}}, 403),
        ({"headers": {"origin": "http://127.0.0.1"}}, 403),
        ({"headers": {"sec-fetch-site": "cross-site"}}, 403),
        ({"method": "GET"}, 405),
    ],
    ids=["from elsewhere", "by a page", "by another site", "by GET"],
)
async def test_strangers_reload_nothing(file: Path, request_: dict[str, Any], status: int) -> None:
    """Without a token, who asks from this machine may reload, and no web page in a browser on it."""
    async with serving(file) as client:
        write(file, SECOND)

        answer = await client.request(**{"method": "POST", "url": RELOAD, **request_})

        assert answer.status_code == status
        assert await names_of(client) == ["code"]


@pytest.mark.anyio
async def test_token_is_needed_where_there_is_one(file: Path) -> None:
    """With a token, whoever shows it may reload; a browser's cookie is for looking and does not."""
    guarded = "admin: {token: canary-token}\n"
    write(file, FIRST + guarded)
    async with serving(file) as client:
        await client.post("/routing/login", data={"token": "canary-token"})
        assert (await client.get("/routing/v1/decisions")).status_code == 200

        assert (await client.post(RELOAD)).status_code == 401
        shown = {"authorization": "Bearer canary-token"}
        assert (await client.post(RELOAD, headers=shown)).status_code == 200


def eventually(holds: Callable[[], bool]) -> bool:
    """Return whether something comes true within ten seconds."""
    until = time.monotonic() + 10
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()


@pytest.mark.parametrize("by", ["signal", "watching"])
def test_server_takes_up_its_file(file: Path, launch: Launch, by: str) -> None:
    """`plano-asgi serve` reloads on SIGHUP and, where it is to watch, when another file takes its place."""
    more = "reload: {watch: true}\n" if by == "watching" else ""
    write(file, FIRST + more)
    command = [sys.executable, "-m", "plano_asgi", "serve", "-c", str(file), "--port", "{port}"]
    server = launch(command, folder=file.parent, environ={"PYTHONPATH": os.environ.get("PYTHONPATH", "")})

    def routes() -> list[str]:
        """Return the names of the routes in force."""
        told = httpx.get(f"{server.url}/routing/playground/configuration.json", trust_env=False).json()
        return [route["name"] for route in told["routes"]]

    def tell() -> None:
        """Let the server know, where it does not watch."""
        if by == "signal":
            server.process.send_signal(signal.SIGHUP)

    other = file.with_name("other.yaml")
    other.write_text(BROKEN, encoding="utf-8")
    other.replace(file)
    tell()
    assert eventually(lambda: "plano.configuration_refused" in server.complained)
    assert routes() == ["code"]
    other.write_text(SECOND, encoding="utf-8")
    other.replace(file)
    tell()
    assert eventually(lambda: routes() == ["programs"])
    assert KEY not in server.complained
    assert server.stop() == -signal.SIGTERM or server.process.returncode == 0
