"""A router that is started, closed and forked: what was closed stays closed until it is started again."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from threading import Event, Thread
from threading import enumerate as running_threads
from typing import Final

import pytest
from starlette.testclient import TestClient

from plano_asgi import LLMCall
from plano_asgi.assembly import build_router
from plano_asgi.errors import ClassifierUnavailableError
from plano_asgi.http.server import create_app
from plano_asgi.settings import Settings
from plano_asgi.testing import FixedClassifier, routed_by

CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: code, description: writing code}]
"""
FORKED: Final = """
import os
from plano_asgi import LLMCall, build_router, load_settings
from plano_asgi.testing import FixedClassifier

providers = [
    {"model": "openai/gpt-4o-mini", "default": True},
    {"model": "openai/gpt-4o", "routing_preferences": [{"name": "code", "description": "writing code"}]},
]
settings = load_settings(environ={}, overrides={"model_providers": providers, "cache": {"size": 0}})
router = build_router(settings, classifier=FixedClassifier({"code": 0.9}))
call = LLMCall.from_text("write a parser")

def tell(who):
    print(who, router.route(call).reason.value, flush=True)

def fork(who, first):
    child = os.fork()
    if child == 0:
        first()
        tell(who)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

router.start()
tell("parent")
fork("child", lambda: None)
fork("child-that-closed", router.close)
tell("parent-of-closed")
router.close()
fork("child-of-closed", lambda: None)
fork("child-that-started", router.start)
"""


def test_closed_is_closed_in_forked_processes_too() -> None:
    """A worker decides for itself; where it or its parent has closed the router, `on_error` decides until a start."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, check=True, timeout=30, text=True
    )

    told = [line.split() for line in ran.stdout.splitlines() if not line.startswith("{")]
    assert told == [
        ["parent", "matched"],
        ["child", "matched"],
        ["child-that-closed", "error"],
        ["parent-of-closed", "matched"],
        ["child-of-closed", "error"],
        ["child-that-started", "matched"],
    ]


@pytest.mark.parametrize("around", [nullcontext, partial(routed_by, {"text": "code"})], ids=["classifier", "rule"])
def test_service_that_is_started_anew_decides_anew(
    around: Callable[[], AbstractContextManager[object]], settings_of: Callable[[str], Settings]
) -> None:
    """A closed router is not ready, so that a service whose lifespan begins again starts its router again."""
    settings = settings_of(CONFIG)
    router = build_router(settings, classifier=FixedClassifier({"code": 0.9}))
    app = create_app(settings, router)
    reasons = []

    with around():
        for number in range(2):
            call = {"messages": [{"role": "user", "content": f"text {number}"}]}
            with TestClient(app) as client:
                reasons.append(client.post("/routing/v1/chat/completions", json=call).json()["reason"])
            assert not router.is_ready

    assert reasons == ["matched", "matched"]


def test_start_that_fails_after_close_is_not_tried_again(settings_of: Callable[[str], Settings]) -> None:
    """A router that is closed while its start waits for a classifier elsewhere leaves no thread that goes on asking."""
    asked, closed = Event(), Event()

    def be_down_once_closed() -> None:
        """Fail as a server that is down, but not before the router is closed."""
        asked.set()
        closed.wait(10)
        raise ClassifierUnavailableError("down")

    classifier = FixedClassifier({}, before=be_down_once_closed)
    router = build_router(settings_of(CONFIG), classifier=classifier)
    starting = Thread(target=router.start)
    starting.start()
    assert asked.wait(10)

    router.close()
    closed.set()
    starting.join(10)

    for thread in running_threads():
        if thread.name == "plano-start-again":
            thread.join(0.2)
            assert not thread.is_alive()
    assert len(classifier.calls) == 1
    assert router.route(LLMCall.from_text("write a parser")).reason.value == "error"
