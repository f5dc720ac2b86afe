"""Django and Flask under real servers and the real model: many mixed calls at a time, each answered as if alone."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

FOLDER: Final = Path(__file__).parent
EXAMPLE: Final = FOLDER.parents[1] / "examples" / "demo"
CALLS: Final = int(os.environ.get("LOAD_CALLS", "400"))
CLIENTS: Final = 8
GUNICORN: Final = "gunicorn --preload --workers 2 --threads 4 --bind 127.0.0.1:{port} --chdir " + str(FOLDER)
UVICORN: Final = "uvicorn --port {port} --log-level warning --app-dir " + str(FOLDER)
COMMANDS: Final = {
    "Django, gunicorn": f"{GUNICORN} echo_django:application",
    "Django, uvicorn": f"{UVICORN} echo_django:asgi",
    "Flask, gunicorn": f"{GUNICORN} echo_flask:application",
    "Flask, uvicorn": f"{UVICORN} echo_flask:asgi",
}
TOPICS: Final = {
    "Write a Python function that implements binary search": "code_generation",
    "good morning": None,
}
MODELS: Final = {"code_generation": "claude-sonnet-4-20250514", "complex_reasoning": "gpt-4o", None: "gpt-4o-mini"}
PATIENCE: Final = {"PLANO_CLASSIFIER__DEADLINE_MS": "60000", "PLANO_ROUTING__CROSS_FORMAT": "true"}


@pytest.fixture(params=COMMANDS)
def server(request: pytest.FixtureRequest, launch: Callable[..., Any], tmp_path: Path) -> Iterator[Any]:
    """Yield a server of the app that tells what it was given, in a folder with the demo's configuration."""
    environ = {**PATIENCE, "PLANO_CONFIG_FILE": str(EXAMPLE / "plano.yaml")}
    started = launch(COMMANDS[request.param].split(), folder=tmp_path, environ=environ)
    yield started
    started.stop()


def text_of(number: int) -> str:
    """Return the text of a call: every second one is repeated often, so that the cache answers it."""
    topic = list(TOPICS)[number % 4 // 2]
    return topic if number % 2 else f"{topic}, please ({number})"


def body_of(number: int) -> bytes:
    """Return a call, or every seventh time what is none; either has its number in it."""
    if number % 7 == 0:
        return b'{"number": %d, "messages": ' % number
    turns = [{"role": "user", "content": text_of(number)}]
    return json.dumps({"model": "auto", "messages": turns, "metadata": {"number": str(number)}}).encode()


def test_mixed_calls_are_all_answered_each_with_its_own(server: Any) -> None:
    """Each call is answered 200 with its own body, model and decision; no process loads the model twice."""

    def ask(number: int) -> httpx.Response:
        """Send one call."""
        return client.post(
            "/v1/chat/completions", content=body_of(number), headers={"content-type": "application/json"}
        )

    limits = httpx.Limits(max_keepalive_connections=0)  # so that every worker gets its share
    with (
        httpx.Client(base_url=server.url, trust_env=False, timeout=60, limits=limits) as client,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        answers = list(clients.map(ask, range(CALLS)))

    assert Counter(answer.status_code for answer in answers) == {200: CALLS}
    for number, answer in enumerate(answers):
        assert_own(number, answer)
    loads = Counter(re.findall(r"model opened by (\d+)", server.complained))
    processes = {str(answer.json()["process"]) for answer in answers if answer.headers.get("x-plano-reason")}
    assert set(loads) == processes
    assert set(loads.values()) == {1}


def assert_own(number: int, answer: httpx.Response) -> None:
    """Find nothing of another call in an answer."""
    told = answer.json()
    if number % 7 == 0:
        assert (told["body"], told["route"]) == (body_of(number).decode(), None)
        return
    body = json.loads(told["body"])
    assert (body["metadata"], body["messages"][0]["content"]) == ({"number": str(number)}, text_of(number))
    assert answer.headers["x-plano-reason"] in {"matched", "no_match"}
    assert body["model"] == MODELS[told["route"]]
    assert answer.headers["x-plano-model"].partition("/")[2] == body["model"]
    if number % 2:  # as it is worded in TOPICS
        assert told["route"] == TOPICS[text_of(number)]
