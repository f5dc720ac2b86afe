"""Health, readiness and start-up: what an orchestrator is told, and who serves calls meanwhile."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Final

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.conversation import Conversation
from plano_asgi.decisions import Scores
from plano_asgi.errors import ArtifactIntegrityError, ArtifactNotFoundError, ClassificationError
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.testing import FixedClassifier

SETTINGS: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing functions}]
"""
BACKGROUND: Final = SETTINGS + "startup: background\n"
CHAT: Final = "/routing/v1/chat/completions"
CALL: Final = {"messages": [{"role": "user", "content": "Write a function."}]}

Service = Callable[..., Starlette]


class LoadingClassifier(FixedClassifier):
    """A classifier whose model is loaded when `loaded` is set, and cannot be where `fault` is one."""

    def __init__(self, fault: BaseException | None = None) -> None:
        """Take what goes wrong."""
        self.loaded = Event()
        self.fault = fault
        super().__init__({"code": 0.9}, before=self._load)

    def prepare(self, policy: RoutingPolicy) -> None:
        """Wait for the model."""
        del policy
        self._load()

    def _load(self) -> None:
        """Wait for the model, or fail as it does."""
        assert self.loaded.wait(10)
        if self.fault:
            raise self.fault


class SilentClassifier(FixedClassifier):
    """A classifier that loads, and has no answer even then."""

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Give none."""
        raise ClassificationError(
            f"nothing to say of {len(conversation)} messages and {len(policy.preferences)} routes"
        )


@asynccontextmanager
async def started(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Start an app, give a client of it, and stop it."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://plano.test") as client,
    ):
        yield client


async def readiness(client: httpx.AsyncClient) -> httpx.Response:
    """Return the answer of `/readyz` once the model is not loading any more, at the latest after 5 seconds."""
    for _ in range(1_000):
        answer = await client.get("/readyz")
        if "the model is loading" not in answer.text:
            break
        await anyio.sleep(0.005)
    return answer


def model_folder(at: Path, *, damaged: str) -> Path:
    """Return a copy of the shipped model with one file cut short."""
    folder = shutil.copytree(SHIPPED_FOLDER, at / "model")
    (folder / damaged).write_bytes((folder / damaged).read_bytes()[:100])
    return folder


@pytest.mark.parametrize(
    ("path", "body"),
    [("/healthz", {"status": "ok"}), ("/readyz", {"status": "ready"}), ("/startupz", {"status": "started"})],
    ids=["healthz", "readyz", "startupz"],
)
def test_service_that_has_started_is_well(path: str, body: object, app_of: Service) -> None:
    """All probes say 200 once the model is warm, to HEAD as well, and take nothing else."""

    async def run() -> None:
        """Run the service."""
        async with started(app_of(SETTINGS, FixedClassifier({}))) as client:
            answer = await client.get(path)
            refused = await client.post(path)

            assert (answer.status_code, answer.json()) == (200, body)
            assert (await client.head(path)).status_code == 200
            assert (refused.status_code, refused.json()["error"]["code"]) == (405, "method_not_allowed")
            assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD"}

    anyio.run(run)


def test_start_waits_for_the_model(app_of: Service) -> None:
    """`startup: wait` serves nothing before the model has answered once; then the first call is routed."""
    classifier = LoadingClassifier()
    classifier.loaded.set()

    async def run() -> None:
        """Run the service."""
        async with started(app_of(SETTINGS, classifier)) as client:
            assert len(classifier.calls) == 1
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.post(CHAT, json=CALL)).json()["route"] == "code"

    anyio.run(run)


def test_start_that_waits_fails_with_the_model(tmp_path: Path, app_of: Service) -> None:
    """`startup: wait` with a damaged model does not start, and says which file it is."""
    folder = model_folder(tmp_path, damaged="comparer.onnx")
    app = app_of(f"{SETTINGS}classifier: {{model_path: {folder}}}\n")

    async def run() -> None:
        """Run the service."""
        async with started(app):
            pytest.fail("it started")

    with pytest.raises(ArtifactIntegrityError, match=r"comparer\.onnx: its SHA-256 is not the one in router\.json"):
        anyio.run(run)


def test_missing_model_file_is_told_before_anything_starts(tmp_path: Path, app_of: Service) -> None:
    """A model folder without one of its files is refused at once, even by a start in the background."""
    folder = model_folder(tmp_path, damaged="comparer.onnx")
    (folder / "tokenizer.json").unlink()

    with pytest.raises(ArtifactNotFoundError, match=r"tokenizer\.json does not exist; "):
        app_of(f"{BACKGROUND}classifier: {{model_path: {folder}}}\n")


def test_start_in_the_background_serves_by_the_default_until_warm(app_of: Service) -> None:
    """`startup: background` serves at once: by the default model while the model loads, routed from then on."""
    classifier = LoadingClassifier()

    async def run() -> None:
        """Run the service."""
        async with started(app_of(BACKGROUND + "classifier: {deadline_ms: 30}\n", classifier)) as client:
            loading, starting = await client.get("/readyz"), await client.get("/startupz")
            early = (await client.post(CHAT, json=CALL)).json()
            well = await client.get("/healthz")
            classifier.loaded.set()
            warm = await readiness(client)
            later = (await client.post(CHAT, json=CALL)).json()

        assert (loading.status_code, loading.json()["reasons"]) == (503, ["the model is loading"])
        assert (starting.status_code, starting.json()["status"]) == (503, "not started")
        assert (early["reason"], early["would_use"]) == ("error", "openai/gpt-4o-mini")
        assert well.status_code == 200
        assert (warm.status_code, warm.json()) == (200, {"status": "ready"})
        assert later["route"] == "code"

    anyio.run(run)


@pytest.mark.parametrize(
    ("more", "status", "reason"),
    [("", 200, "error"), ("routing: {on_error: reject}\n", 503, None)],
    ids=["default", "reject"],
)
def test_damaged_model_in_the_background_is_told_and_survived(
    more: str, status: int, reason: str | None, tmp_path: Path, app_of: Service
) -> None:
    """Where the model turns out damaged, readiness says so, one line is logged, and calls are served by `on_error`."""
    folder = model_folder(tmp_path, damaged="encoder.onnx")
    app = app_of(f"{BACKGROUND}{more}classifier: {{model_path: {folder}}}\n")

    async def run() -> None:
        """Run the service."""
        async with started(app) as client:
            answer = await readiness(client)
            call = await client.post(CHAT, json=CALL)
            assert (await client.get("/startupz")).status_code == 503

        (told,) = answer.json()["reasons"]
        assert answer.status_code == 503
        assert told == "the model could not be loaded (ArtifactIntegrityError); the log says more"
        assert (call.status_code, call.json().get("reason")) == (status, reason)

    with capture_logs() as events:
        anyio.run(run)
    errors = [event for event in events if event["log_level"] == "error"]
    assert [event["error"] for event in errors] == ["ArtifactIntegrityError"]
    assert errors[0]["detail"].startswith(f"{folder / 'encoder.onnx'}: its SHA-256 is not the one in router.json")


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (MemoryError(), "MemoryError"),
        (RuntimeError("no such device"), "RuntimeError"),
        (ClassificationError("no answer"), "ClassificationError"),
    ],
    ids=["out of memory", "foreign", "ours"],
)
def test_any_failure_in_the_background_is_told_and_survived(fault: Exception, name: str, app_of: Service) -> None:
    """Whatever keeps the model from being loaded, the service goes on and says of what kind it was."""
    classifier = LoadingClassifier(fault)
    classifier.loaded.set()

    async def run() -> None:
        """Run the service."""
        async with started(app_of(BACKGROUND, classifier)) as client:
            answer = await readiness(client)
            call = await client.post(CHAT, json=CALL)

        assert (answer.status_code, answer.json()["reasons"]) == (
            503,
            [f"the model could not be loaded ({name}); the log says more"],
        )
        assert (call.status_code, call.json()["reason"]) == (200, "error")

    anyio.run(run)


def test_classifier_without_an_answer_is_not_ready(app_of: Service) -> None:
    """A model that loads and cannot classify is no ready one: the start that waits fails."""

    async def run() -> None:
        """Run the service."""
        async with started(app_of(SETTINGS, SilentClassifier({}))):
            pytest.fail("it started")

    with pytest.raises(ClassificationError):
        anyio.run(run)


def test_service_that_stops_answers_the_last_calls(app_of: Service) -> None:
    """A call that comes while the service stops is served by the default model, never an error."""
    app = app_of(SETTINGS, FixedClassifier({"code": 0.9}))

    async def run() -> None:
        """Run the service."""
        async with started(app):
            pass
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://plano.test") as client:
            late = await client.post(CHAT, json=CALL)

        assert (late.status_code, late.json()["reason"]) == (200, "error")

    anyio.run(run)


def test_shipped_model_starts_within_the_service(app_of: Service, serve: Callable[[Starlette], str]) -> None:
    """A real server with the shipped model is ready as soon as its port answers, and routes."""
    url = serve(app_of(SETTINGS + "classifier: {deadline_ms: 20000}\n"))

    with httpx.Client(base_url=url) as client:
        assert client.get("/readyz").status_code == 200
        assert client.post(CHAT, json=CALL).json()["route"] == "code"
