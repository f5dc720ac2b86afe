"""A transport's life: streams pass as they come, who gives up stops the work, loops end, and nothing is left behind."""

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

import plano_asgi
from plano_asgi import PlanoMiddleware
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier

BOUND_S: Final = 2.0
PATIENT: Final = "{first_byte_s: 20, answer_s: 20, stall_s: 20, total_s: 60}"
CHAT: Final = "/v1/chat/completions"
ELSEWHERE: Final = f"https://sdk.test{CHAT}"
CALL: Final = {"model": "auto", "messages": [{"role": "user", "content": "x"}]}
STREAM: Final = {**CALL, "stream": True}
through = pytest.mark.parametrize("is_given", [False, True], ids=["gateway's client", "inner"])


def inner_of(caller: Any, *, is_given: bool) -> Any:
    """Return a transport of the caller's library, or None."""
    make = caller.library.AsyncHTTPTransport if caller.is_async else caller.library.HTTPTransport
    return make() if is_given else None


def wait_until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.005)


def background_threads() -> list[threading.Thread]:
    """Return the threads in which blocking calls are served."""
    return [thread for thread in threading.enumerate() if thread.name == "plano-outbound"]


def first_piece(caller: Any, transport: Any, left: threading.Event) -> tuple[bytes, bool]:
    """Begin a stream, read one piece, stop reading; return that, and whether the provider is let go by then."""
    if caller.is_async:
        return anyio.run(_afirst_piece, caller, transport, left)
    with caller.library.Client(transport=transport) as client:
        with client.stream("POST", ELSEWHERE, json=STREAM) as answer:
            piece = next(answer.iter_raw())
        return piece, left.wait(BOUND_S)


async def _afirst_piece(caller: Any, transport: Any, left: threading.Event) -> tuple[bytes, bool]:
    """Do so within an event loop."""
    async with caller.library.AsyncClient(transport=transport) as client:
        async with client.stream("POST", ELSEWHERE, json=STREAM) as answer:
            piece = await anext(answer.aiter_raw())
        return piece, await anyio.to_thread.run_sync(left.wait, BOUND_S)


@through
def test_stream_passes_as_it_comes_and_ends_with_its_reader(
    outbound: Callable[..., Any], caller: Any, provider: Any, *, is_given: bool
) -> None:
    """The first words are there while the provider still speaks; who stops reading stops the provider."""
    transport = outbound("openai", "endless", forward=PATIENT, inner=inner_of(caller, is_given=is_given))

    with capture_logs() as logs:
        piece, is_let_go = first_piece(caller, transport, provider.left["endless"])

    assert b"Guten" in piece
    assert is_let_go
    (line,) = [entry for entry in logs if entry["event"] == "plano.call_forwarded"]
    assert (line["end"], line["status"], line["model"]) == ("abandoned", 200, "openai/endless")


@through
def test_client_that_waits_no_longer_gets_its_own_timeout(
    outbound: Callable[..., Any], caller: Any, provider: Any, *, is_given: bool
) -> None:
    """The client's read timeout holds: it gets its library's error, and the provider is let go."""
    transport = outbound("openai", "silent", forward=PATIENT, inner=inner_of(caller, is_given=is_given))

    with pytest.raises(caller.library.ReadTimeout):
        caller.send(transport, ELSEWHERE, json=STREAM if is_given else CALL, timeout=0.2)

    assert provider.left["silent"].wait(BOUND_S)


@through
def test_stream_that_stalls_longer_than_the_client_waits_is_its_own_timeout(
    outbound: Callable[..., Any], caller: Any, provider: Any, *, is_given: bool
) -> None:
    """In the middle of a stream, too."""
    transport = outbound("openai", "stalls", forward=PATIENT, inner=inner_of(caller, is_given=is_given))

    with capture_logs() as logs:
        try:
            answer = caller.send(transport, ELSEWHERE, json=STREAM, timeout=0.3)
            assert b'"error"' in answer.content  # the inner transport's own timeout came first
        except caller.library.ReadTimeout:
            pass

    assert provider.left["stalls"].wait(BOUND_S)
    assert [entry["event"] for entry in logs].count("plano.call_forwarded") == 1


