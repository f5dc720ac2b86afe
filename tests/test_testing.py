"""Tests of a service that routes: a rule decides in place of the model, and the app needs no change."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

import plano_asgi
from plano_asgi import LLMCall, PlanoMiddleware
from plano_asgi.settings import load_settings
from plano_asgi.testing import failing, routed_by, slow

ROOT: Final = Path(__file__).parents[1]
CONFIG: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences: [{name: proofs, description: hard problems}]
  - model: anthropic/claude-sonnet-4-20250514
    routing_preferences: [{name: code, description: writing code}]
"""
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"

Ask = Callable[..., httpx.Response]


async def echo(request: Request) -> Response:
    """Answer with the model in the body."""
    return JSONResponse({"model": (await request.json())["model"]})


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starlette:
    """Return an app that was made without a thought of tests, configured by the environment."""
    (tmp_path / "mine.yaml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.setenv("PLANO_CONFIG_FILE", str(tmp_path / "mine.yaml"))
    app = Starlette(routes=[Route(CHAT, echo, methods=["POST"]), Route(MESSAGES, echo, methods=["POST"])])
    app.add_middleware(PlanoMiddleware)
    return app


def call(text: str, **more: Any) -> dict[str, Any]:
    """Return a call that says something."""
    return {"model": "auto", "max_tokens": 1, "messages": [{"role": "user", "content": text}], **more}


def test_texts_decide(app: Starlette, ask: Ask) -> None:
    """The first text of the rule that is in the latest user message decides, whatever its case."""
    with routed_by({"PROVE": "proofs", "parser": "code"}) as decisions:
        models = [
            ask(app, "POST", path, json=call(text)).json()["model"]
            for path, text in [(CHAT, "Prove it"), (MESSAGES, "a parser"), (CHAT, "prove a parser"), (CHAT, "hello")]
        ]

    assert models == ["gpt-4o", "claude-sonnet-4-20250514", "gpt-4o", "gpt-4o-mini"]
    assert [decision.route for decision in decisions] == ["proofs", "code", "proofs", None]


def test_latest_user_message_decides(app: Starlette, ask: Ask) -> None:
    """Neither what was said before nor what is said to the model as instructions counts."""
    turns = [
        {"role": "system", "content": "prove everything"},
        {"role": "user", "content": "prove it"},
        {"role": "assistant", "content": "I prove"},
        {"role": "user", "content": "thanks"},
    ]

    with routed_by({"prove": "proofs"}):
        assert ask(app, "POST", CHAT, json=call("", messages=turns)).headers["x-plano-reason"] == "no_match"


def test_function_decides(app: Starlette, ask: Ask) -> None:
    """A function is given the text of the call and returns the route."""
    heard: list[str] = []

    def rule(text: str) -> str:
        """Note the text."""
        heard.append(text)
        return "proofs"

    with routed_by(rule):
        assert ask(app, "POST", CHAT, json=call("hello")).json()["model"] == "gpt-4o"

    assert heard == ["hello"]


def test_decisions_are_those_that_were_obeyed(app: Starlette, ask: Ask) -> None:
    """A route whose model does not speak the call's API is told as what became of it."""
    with routed_by({"": "code"}) as decisions:
        answer = ask(app, "POST", CHAT, json=call("hello"))

    (decision,) = decisions
    assert (decision.would_use, decision.reason) == ("openai/gpt-4o-mini", "format")
    assert answer.headers["x-plano-model"] == decision.would_use


def test_every_call_is_decided_anew(app: Starlette, ask: Ask) -> None:
    """No decision comes from the cache: not within one rule, nor from the rule before."""
    for route in ("proofs", None):
        with routed_by(lambda _, route=route: route) as decisions:  # type: ignore[misc]  # its default is its value
            for _ in range(2):
                ask(app, "POST", CHAT, json=call("hello"))
        assert [(decision.route, decision.source) for decision in decisions] == [(route, "classifier")] * 2


def test_failing_rule_is_a_failing_classifier(app: Starlette, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call is served by the default model, or refused where the settings say so."""
    with routed_by(failing) as decisions:
        assert ask(app, "POST", CHAT, json=call("hello")).json()["model"] == "gpt-4o-mini"
    assert [decision.reason for decision in decisions] == ["error"]

    monkeypatch.setenv("PLANO_ROUTING__ON_ERROR", "reject")
    app = Starlette()
    app.add_middleware(PlanoMiddleware)
    with routed_by(failing) as decisions:
        assert ask(app, "POST", CHAT, json=call("hello")).status_code == 503
    assert decisions == []


@pytest.mark.parametrize(("deadline_ms", "reason"), [(20, "error"), (5_000, "matched")], ids=["late", "in time"])
def test_slow_rule_meets_the_deadline(
    deadline_ms: int, reason: str, app: Starlette, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that takes longer than the deadline is a failure, and one that does not has its say."""
    monkeypatch.setenv("PLANO_CLASSIFIER__DEADLINE_MS", str(deadline_ms))

    with routed_by(slow(0.15, {"hello": "proofs"})) as decisions:
        ask(app, "POST", CHAT, json=call("hello"))

    assert decisions[0].reason == reason


def test_slow_rule_finds_no_route_by_itself(app: Starlette, ask: Ask) -> None:
    """Without another rule to follow, none of the routes fits."""
    with routed_by(slow(0.001)) as decisions:
        ask(app, "POST", CHAT, json=call("hello"))

    assert decisions[0].reason == "no_match"


def test_route_that_is_not_there_fails_the_test(app: Starlette, ask: Ask) -> None:
    """A misspelt route is told when the context ends, with those there are."""
    with (
        pytest.raises(AssertionError, match="names the route 'proof'; the policy has proofs, code"),
        routed_by({"prove": "proof"}),
    ):
        ask(app, "POST", CHAT, json=call("prove it"))


def test_failure_of_the_test_itself_is_what_is_told(app: Starlette, ask: Ask) -> None:
    """What the test raises is not hidden behind a misspelt route."""

    def broken() -> None:
        """Fail, and misspell a route."""
        with routed_by({"prove": "proof"}):
            ask(app, "POST", CHAT, json=call("prove it"))
            raise KeyError

    with pytest.raises(KeyError):
        broken()


def test_inner_rule_decides_until_it_ends(app: Starlette, ask: Ask) -> None:
    """Of two rules, one within the other, the inner one decides; after it the outer one does again."""
    with routed_by({"": "proofs"}) as outer:
        with routed_by({"": "code"}) as inner:
            ask(app, "POST", MESSAGES, json=call("hello"))
        ask(app, "POST", CHAT, json=call("hello"))

    assert [decision.route for decision in outer + inner] == ["proofs", "code"]


def test_app_that_wraps_itself_on_import_is_decided_too(
    tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A middleware that was made before the rule, in a mounted app too, obeys it; so do the decision endpoints."""
    (tmp_path / "plano.yaml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    inner = PlanoMiddleware(Starlette(routes=[Route(CHAT, echo, methods=["POST"])]))
    app = Starlette(routes=[Mount("/api", inner)])

    with routed_by({"prove": "proofs"}):
        assert ask(app, "POST", f"/api{CHAT}", json=call("prove it")).json()["model"] == "gpt-4o"
        assert ask(app, "POST", f"/api/routing{CHAT}", json=call("prove it")).json()["route"] == "proofs"


def test_router_of_its_own_is_decided_too(tmp_path: Path) -> None:
    """A router without any app obeys the rule, on whatever thread, and no model is loaded for it."""
    (tmp_path / "mine.yaml").write_text(f"{CONFIG}classifier: {{threads: 1}}\n", encoding="utf-8")
    router = plano_asgi.build_router(load_settings(tmp_path / "mine.yaml", environ={}))

    with routed_by({"prove": "proofs"}) as decisions:
        assert (router.start(), router.is_ready) == (0.0, True)
        thread = Thread(target=router.route, args=[LLMCall.from_text("prove it")])
        thread.start()
        thread.join()

    assert router.is_ready is False
    assert [decision.route for decision in decisions] == ["proofs"]
    router.close()


def test_model_decides_when_the_rule_is_over(app: Starlette, serve: Callable[[Starlette], str]) -> None:
    """An app that has served a rule is as before when it is over: its real model is loaded and decides."""
    with routed_by({"": "proofs"}):
        url = serve(app)
        httpx.post(url + CHAT, json=call("hello"), trust_env=False)

    for _ in range(50):  # the first calls may meet the deadline: the model is loaded with them
        answer = httpx.post(url + CHAT, json=call("Prove that the square root of 2 is irrational"), trust_env=False)
        if answer.headers["x-plano-reason"] != "error":
            break

    assert answer.headers["x-plano-reason"] in {"matched", "no_match"}
    assert float(answer.headers["x-plano-confidence"]) not in {0.0, 1.0}


def test_tests_of_the_page_pass(tmp_path: Path) -> None:
    """The example of docs/testing.md is a test module that passes with the README's configuration."""
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^```yaml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert found
    (tmp_path / "plano.yaml").write_text(found[1], encoding="utf-8")
    (tmp_path / "test_service.py").write_text(example, encoding="utf-8")
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("PLANO_", "PYTEST_"))}

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio", "."],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr
