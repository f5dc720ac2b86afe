"""`classifier.kind: cascade` from settings to decisions: the embedded router before a real bundle, or a real server."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from plano_asgi.assembly import build_classifier, build_router
from plano_asgi.classify.arch_router import ArchRouterClassifier
from plano_asgi.classify.cascade import CascadeClassifier
from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.cli import main
from plano_asgi.cli.examining import print_examination
from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import Reason
from plano_asgi.errors import ConfigurationError
from plano_asgi.router import Router
from plano_asgi.settings import Settings, load_settings

KEY = "sk-never-to-be-shown-4711"
PROVIDERS: dict[str, object] = {"model_providers": [{"model": "openai/gpt-4o-mini", "default": True}]}
CONFIG = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences:
      - {name: code, description: "generating new code, writing functions"}
      - {name: poems, description: poems and rhymes}
"""
ALWAYS = "{low: 0, high: 1}"  # the embedded router is never as sure as that
SELDOM = "{low: 0.5, high: 0.5}"  # and not on the texts of this file
URL = "http://h/v1"
TEXT = "Write a parser for ISO dates in Kotlin"


def settings_with(**classifier: object) -> Settings:
    """Return the settings of a classifier, and no more than has to be."""
    return load_settings(environ={}, overrides={**PROVIDERS, "classifier": classifier})


class Server:
    """A server in the shape of OpenAI's Chat Completions that answers one thing, and counts how often."""

    def __init__(self) -> None:
        """Say poems."""
        self.status = 200
        self.asked = 0
        self.url = ""
        self.app = Starlette(routes=[Route("/v1/chat/completions", self.answer, methods=["POST"])])

    async def answer(self, request: Request) -> JSONResponse:
        """Answer one request."""
        self.asked += 1
        message = {"role": "assistant", "content": '{"route": "poems"}'}
        return JSONResponse({"choices": [{"index": 0, "message": message}]}, self.status)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, on a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def server(serve: Callable[[Starlette], str]) -> Server:
    """Return a server that is up."""
    server = Server()
    server.url = f"{serve(server.app)}/v1"
    return server


@pytest.fixture
def router_of(settings_of: Callable[[str], Settings]) -> Iterator[Callable[..., Router]]:
    """Return what builds a router of classifier settings, with more sections."""
    with ExitStack() as routers:

        def build(classifier: str, sections: str = "") -> Router:
            text = f"{CONFIG}classifier: {{kind: cascade, deadline_ms: 20000, {classifier}}}\n{sections}"
            router = build_router(settings_of(text))
            routers.callback(router.close)
            return router

        yield build


Routers = Callable[..., Router]