@through
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_task_that_is_cancelled_takes_the_providers_work_with_it(
    backend: str, outbound: Callable[..., Any], provider: Any, *, is_given: bool
) -> None:
    """Under asyncio and trio: before the first word the provider is let go as soon as nobody waits."""
    inner = httpx2.AsyncHTTPTransport() if is_given else None
    transport = outbound("openai", "silent", forward=PATIENT, inner=inner)

    async def give_up() -> None:
        """Wait until the provider has heard of the call, and no longer."""
        async with httpx2.AsyncClient(transport=transport) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(partial(client.post, ELSEWHERE, json=CALL))
            await anyio.to_thread.run_sync(wait_until, lambda: provider.heard)
            tasks.cancel_scope.cancel()
        with anyio.fail_after(BOUND_S + 1):
            assert await anyio.to_thread.run_sync(provider.left["silent"].wait, BOUND_S)

    anyio.run(give_up, backend=backend)


class Interrupted(BaseException):
    """What a signal's handler raises."""


def test_thread_that_is_interrupted_takes_the_providers_work_with_it(
    outbound: Callable[..., Any], provider: Any, request: pytest.FixtureRequest
) -> None:
    """A blocking call that a signal ends, as Ctrl-C does, lets the provider go."""

    def interrupt(*_: object) -> None:
        """End what runs in the main thread."""
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    request.addfinalizer(lambda: signal.signal(signal.SIGUSR1, before))
    with httpx2.Client(transport=outbound("openai", "silent", forward=PATIENT), timeout=30) as client:
        main = threading.main_thread().ident or 0

        def interrupt_in_time() -> None:
            """Interrupt the call once the provider has heard of it."""
            wait_until(lambda: provider.heard)
            signal.pthread_kill(main, signal.SIGUSR1)

        threading.Thread(target=interrupt_in_time).start()
        with pytest.raises(Interrupted):
            client.post(ELSEWHERE, json=CALL)
        assert provider.left["silent"].wait(BOUND_S)


def test_answer_of_a_slow_inner_transport_that_comes_too_late_is_closed(outbound: Callable[..., Any]) -> None:
    """A blocking transport that answers when nobody waits any more finds its response closed."""
    given: list[httpx2.Response] = []
    is_given_up = threading.Event()

    class Slow(httpx2.SyncByteStream):
        """A body of which nothing is read."""

    class Inner(httpx2.BaseTransport):
        """Answers when the call is given up."""

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            """Answer late."""
            is_given_up.wait(5)
            given.append(httpx2.Response(200, headers={"content-type": "application/json"}, stream=Slow()))
            return given[0]

    with httpx2.Client(transport=outbound("openai", "fine", inner=Inner()), timeout=0.1) as client:
        with pytest.raises(httpx2.ReadTimeout):
            client.post(ELSEWHERE, json=CALL)
        is_given_up.set()
        wait_until(lambda: given and given[0].is_closed)


def test_trio_is_served(outbound: Callable[..., Any], provider: Any) -> None:
    """A call under trio gets its answer and its stream."""

    async def ask() -> list[bytes]:
        """Make both calls."""
        async with httpx2.AsyncClient(transport=outbound("openai", "down", "fine")) as client:
            return [(await client.post(ELSEWHERE, json=body)).content for body in (CALL, STREAM)]

    answers = anyio.run(ask, backend="trio")

    assert b'"model": "fine"' in answers[0]
    assert answers[1].endswith(b"data: [DONE]\n\n")
    assert provider.counts["fine"] == 2


def test_closing_leaves_no_thread_and_ends_what_waits(outbound: Callable[..., Any], provider: Any) -> None:
    """Who still waits when a transport is closed is told so; the thread is gone, and the provider let go."""
    transport = outbound("openai", "silent", forward=PATIENT)
    client, told = httpx2.Client(transport=transport), []

    def wait_for_ever() -> None:
        """Call, and keep what comes of it."""
        try:
            client.post(ELSEWHERE, json=CALL)
        except RuntimeError as error:
            told.append(str(error))

    waiting = threading.Thread(target=wait_for_ever)
    waiting.start()
    wait_until(lambda: provider.heard)
    client.close()
    waiting.join(5)

    assert told == ["the transport was closed meanwhile"]
    assert background_threads() == []
    assert provider.left["silent"].wait(BOUND_S)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_transport_that_is_forgotten_leaves_no_thread(outbound: Callable[..., Any]) -> None:
    """Who drops a client without closing it leaves nothing that runs."""
    client = httpx2.Client(transport=outbound("openai", "fine"))
    assert client.post(ELSEWHERE, json=CALL).status_code == 200
    assert len(background_threads()) == 1

    del client
    gc.collect()

    wait_until(lambda: background_threads() == [])


