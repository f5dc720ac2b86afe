"""Whole services for tests: settings out of a YAML text, a tiny Arch-Router, real servers, and made-up data sets."""

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, SIGTERM
from threading import Thread
from typing import Any, Self

import anyio
import httpx
import numpy as np
import pytest
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from plano_asgi import PlanoMiddleware
from plano_asgi.assembly import build_router
from plano_asgi.classify import Classifier
from plano_asgi.classify.arch_router.bundle import Bundle, KeyValueShape
from plano_asgi.classify.digests import sha256_of
from plano_asgi.classify.prompts import CHAT_MARKS
from plano_asgi.classify.prompts.templates import TEMPLATES
from plano_asgi.http.server import create_app
from plano_asgi.lab.export.architecture import Architecture
from plano_asgi.lab.export.graph import write_graph
from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.weights import RandomWeights
from plano_asgi.lab.train.held_out import held_out
from plano_asgi.settings import Settings, load_settings


def pytest_configure() -> None:
    """Let no timing gate a property test; some environments have no hypothesis, and run none."""
    if find_spec("hypothesis"):
        import hypothesis  # noqa: PLC0415 - as said

        hypothesis.settings.register_profile("untimed", deadline=None)
        hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def unconfigured_logging() -> Iterator[None]:
    """Take back what a test or the command has configured of structlog, which is global."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def settings_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Settings]:
    """Return what makes settings of a YAML text; where that says nothing of a classifier, the usual one has patience.

    Its own deadline is of milliseconds, which a busy machine may miss in a test that is not about that.
    """

    def load(text: str) -> Settings:
        path = tmp_path_factory.mktemp("settings") / "plano.yaml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path, environ={} if "classifier" in text else {"PLANO_CLASSIFIER__DEADLINE_MS": "5000"})

    return load


@pytest.fixture(scope="module")
def routers() -> Iterator[ExitStack]:
    """Return what closes the routers that a module's tests have made."""
    with ExitStack() as routers:
        yield routers


@pytest.fixture(scope="module")
def app_of(settings_of: Callable[[str], Settings], routers: ExitStack) -> Callable[..., Starlette]:
    """Return what makes the service of a YAML text, with the classifier it names or the one given."""

    def make(text: str, classifier: Classifier | None = None) -> Starlette:
        settings = settings_of(text)
        router = build_router(settings, classifier=classifier)
        routers.callback(router.close)
        return create_app(settings, router)

    return make


@pytest.fixture(scope="module")
def behind(settings_of: Callable[[str], Settings], routers: ExitStack) -> Callable[..., PlanoMiddleware]:
    """Return what puts an app behind the middleware of a YAML text, with the classifier given."""

    def wrap(app: ASGIApp, text: str, classifier: Classifier | None = None) -> PlanoMiddleware:
        settings = settings_of(text)
        router = build_router(settings, classifier=classifier)
        routers.callback(router.close)
        return PlanoMiddleware(app, settings=settings, router=router)

    return wrap