@pytest.fixture
def plano(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str, str]]:
    """Return what runs `plano-asgi` in this process, and gives its code and what it said to stdout and stderr."""

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["plano-asgi", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return stopped.value.code, said.out, said.err

    return run


Command = Callable[..., tuple[object, str, str]]


def test_an_exported_model_decides_what_the_embedded_router_leaves_open(
    tiny_bundle: Path, router_of: Routers, settings_of: Callable[[str], Settings]
) -> None:
    """With `model_path` the second is Arch-Router, and its scores are those that it gives alone."""
    router = router_of(f"model_path: {tiny_bundle}, device: cpu, cascade: {ALWAYS}")
    alone = ArchRouterClassifier(tiny_bundle, device="cpu")
    call = LLMCall.from_text(TEXT)

    router.start()
    decision = router.route(call)
    expected = alone.classify(call.conversation, settings_of(CONFIG).policy)
    alone.close()

    assert router.is_ready
    assert (decision.stage, decision.failed_stage) == ("arch_router", None)
    assert decision.scores
    assert dict(decision.scores.routes) == pytest.approx(dict(expected.routes), abs=1e-6)
    assert math.isclose(decision.scores.other, expected.other, abs_tol=1e-6)


def test_what_the_embedded_router_is_sure_of_never_reaches_the_second(server: Server, router_of: Routers) -> None:
    """A server is asked once at the start, and for no decision that is sure."""
    router = router_of(f'base_url: "{server.url}", cascade: {SELDOM}', "cache: {size: 0}\n")
    embedded = EmbeddedClassifier()

    router.start()
    asked_at_start = server.asked
    decisions = [router.route(LLMCall.from_text(text)) for text in (TEXT, "a rhyme on spring", "Good morning!")]

    alone = [embedded.classify(LLMCall.from_text(text).conversation, router.policy) for text in (TEXT,)]
    assert (asked_at_start, server.asked) == (1, 1)
    assert decisions[0].scores
    assert dict(decisions[0].scores.routes) == pytest.approx(dict(alone[0].routes), abs=1e-6)
    assert {decision.stage for decision in decisions if decision.scores} == {"embedded"}


def test_a_server_decides_what_the_embedded_router_leaves_open(server: Server, router_of: Routers) -> None:
    """With `base_url` the second is that server; while it is down, the embedded router's answer stands."""
    router = router_of(f'base_url: "{server.url}", cascade: {ALWAYS}')
    router.start()

    asked = router.route(LLMCall.from_text(TEXT))
    server.status = 503
    stood_in = router.route(LLMCall.from_text(TEXT + ", please"))

    assert (asked.route, asked.stage, asked.failed_stage) == ("poems", "remote", None)
    assert (stood_in.route, stood_in.stage, stood_in.failed_stage) == ("code", "embedded", "remote")
    assert stood_in.reason is Reason.MATCHED


def test_a_server_that_is_down_keeps_no_service_from_starting(router_of: Routers) -> None:
    """The router is ready at once, and decides with what it has."""
    router = router_of(f'base_url: "http://127.0.0.1:9/v1", cascade: {ALWAYS}')

    router.start()

    assert router.is_ready
    assert router.route(LLMCall.from_text(TEXT)).route == "code"


@pytest.mark.parametrize(
    ("sections", "route"), [("", "code"), ("routing: {threshold: 0.999}\n", None)], ids=["own", "set"]
)
def test_a_threshold_of_the_settings_goes_before_a_stages_own(
    sections: str, route: str | None, server: Server, router_of: Routers
) -> None:
    """The embedded router's own threshold holds for its answers, until the settings name another."""
    router = router_of(f'base_url: "{server.url}", cascade: {SELDOM}', sections)

    assert router.route(LLMCall.from_text(TEXT)).route == route


@pytest.mark.parametrize(
    ("sections", "is_own"),
    [({}, True), ({"routing": {"threshold": 0.3}}, False), ({"classifier": {"calibration": "any.json"}}, False)],
    ids=["none", "threshold", "calibration"],
)
def test_scores_bring_a_threshold_along_where_nothing_else_names_one(
    sections: dict[str, dict[str, object]],
    settings_of: Callable[[str], Settings],
    *,
    is_own: bool,
) -> None:
    """A threshold of the settings or of a calibration is that of both stages, and so of the rules."""
    classifier = {"kind": "cascade", "base_url": URL, "cascade": {"low": 0.5, "high": 0.5}}
    merged = {**PROVIDERS, **sections, "classifier": classifier | sections.get("classifier", {})}
    cascade = build_classifier(load_settings(environ={}, overrides=merged))

    scores = cascade.classify(LLMCall.from_text(TEXT).conversation, settings_of(CONFIG).policy)

    assert scores.stage == "embedded"
    assert scores.threshold == (EmbeddedClassifier().threshold if is_own else None)


def test_a_cascade_is_built_as_the_settings_say(tiny_bundle: Path) -> None:
    """Band and deadline come from the settings; without them they are 0.2, 0.8 and the second's deadline."""
    remote: dict[str, object] = {"kind": "cascade", "base_url": "http://127.0.0.1:1/v1"}
    bundle: dict[str, object] = {"kind": "cascade", "model_path": str(tiny_bundle), "device": "cpu"}
    bands: list[dict[str, object]] = [{}, {"cascade": {"low": 0.1}}]
    plain, banded = (build_classifier(settings_with(**remote, **more)) for more in bands)
    local = build_classifier(settings_with(**bundle, threads=1))

    assert isinstance(plain, CascadeClassifier)
    assert plain.revision.endswith("/0.2-0.8")
    assert banded.revision.endswith("/0.1-0.8")
    assert (plain.deadline_ms, local.deadline_ms) == (2_000, 10_000)
    router = build_router(settings_with(**remote, deadline_ms=700))
    assert (router.deadline_ms, router.classifier.deadline_ms) == (700, 700)


def test_environment_alone_describes_a_cascade() -> None:
    """The band has a variable for each end, and one for both."""
    base = {
        "PLANO_MODEL_PROVIDERS": '[{"model": "openai/gpt-4o-mini", "default": true}]',
        "PLANO_CLASSIFIER__KIND": "cascade",
        "PLANO_CLASSIFIER__BASE_URL": "http://router:8000/v1",
        "PLANO_CLASSIFIER__ACCESS_KEY": KEY,
    }

    ends = load_settings(environ=base | {"PLANO_CLASSIFIER__CASCADE__LOW": "0.05"}).classifier.cascade
    both = load_settings(environ=base | {"PLANO_CLASSIFIER__CASCADE": '{"low": 0.3, "high": 0.7}'}).classifier.cascade

    assert (ends.low, ends.high) == (0.05, 0.8)
    assert (both.low, both.high) == (0.3, 0.7)


@pytest.mark.parametrize(
    ("classifier", "where", "what"),
    [
        ({"kind": "cascade"}, "classifier.kind", "needs a second classifier: add classifier.model_path"),
        (
            {"kind": "cascade", "base_url": URL, "model_path": "m"},
            "classifier.model_path",
            "keep this or classifier.base",
        ),
        (
            {"kind": "cascade", "model_path": "m", "model": "x"},
            "classifier.model",
            "only where classifier.kind is remote",
        ),
        (
            {"kind": "cascade", "base_url": URL, "cascade": {"low": 0.9}},
            "classifier.cascade",
            "low is above high",
        ),
        (
            {"kind": "cascade", "base_url": URL, "cascade": {"high": 1.1}},
            "classifier.cascade.high",
            "expected a number from 0 to 1",
        ),
        (
            {"kind": "cascade", "base_url": URL, "cascade": {"hihg": 0.9}},
            "classifier.cascade.hihg",
            "did you mean classifier.cascade.high?",
        ),
    ],
    ids=["no-second", "two", "model", "upside-down", "too-high", "unknown"],
)
def test_what_does_not_belong_together_is_one_fault(classifier: dict[str, object], where: str, what: str) -> None:
    """A cascade without a second, with two, or with a band that is none is told at start-up."""
    with pytest.raises(ConfigurationError) as caught:
        settings_with(**classifier)

    (fault,) = caught.value.faults
    assert fault.where == where
    assert what in fault.what


def test_a_band_may_be_closed() -> None:
    """Both ends may be the same: the likelier of two outcomes is then always sure."""
    band = settings_with(kind="cascade", base_url=URL, cascade={"low": 0.5, "high": 0.5}).classifier.cascade

    assert (band.low, band.high) == (0.5, 0.5)


def configured(server: Server, band: str) -> None:
    """Write the configuration of a cascade with a server."""
    text = f'{CONFIG}classifier: {{kind: cascade, base_url: "{server.url}", deadline_ms: 20000, cascade: {band}}}\n'
    Path("plano.yaml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("band", "status", "told"),
    [
        (SELDOM, 200, "cascade: embedded,"),
        (ALWAYS, 200, "cascade: remote,"),
        (ALWAYS, 503, "cascade: embedded was not sure, and remote had no answer,"),
    ],
    ids=["sure", "asked", "failed"],
)
def test_route_explains_which_stage_answered(band: str, status: int, told: str, server: Server, plano: Command) -> None:
    """The table for people ends with who answered, and with the threshold that was his."""
    configured(server, band)
    server.status = status

    code, out, _ = plano("route", "--explain", TEXT)

    least = 0.5 if "remote," in told else EmbeddedClassifier().threshold
    assert code == 0
    assert told in out
    assert f"reaches the threshold of {least:.2f}" in out


def test_route_prints_the_stage_as_json(server: Server, plano: Command) -> None:
    """A program reads which stage answered."""
    configured(server, ALWAYS)

    _, out, _ = plano("route", TEXT)

    decision = json.loads(out)
    assert (decision["classifier"], decision["stage"], decision["route"]) == ("cascade", "remote", "poems")


@pytest.fixture
def cases() -> str:
    """Return the name of a file of four cases, on one of which the user says nothing."""
    texts = [(TEXT, "code"), ("A rhyme on spring", "poems"), ("Good morning!", None), (" ", None)]
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": text}], "expect": expect} for text, expect in texts
    ]
    Path("cases.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return "cases.jsonl"


@pytest.mark.parametrize(
    ("band", "stages"), [(SELDOM, {"embedded": 1.0}), (ALWAYS, {"remote": 1.0})], ids=["seldom", "always"]
)
def test_eval_tells_the_share_of_each_stage(
    band: str, stages: dict[str, float], cases: str, server: Server, plano: Command
) -> None:
    """`stages` has the share of those cases that were classified; people read it below the tables."""
    configured(server, band)

    _, as_json, _ = plano("eval", cases, "--json")
    _, table, _ = plano("eval", cases)

    assert json.loads(as_json)["stages"] == stages
    assert f"plano.yaml was answered by: {next(iter(stages))} 100.0%" in table


def test_eval_warns_where_the_second_had_no_answer(cases: str, server: Server, plano: Command) -> None:
    """Figures that are the first stage's alone are not taken for the cascade's."""
    configured(server, ALWAYS)
    server.status = 503

    _, out, err = plano("eval", cases, "--json")

    assert json.loads(out)["stages"] == {"embedded": 1.0}
    assert "in 3 of 4 cases the second classifier had no answer" in err


def test_eval_of_one_classifier_has_no_stages(cases: str, plano: Command) -> None:
    """Nothing is said of stages where there are none."""
    Path("plano.yaml").write_text(CONFIG, encoding="utf-8")

    _, as_json, _ = plano("eval", cases, "--json")
    _, table, _ = plano("eval", cases)

    assert "stages" not in json.loads(as_json)
    assert "answered by" not in table


def test_doctor_asks_both_stages(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """A second classifier that is down is found, though the cascade decides without it."""
    configured(server, SELDOM)

    is_well = print_examination(Path("plano.yaml"), as_json=True)
    server.status = 503
    is_well_when_down = print_examination(Path("plano.yaml"), as_json=True)

    said = capsys.readouterr().out.splitlines()
    up, down = ({each["subject"]: each["finding"] for each in json.loads(line)} for line in said)
    assert (is_well, is_well_when_down) == (True, False)
    assert f", then {server.url}, revision " in up["model files"]
    assert up["second classifier"].endswith("of 20000 ms allowed")
    assert down["timed decision"].endswith("of 20000 ms allowed")
    assert down["second classifier"].endswith("answered 503; its log says more")


def test_prompt_is_that_of_the_second(tiny_bundle: Path, plano: Command) -> None:
    """`plano-asgi prompt --chat` knows the chat template of a cascade's model."""
    Path("plano.yaml").write_text(
        f"{CONFIG}classifier: {{kind: cascade, model_path: {tiny_bundle}}}\n", encoding="utf-8"
    )
    Path("body.json").write_text(json.dumps({"messages": [{"role": "user", "content": TEXT}]}), encoding="utf-8")

    code, out, _ = plano("prompt", "--chat", "body.json")

    assert code == 0
    assert out.startswith("<|im_start|>user\n")