def test_many_threads_share_one_loop(outbound: Callable[..., Any]) -> None:
    """Blocking calls of many threads are served side by side by one thread more."""
    with httpx2.Client(transport=outbound("openai", "fine")) as client:
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.post(ELSEWHERE, json=CALL).status_code))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        running = background_threads()

    assert answers == [200] * 20
    assert len(running) == 1


FORKED: Final = """
import os, sys
import httpx2, plano_asgi
from plano_asgi.assembly import build_router
from plano_asgi.settings import load_settings
from plano_asgi.testing import FixedClassifier
from pathlib import Path
settings = load_settings(Path(sys.argv[1]), environ={})
router = build_router(settings, classifier=FixedClassifier({"code": 0.9}))
client = httpx2.Client(transport=plano_asgi.transport(settings=settings, router=router))
def ask():
    return client.post("https://sdk.test/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}]})
begun = client.send(client.build_request("POST", "https://sdk.test/v1/chat/completions",
    json={"messages": [{"role": "user", "content": "x"}], "stream": True}), stream=True)
child = os.fork()
if child == 0:
    print("child", ask().json()["model"], flush=True)
    begun.close()
    client.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("parent", ask().json()["model"], len(begun.read()) > 0, flush=True)
client.close()
"""


def test_forked_child_calls_on_its_own(configured: Callable[..., str], provider: Any, tmp_path: Path) -> None:
    """After a fork both processes call and close, and a stream that the parent has begun is the parent's."""
    file = tmp_path / "plano.yaml"
    file.write_text(configured("openai", "fine"), encoding="utf-8")

    said = subprocess.run(
        [sys.executable, "-c", FORKED, str(file)], capture_output=True, text=True, timeout=60, check=False
    )

    assert said.stdout.splitlines() == ["child fine", "parent fine True"], said.stderr
    assert provider.counts["fine"] == 3


def test_call_that_went_through_too_many_routers_is_refused(service: Callable[..., Any], provider: Any) -> None:
    """The gateway sends one hop more than came, and refuses what has come through two already; nobody is asked."""
    serving = service("fine")

    good, refused, odd = (serving.ask(headers={"x-plano-hop": hops})[0] for hops in ("1", "2", "many"))

    assert (good.status_code, odd.status_code) == (200, 200)
    assert [heard.headers["x-plano-hop"] for heard in provider.heard] == ["2", "1"]
    assert (refused.status_code, refused.headers["x-should-retry"]) == (508, "false")
    assert "goes round in a loop" in refused.json()["error"]["message"]


@pytest.mark.parametrize(("mode", "status"), [("rewrite", 508), ("observe", 200)])
def test_middleware_refuses_a_loop_too(
    mode: str, status: int, behind: Callable[..., PlanoMiddleware], ask: Callable[..., Any], api: Any
) -> None:
    """In front of an app a call that goes round is answered, in its API's shape; under `observe` it passes."""

    async def app(request: Request) -> Response:
        """Answer anything."""
        return Response(await request.body())

    inner = Starlette(routes=[Route(api.path, app, methods=["POST"])])
    text = f"mode: {mode}\nmodel_providers: [{{model: openai/gpt-4o, default: true}}]"
    app_behind = behind(inner, text, FixedClassifier({}))

    answer = ask(app_behind, "POST", api.path, json=api.body(), headers={"x-plano-hop": "2"})

    assert answer.status_code == status
    assert ("error" in answer.json()) == (status == 508)