@dataclass
class RunningRedis:
    """A real redis-server on a port of loopback, which can be stopped and started again; keeps nothing on disk."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
        self.process = subprocess.Popen([*command, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < until, "redis-server does not start; is it installed?"
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it at once, with all that it keeps."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        """Return whether it serves."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.2) as asked:
                asked.sendall(b"PING\r\n")
                return asked.recv(5) == b"+PONG"
        except OSError:
            return False


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RunningRedis]:
    """Return a running Redis server of the test's own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = RunningRedis(tmp_path, port)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a Redis server that tests share; each keeps to a `redis.prefix` of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = RunningRedis(tmp_path_factory.mktemp("redis"), port)
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Return the URL of a PostgreSQL server that tests share; each keeps to a database, or keys, of its own."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), shutil.which("initdb")]
    assert found[0], "PostgreSQL is not installed"
    programs, folder = Path(found[0]).resolve().parent, Path(tempfile.mkdtemp(prefix="plano-postgres-"))
    user = "postgres" if os.geteuid() == 0 else None  # it does not run as root
    if user:
        shutil.chown(folder, user)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "-D", str(folder / "data")]
    subprocess.run([programs / "initdb", *options], user=user, check=True, capture_output=True, cwd=folder)
    settings = [f"-cport={port}", "-cfsync=off", "-clisten_addresses=127.0.0.1", f"-cunix_socket_directories={folder}"]
    command = [str(programs / "postgres"), "-D", str(folder / "data"), *settings]
    server = subprocess.Popen(command, user=user, cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        until = time.monotonic() + 20
        while subprocess.run([str(programs / "pg_isready"), "-q", "-d", url], check=False).returncode:
            assert time.monotonic() < until, "PostgreSQL does not start"
            time.sleep(0.05)
        yield url
    finally:
        server.send_signal(SIGINT)  # its fast shutdown
        server.wait(20)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def ask() -> Callable[..., httpx.Response]:
    """Return what sends one request straight to an app, with no server between; takes what httpx takes."""

    def send(app: Starlette, method: str, path: str, **request: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            """Send it."""
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://plano.test") as client:
                return await client.request(method, path, **request)

        return anyio.run(run)

    return send


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[ASGIApp], str]]:
    """Return what serves an app on a free port of loopback until the module's last test is over, and gives its URL."""
    servers: list[RunningServer] = []

    def start(app: ASGIApp) -> str:
        servers.append(RunningServer.of(app))
        return servers[-1].url

    yield start
    for server in servers:
        server.server.should_exit = True  # all at once: each takes a moment to notice
    for server in servers:
        server.thread.join(10)
        assert not server.thread.is_alive(), "the server did not stop"


@dataclass(frozen=True)
class RunningServer:
    """A plain uvicorn in a thread."""

    server: uvicorn.Server
    thread: Thread
    url: str

    @classmethod
    def of(cls, app: ASGIApp) -> Self:
        """Serve an app."""
        listener = socket.socket(proto=socket.IPPROTO_TCP)  # named, so that asyncio switches Nagle's algorithm off
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, http="h11", loop="asyncio", lifespan="on", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.005)
        return cls(server, thread, f"http://127.0.0.1:{listener.getsockname()[1]}")


