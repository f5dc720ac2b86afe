"""What every harness of the contract is given, and the hosts that the claims are tried on.

A harness is a file `harness_<framework>.py` with one class `Harness`: see the protocol below.
"""

import json
import runpy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import Event, Thread
from typing import Any, ClassVar, Final, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import WSGIApplication
from wsgiref.validate import validator

import httpx
import pytest
from starlette.applications import Starlette

from plano_asgi.intake import RoutedCall

CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    access_key: sk-of-openai
    routing_preferences: [{name: "deep thought", description: hard problems}]
  - model: anthropic/claude-sonnet-4-20250514
    routing_preferences: [{name: code, description: writing code}]
  - model: vercel/kimi-k2
    routing_preferences: [{name: talk, description: greetings and small talk}]
limits: {body_bytes: 200000}
classifier: {deadline_ms: 20000}
"""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What came of one call.

    Attributes:
        status: The answer's status.
        headers: The answer's headers.
        told: What the handler told of the request it was given; None where it saw none.
        error: The answer's body where no handler saw the call.
    """

    status: int
    headers: Mapping[str, str]
    told: Mapping[str, Any] | None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Streamed:
    """An answer that comes in pieces.

    Attributes:
        headers: What is told of the decision; complete once the last piece has come.
        pieces: The pieces, as they come.
    """

    headers: Mapping[str, str]
    pieces: Iterator[bytes]


class Host(Protocol):
    """A running service that routes."""

    def send(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Seen:
        """Return what comes of a call."""

    def stream(self, path: str, body: bytes) -> AbstractContextManager[Streamed]:
        """Give the answer to a call whose handler streams `Kit.words`."""


@dataclass(frozen=True)
class HttpHost:
    """A host that is asked over HTTP."""

    client: httpx.Client

    def send(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Seen:
        """Return what comes of a call."""
        answer = self.client.post(path, content=body, headers={"content-type": "application/json", **(headers or {})})
        said = answer.json()
        is_told = "told" in said
        return Seen(
            status=answer.status_code,
            headers=answer.headers,
            told=said["told"] if is_told else None,
            error=None if is_told else said,
        )

    @contextmanager
    def stream(self, path: str, body: bytes) -> Iterator[Streamed]:
        """Give the answer to a call whose handler streams."""
        kind = {"content-type": "application/json"}
        with self.client.stream("POST", f"/stream{path}", content=body, headers=kind) as answer:
            yield Streamed(answer.headers, answer.iter_bytes())


@dataclass(frozen=True)
class Kit:
    """What a harness builds its host with.

    Attributes:
        config: The configuration, a YAML file.
        over_asgi: Serves an ASGI app by uvicorn and gives its host.
        over_wsgi: Serves a WSGI app, a thread for each call, with the standard library's validator around it.
        fixture: Gives another fixture by its name.
        first_words_read: Set by the client that has read them.
        seen: For a harness that asks its host by another way than HTTP: what came of a call.
        streamed: The same of a call whose answer comes in pieces.
    """

    config: Path
    over_asgi: Callable[[Any], HttpHost]
    over_wsgi: Callable[[Any], HttpHost]
    fixture: Callable[[str], Any]
    first_words_read: Event = field(default_factory=Event)
    seen: type[Seen] = Seen
    streamed: type[Streamed] = Streamed

    def told(self, body: bytes, headers: Mapping[str, str], routed: RoutedCall | None) -> dict[str, Any]:
        """Return what the handler of calls answers: what it was given."""
        return {
            "told": {
                "body": body.decode("latin-1"),
                "headers": {name.lower(): value for name, value in headers.items()},
                "route": routed and routed.decision.route,
                "reason": routed and routed.decision.reason.value,
                "provider": routed and routed.provider and routed.provider.model,
            }
        }

    def words(self) -> Iterator[bytes]:
        """Yield the answer of `/stream/v1/chat/completions`; its last word comes when the first have been read."""
        yield b"data: first\n\n"
        yield b"data: last\n\n" if self.first_words_read.wait(20) else b"data: nobody read the first words\n\n"


class Harness(Protocol):
    """A framework with its adapter; made without arguments.

    Attributes:
        variants: The ways to host it.
        not_claimed: Claims by the names of their tests that make no sense here, each with the reason why.
    """

    variants: ClassVar[tuple[str, ...]]
    not_claimed: ClassVar[Mapping[str, str]]

    def host(self, variant: str, kit: Kit) -> AbstractContextManager[Host]:
        """Give a host that answers calls, at any path that ends as theirs, with `Kit.told`."""


def found() -> Iterator[tuple[str, Harness, str]]:
    """Yield the name, the harness and the variant of all there are."""
    for file in sorted(Path(__file__).parent.glob("harness_*.py")):
        harness: Harness = runpy.run_path(str(file))["Harness"]()
        for variant in harness.variants:
            yield f"{file.stem.removeprefix('harness_')} {variant}", harness, variant


ALL: Final = list(found())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try a claim on every harness but those that say why it is none of theirs."""
    if "host" in metafunc.fixturenames:
        tried = [one for one in ALL if metafunc.function.__name__ not in one[1].not_claimed]
        metafunc.parametrize("host", tried, ids=lambda one: one[0], indirect=True, scope="module")


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    """A thread for each call."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """No line for each call."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Say nothing."""


@contextmanager
def _wsgi_server(app: WSGIApplication) -> Iterator[str]:
    """Serve a WSGI app and give its URL."""
    with make_server("127.0.0.1", 0, validator(app), server_class=_ThreadingServer, handler_class=_Quiet) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


@pytest.fixture(scope="module")
def kit(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, serve: Callable[[Starlette], str]
) -> Iterator[Kit]:
    """Yield what harnesses build their hosts with; the servers end with the module."""
    config = tmp_path_factory.mktemp("contract") / "plano.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    with ExitStack() as stack:

        def client_of(url: str) -> HttpHost:
            """Return the host at a URL."""
            return HttpHost(stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=30)))

        yield Kit(
            config,
            over_asgi=lambda app: client_of(serve(app)),
            over_wsgi=lambda app: client_of(stack.enter_context(_wsgi_server(app))),
            fixture=request.getfixturevalue,
        )


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, kit: Kit) -> Iterator[Host]:
    """Yield one host after the other."""
    _, harness, variant = request.param
    with harness.host(variant, kit) as opened:
        yield opened


@pytest.fixture(scope="session")
def not_claimed() -> Mapping[str, str]:
    """Return the reasons why claims are not made, by claim."""
    return {claim: reason for _, harness, _ in ALL for claim, reason in harness.not_claimed.items()}


def call(text: str, **more: object) -> bytes:
    """Return the body of a Chat Completions call, as a client writes it."""
    return json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": text}], **more}, indent=1).encode()


@pytest.fixture(scope="session")
def body_of() -> Callable[..., bytes]:
    """Return what writes the body of a Chat Completions call."""
    return call