@pytest.fixture
def looping(
    serve: Callable[[Starlette], str], settings_of: Callable[[str], Settings]
) -> Iterator[Callable[..., tuple[str, list[int]]]]:
    """Return what serves an app that calls itself: its provider's `base_url` is its own; gives URL and calls."""
    routers: list[Any] = []
    transports: list[Any] = []

    def make(*, is_async: bool) -> tuple[str, list[int]]:
        calls: list[int] = []

        async def chat_async(request: Request) -> Response:
            """Call on, awaiting."""
            calls.append(1)
            answer = await httpx2.AsyncClient(transport=transports[0]).post(
                ELSEWHERE, content=await request.body(), headers=JSON
            )
            return Response(answer.content, answer.status_code, dict(answer.headers))

        def chat_blocking(request: Request) -> Response:
            """Call on, blocking a thread."""
            del request
            calls.append(1)
            answer = httpx2.Client(transport=transports[0]).post(ELSEWHERE, json=CALL)
            return Response(answer.content, answer.status_code, dict(answer.headers))

        chat = chat_async if is_async else chat_blocking
        app = Starlette(routes=[Route(CHAT, chat, methods=["POST"])])
        text = "model_providers: [{model: openai/gpt-4o, default: true, access_key: k, base_url: 'URL/v1'}]\n"
        text += "failover: {attempts: 1}"
        app.add_middleware(PlanoMiddleware, settings=settings_of(text.replace("URL", "http://127.0.0.1:9")))
        url = serve(app)
        router = plano_asgi.build_router(settings_of(text.replace("URL", url)), classifier=FixedClassifier({}))
        routers.append(router)
        transports.append(plano_asgi.transport(settings=settings_of(text.replace("URL", url)), router=router))
        return url, calls

    yield make
    for part in (*transports, *routers):
        part.close()


JSON: Final = {"content-type": "application/json"}


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "blocking"])
def test_app_that_calls_itself_stops_soon(looping: Callable[..., tuple[str, list[int]]], *, is_async: bool) -> None:
    """A loop through the middleware and a transport ends after two rounds, and the caller is told."""
    url, calls = looping(is_async=is_async)

    answer = httpx2.post(url + CHAT, json=CALL, timeout=20)

    assert answer.status_code == 502
    assert len(calls) == 2


@pytest.mark.parametrize("startup", ["wait", "background"])
def test_transport_of_a_file_has_a_model_of_its_own(
    startup: str, configured: Callable[..., str], tmp_path: Path, provider: Any
) -> None:
    """Without a router it loads the model that its file names, at once or behind the calls, and lets go of it."""
    file = tmp_path / "plano.yaml"
    more = f"startup: {startup}\nclassifier: {{deadline_ms: 20000}}"
    file.write_text(configured("openai", "fine", more=more).replace("mode: forward", "mode: rewrite"), encoding="utf-8")
    call = {"messages": [{"role": "user", "content": "Write code: a binary search in Python"}]}

    with httpx2.Client(transport=plano_asgi.transport(config=file), timeout=30) as client:
        answer = client.post(ELSEWHERE, json=call)

    assert (answer.headers["x-plano-model"], answer.headers["x-plano-reason"]) == ("openai/fine", "matched")
    assert provider.counts["fine"] == 1
    assert background_threads() == []


FORGETFUL: Final = """
import sys
import httpx2, plano_asgi
from plano_asgi.settings import load_settings
from pathlib import Path
settings = load_settings(Path(sys.argv[1]), environ={})
client = httpx2.Client(transport=plano_asgi.transport(settings=settings))
print(client.post("https://sdk.test/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}]}))
"""


def test_program_that_closes_nothing_ends_cleanly(
    configured: Callable[..., str], provider: Any, tmp_path: Path
) -> None:
    """A program whose clients live until its end says nothing of threads or sockets, and ends."""
    file = tmp_path / "plano.yaml"
    file.write_text(configured("openai", "fine"), encoding="utf-8")

    said = subprocess.run(
        [sys.executable, "-c", FORGETFUL, str(file)], capture_output=True, text=True, timeout=60, check=False
    )

    assert (said.returncode, said.stdout, said.stderr) == (0, "<Response [200 OK]>\n", "")
    assert len(provider.heard) == 1