@dataclass(frozen=True)
class Launched:
    """A server in a process of its own, which has answered already."""

    url: str
    process: "subprocess.Popen[bytes]"
    folder: Path

    @property
    def said(self) -> str:
        """What it has written to stdout so far."""
        return (self.folder / "stdout").read_text(encoding="utf-8")

    @property
    def complained(self) -> str:
        """What it has written to stderr so far."""
        return (self.folder / "stderr").read_text(encoding="utf-8")

    def stop(self) -> int:
        """Ask it to stop, as a supervisor does, and return its exit code."""
        self.process.send_signal(SIGTERM)
        return self.process.wait(20)


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Launched]]:
    """Return what starts a server's command, `{port}` in it being a free one, and waits until it answers.

    Its environment holds what is given and nothing of this machine's but what programs need to be found. The servers
    are stopped when the module's last test is over.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(command: Sequence[str], *, folder: Path, environ: Mapping[str, str]) -> Launched:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        words = [word.replace("{port}", str(port)) for word in command]
        written = tmp_path_factory.mktemp("launched")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        home = {"HOME": str(written), "PATH": path}
        with (written / "stdout").open("wb") as out, (written / "stderr").open("wb") as err:
            process = subprocess.Popen(words, cwd=folder, env={**home, **environ}, stdout=out, stderr=err)
        started.append(process)
        launched = Launched(f"http://127.0.0.1:{port}", process, written)
        with httpx.Client(trust_env=False, timeout=10) as client:
            while not _answers(client, launched.url):
                assert process.poll() is None, f"{words[0]} did not start:\n{launched.complained}"
                time.sleep(0.05)
        return launched

    yield start
    running = [process for process in started if process.poll() is None]
    for process in running:
        process.terminate()
    for process in running:
        process.wait(20)


def _answers(client: httpx.Client, url: str) -> bool:
    """Return whether a server answers, whatever it says."""
    try:
        client.get(url)
    except httpx.TransportError:
        return False
    return True


@pytest.fixture(scope="session")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `tokenizer.json` of a small tokenizer that works as those of real models do."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    _tiny_tokenizer().save(str(path))
    return path


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an Arch-Router of two layers with random weights, as an export would write it."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = _tiny_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab_size()
    shape = Architecture(
        layers=2, hidden=32, intermediate=64, heads=4, kv_heads=2, head_size=16, vocabulary=vocabulary, context=4_096
    )
    write_graph(shape, RandomWeights(shape, seed=1), folder, Precision.FP32)
    start, end, text_end = CHAT_MARKS
    Bundle(
        folder=folder,
        revision="tiny",
        source={"model": "random"},
        precision="fp32",
        key_values=KeyValueShape(tensors=shape.kv_tensors, heads=2, head_size=16, dtype=np.dtype(np.float32).name),
        vocabulary=vocabulary,
        context=shape.context,
        chat_before=f"{start}user\n",
        chat_after=f"{end}\n{start}assistant\n",
        end_tokens=tuple(tokenizer.encode(end + text_end).ids),
        sha256=_digests(folder),
    ).write()
    return folder


@pytest.fixture
def bundle_with(tiny_bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return what copies the tiny bundle with some files replaced, or left out where None, and says so in its manifest.

    Keywords replace what the manifest says; it vouches for the new files unless `is_vouched` is False.
    """

    def copy(files: Mapping[str, bytes | None] | None = None, *, is_vouched: bool = True, **said: Any) -> Path:
        """Make the copy."""
        folder = tmp_path / "bundle"
        shutil.copytree(tiny_bundle, folder)
        for name, data in (files or {}).items():
            (folder / name).unlink()
            if data is not None:
                (folder / name).write_bytes(data)
        bundle = replace(Bundle.read(tiny_bundle), folder=folder, **said)
        replace(bundle, sha256=_digests(folder) if is_vouched else bundle.sha256).write()
        return folder

    return copy


def _digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all files but the manifest."""
    return {path.name: sha256_of(path) for path in folder.iterdir() if path.name != "router.json"}


def _tiny_tokenizer() -> Tokenizer:
    """Return a byte-level tokenizer like Qwen2's with 500 tokens, which knows the words of the prompt."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
    )
    words = [template.opening + template.between + template.ending for template in TEMPLATES.values()]
    tokenizer.train_from_iterator(words, trainer)
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in CHAT_MARKS])
    return tokenizer


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with made-up public sets, in the files that training and the exam read.

    What the exam asks about says "examined" in each text, and so does all of the test splits.
    """
    folder = tmp_path_factory.mktemp("datasets")
    services = {*held_out("sgd_services"), "Recipes_1", "Recipes_2", "Ferries_1"}
    files: dict[str, Sequence[Mapping[str, object]]] = {
        "clinc150": [*_intents("clinc150"), *_strangers("clinc150")],
        "banking77": [*_intents("banking77"), *_strangers("banking77")],
        "snips": [*_snips()],
        "sgd_turns": [*_turns(services)],
        "arena_hard": [{"cluster": f"cluster {n % 6}", "turns": [f"ask number {n}"]} for n in range(30)],
        "llmrouter_train": [{"task": t, "text": f"{t} {n}"} for t in ("gsm8k", "mbpp", "natural_qa") for n in range(9)],
        "mt_bench": [{"category": "writing", "turns": [f"examined {n}", "and again"]} for n in range(3)],
        "mt_bench_101": [{"task": "TS", "id": n, "history": _SHIFTS} for n in (704, 705)],
        "vsr_testcases": [{"file": "domain_classify_cases.json", "data": [_question("biology"), _question("chess")]}],
    }
    for name, rows in files.items():
        _gzipped(folder / f"{name}.jsonl.gz", "".join(f"{json.dumps(row)}\n" for row in rows))
    described = {
        service: {"descriptions": [f"all of {service}"], "intents": {_intent_of(service): [f"have {service} do it"]}}
        for service in services
    }
    _gzipped(folder / "sgd_descriptions.json.gz", json.dumps(described))
    return folder


_SHIFTS = [{"user": f"examined {n}", "bot": "as you like"} for n in range(3)]


def _gzipped(path: Path, text: str) -> None:
    """Write a text."""
    path.write_bytes(gzip.compress(text.encode()))


def _intents(name: str) -> Iterator[dict[str, object]]:
    """Yield rows of the intents that the exam asks about, in both splits, and of thirty others."""
    for intent in (*sorted(held_out(name)), *(f"intent_{n}" for n in range(30))):
        examined = "examined " * 3 if intent in held_out(name) else ""
        for n in range(4):
            text = {"text": f"{examined}please {intent} number {n}", "intent": intent, "domain": f"domain_{n}"}
            yield {"split": "train", **text}
            yield {"split": "test", **text, "text": f"{text['text']} examined examined examined"}


def _strangers(name: str) -> Iterator[dict[str, object]]:
    """Yield texts without an intent of the exam."""
    intent = None if name == "clinc150" else "some_other_intent"
    for n in range(220):
        said = {"intent": intent, "domain": "none"}
        yield {"split": "train", "text": f"nothing of the kind {n}", **said}
        yield {"split": "test", "text": f"nothing of the kind {n} examined examined examined", **said}


def _snips() -> Iterator[dict[str, object]]:
    """Yield rows of the seven intents."""
    intents = ("AddToPlaylist", "BookRestaurant", "GetWeather", "PlayMusic", "RateBook", "SearchCreativeWork")
    for intent in (*intents, "SearchScreeningEvent"):
        for n in range(3):
            yield {"split": "train", "text": f"{intent} {n}", "intent": intent}
            yield {"split": "test", "text": f"examined {intent} {n}", "intent": intent}


def _turns(services: set[str]) -> Iterator[dict[str, object]]:
    """Yield turns of dialogues with each service, and some in which no intent is active."""
    for service in sorted(services):
        is_asked = service in held_out("sgd_services")
        for n in range(160):
            said = f"{'examined ' * 3 if is_asked else ''}what {service} does, {n}"
            row = {"messages": [{"role": "user", "content": said}], "services": [service]}
            active = [[service, _intent_of(service)]] if n % 4 else []
            yield {"split": "test", **row, "active": active}
            if n < 12:
                yield {"split": "train", **row, "active": active}


def _intent_of(service: str) -> str:
    """Return a service's one intent."""
    return f"Ask{service.replace('_', '')}"


def _question(category: str) -> dict[str, str]:
    """Return a question of a domain."""
    return {"category": category, "question": f"examined {category}"}


@pytest.fixture(scope="session")
def django_project() -> Callable[..., AbstractContextManager[Any]]:
    """Return what makes a Django project of URL patterns and settings, for as long as its context lasts."""
    import django  # noqa: PLC0415 - where a test asks for it
    from django.conf import settings  # noqa: PLC0415 - same
    from django.test import override_settings  # noqa: PLC0415 - same

    if not settings.configured:
        settings.configure(
            SECRET_KEY="of a test",  # noqa: S106 - it keeps nothing
            ALLOWED_HOSTS=["*"],
            INSTALLED_APPS=["plano_asgi_django"],
            LOGGING_CONFIG=None,
            REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": [], "UNAUTHENTICATED_USER": None},
        )
        django.setup()

    def project(urls: Sequence[Any] = (), **changed: Any) -> AbstractContextManager[Any]:
        """Return the context."""
        return override_settings(ROOT_URLCONF=tuple(urls), **changed)

    return project
