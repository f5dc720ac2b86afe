"""Where `ChatPlano` gets its models from: a file, the environment, or code."""

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from llmock.pytest_plugin import LLMock
from pydantic import SecretStr

from plano_asgi import ConfigurationError, MissingExtraError
from plano_asgi.assembly import build_router
from plano_asgi.observe.sqlite_decisions import SqliteDecisions
from plano_asgi.providers.table import CONVENTIONS
from plano_asgi.testing import FixedClassifier, routed_by
from plano_asgi_langchain import ChatPlano, Route

OPENAI_URL = "https://api.openai.com/v1"
INTEGRATIONS = {  # LangChain's packages by providers; all others are called by OpenAI's client
    **{name: name for name in ("anthropic", "deepseek", "groq", "openrouter", "perplexity", "together", "xai")},
    "amazon": "aws",
    "amazon_bedrock": "aws",
    "gemini": "google_genai",
    "google": "google_genai",
    "mistral": "mistralai",
    "together_ai": "together",
}
CONFIGURATION = """
model_providers:
  - model: openai/gpt-4o-mini
    default: true
    base_url: {openai}
    access_key: $TEAM_KEY
  - model: anthropic/claude-sonnet-4-6
    base_url: {anthropic}
    access_key: sk-claude
    headers: {{x-team: blue}}
    routing_preferences:
      - name: code_generation
        description: writing functions
  - model: vllm/llama
    base_url: {openai}
    routing_preferences:
      - name: chat
        description: small talk
"""


@pytest.fixture
def file(tmp_path: Path, llmock: LLMock, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a configuration of providers that a real server plays; the SDKs' own variables point nowhere."""
    path = tmp_path / "team.yaml"
    urls = {name: llmock.base_url(name) for name in ("openai", "anthropic")}
    path.write_text(CONFIGURATION.format(**urls), encoding="utf-8")
    monkeypatch.setenv("TEAM_KEY", "sk-team")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-elses")
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    return path


@pytest.mark.parametrize(
    ("text", "answers"),
    [("python", "claude-sonnet-4-6"), ("chat with me", "llama"), ("anything", "gpt-4o-mini")],
)
def test_targets_are_called_where_the_file_says(file: Path, llmock: LLMock, text: str, answers: str) -> None:
    """Each provider is asked at its own URL, with the right client, and the SDKs' variables change nothing."""
    llm = ChatPlano.from_config(file)

    with routed_by({"python": "code_generation", "chat": "chat"}):
        answer = llm.invoke(text)

    assert answer.response_metadata["model_name"] == answers
    assert llmock.last_request.model == answers


@pytest.mark.parametrize(
    "more",
    ["allow_lists: [{models: [openai/*]}]", "ratelimits: [{limit: {requests: 1, unit: day}}]"],
    ids=["allow-lists", "limits"],
)
def test_what_nobody_would_be_held_to_is_a_fault(file: Path, more: str) -> None:
    """Limits and allow-lists are not passed over in silence; the message says where they are held."""
    file.write_text(f"{file.read_text(encoding='utf-8')}{more}\n", encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"allow_lists: .* held over ASGI; call plano-asgi serve"):
        ChatPlano.from_config(file)


def test_decisions_are_in_the_decision_log(file: Path, tmp_path: Path) -> None:
    """A chat model's decisions are written where `decision_log` says."""
    log = tmp_path / "log.sqlite"
    written = f"decision_log: {{store: sqlite, path: {log}}}\n"
    file.write_text(file.read_text(encoding="utf-8") + written, encoding="utf-8")
    llm = ChatPlano.from_config(file)

    with routed_by({"python": "code_generation"}):
        llm.decide("python")

    store = SqliteDecisions(log, size=9, ttl_s=60)
    until = monotonic() + 10
    while not (kept := list(store.newest())) and monotonic() < until:
        sleep(0.01)
    assert [one.entry["route"] for one in kept] == ["code_generation"]


def test_targets_are_given_their_own_keys(file: Path) -> None:
    """Keys and headers are those of the file; a server without a key is never shown one of the environment."""
    llm = ChatPlano.from_config(file, temperature=0.5, max_tokens=7)

    mini, claude, llama = (llm.target(m) for m in ("openai/gpt-4o-mini", "anthropic/claude-sonnet-4-6", "vllm/llama"))

    assert isinstance(mini, ChatOpenAI)
    assert isinstance(claude, ChatAnthropic)
    assert isinstance(llama, ChatOpenAI)
    keys = [
        str(getattr(target, name).get_secret_value())
        for target, name in ((mini, "openai_api_key"), (claude, "anthropic_api_key"), (llama, "openai_api_key"))
    ]
    assert keys == ["sk-team", "sk-claude", "none"]
    assert claude.default_headers == {"x-team": "blue"}
    assert [mini.temperature, claude.max_tokens] == [0.5, 7]


@pytest.mark.parametrize("provider", sorted(CONVENTIONS.keys() - {"azure_openai", "ollama", "qwen"}))
def test_well_known_provider_is_called_where_it_is(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called by LangChain's integration of it, or by OpenAI's client at its URL; what is missing is named."""
    where = {"region": "us-east5"} | ({"project": "mine"} if "vertex" in provider else {})
    declared = {"model": f"{provider}/m", "default": True, "access_key": "sk-its-own", **where}
    monkeypatch.setenv("PLANO_MODEL_PROVIDERS", json.dumps([declared]))
    llm = ChatPlano()

    integration = INTEGRATIONS.get(provider, "openai")
    if find_spec(f"langchain_{integration}") is None:
        with pytest.raises(ImportError, match=f"langchain-{integration.replace('_', '-')} "):
            llm.target(f"{provider}/m")
        return

    target = llm.target(f"{provider}/m")

    assert type(target).__module__.startswith(f"langchain_{integration}.")
    assert {key.get_secret_value() for key in vars(target).values() if isinstance(key, SecretStr)} == {"sk-its-own"}
    known = llm.routing.catalog.provider_of(f"{provider}/m")
    assert known
    if isinstance(target, ChatOpenAI):
        assert (target.openai_api_base or OPENAI_URL) == known.base_url
    if isinstance(target, ChatAnthropic):
        assert target.anthropic_api_url == known.base_url


def test_provider_without_a_url_is_never_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is not shown to OpenAI where its client serves another provider, whose URL nobody has written."""
    monkeypatch.setenv("PLANO_MODEL_PROVIDERS", '[{"model": "qwen/m", "default": true, "access_key": "sk-of-qwen"}]')

    with pytest.raises(ValueError, match="qwen/m has no base_url; set it"):
        ChatPlano().target("qwen/m")


def test_targets_are_made_once_and_late(file: Path) -> None:
    """Nothing is made before it is called, and nothing twice."""
    llm = ChatPlano.from_config(file)

    assert llm._targets.made("vllm/llama") is None  # noqa: SLF001 - there is no other way to see what is not there
    assert llm.target("vllm/llama") is llm.target("vllm/llama")


def test_environment_alone_is_a_configuration(llmock: LLMock, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ChatPlano()` reads the `PLANO_*` variables, and the SDKs their own."""
    monkeypatch.setenv("PLANO_MODEL_PROVIDERS", '[{"model": "openai/gpt-4o-mini", "default": true}]')
    monkeypatch.setenv(
        "PLANO_ROUTING_PREFERENCES", '[{"name": "code", "description": "code", "models": ["openai/gpt-4o-mini"]}]'
    )

    with routed_by({"python": "code"}):
        answer = ChatPlano().invoke("python")

    assert answer.response_metadata["plano"]["route"] == "code"
    assert llmock.last_request.model == "gpt-4o-mini"


def test_routes_of_code_stand_in_for_those_of_the_file(file: Path) -> None:
    """Routes and models that code declares replace the file's; what else the file says holds."""
    file.write_text(file.read_text(encoding="utf-8") + "routing: {threshold: 0.9}\n", encoding="utf-8")

    llm = ChatPlano(config=file, routes={"proofs": Route("proving", "openai/gpt-4o")}, default="openai:gpt-4o-mini")

    with routed_by({"prove": "proofs"}):
        decision = llm.decide("prove it")
    assert decision.models == ("openai/gpt-4o",)
    assert llm._routing.router.rules.threshold == 0.9  # noqa: SLF001 - a decision of a rule is certain


@pytest.mark.parametrize(
    ("routes", "default", "fault"),
    [
        ({}, "gpt-4o", "a model is written provider/model-name or provider:model-name"),
        ({"a": Route("", "openai:gpt-4o")}, "openai:gpt-4o", "a description says in plain English"),
        ({"other": Route("a", "openai:gpt-4o")}, "openai:gpt-4o", "reserved"),
        ({"a": Route("a", "openai:gpt-4o")}, None, "default"),
    ],
    ids=["no provider", "no description", "reserved name", "no default"],
)
def test_fault_of_code_is_named(routes: dict[str, Route], default: str | None, fault: str) -> None:
    """What is wrong with routes of code is said as it is of a file's, where they are made."""
    with pytest.raises(ConfigurationError, match=fault):
        ChatPlano(routes=routes, default=default)


def test_two_chat_models_of_one_name_are_two_targets() -> None:
    """Chat models that go by one name, as the same model at two temperatures, are told apart; one model is one."""
    cold, hot = (ChatOpenAI(model="gpt-4o", temperature=heat, api_key=SecretStr("any")) for heat in (0, 1))

    llm = ChatPlano(routes={"a": Route("a", [cold, hot]), "b": Route("b", [hot, "openai:gpt-4o-mini"])}, default=cold)

    with routed_by({"x": "a"}):
        assert llm.decide("x").models == ("openai/gpt-4o", "openai/gpt-4o@2")
    assert llm.target("openai/gpt-4o@2") is hot
    assert llm._routing.catalog.models == {"openai/gpt-4o", "openai/gpt-4o@2", "openai/gpt-4o-mini"}  # noqa: SLF001


def test_router_can_be_shared(app_router: Any) -> None:
    """A router that a service has already decides here too, with its models; no second one is built."""
    llm = ChatPlano(router=app_router)

    decision = llm.decide("anything")

    assert decision.route == "code_generation"
    assert app_router.classifier.calls
    with pytest.raises(ValueError, match="leave out config, routes and default"):
        ChatPlano(router=app_router, default="openai:gpt-4o")


@pytest.fixture
def app_router(settings_of: Callable[[str], Any]) -> Any:
    """Return the router of a service."""
    settings = settings_of(CONFIGURATION.format(openai="http://a", anthropic="http://b").replace("$TEAM_KEY", "x"))
    return build_router(settings, classifier=FixedClassifier({"code_generation": 0.9}))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_model_is_loaded_once_in_each_process(app_router: Any) -> None:
    """The first call of a process is preceded by a warm-up, in a forked worker too; later ones are not."""
    llm = ChatPlano(router=app_router)
    counts = []
    for text in ("first", "second"):
        llm.decide(text)
        counts.append(len(app_router.classifier.calls))

    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        before = len(app_router.classifier.calls)
        llm.decide("third")
        os.write(writing, bytes([len(app_router.classifier.calls) - before]))
        os._exit(0)
    os.waitpid(child, 0)

    assert counts == [2, 3]
    assert os.read(reading, 1) == bytes([2])


def test_fields_of_a_providers_own_reach_its_client(file: Path) -> None:
    """What a target of another kind needs is passed on as it is."""
    llm = ChatPlano.from_config(file, target_options={"seed": 7}, max_retries=5, timeout=3)

    target = llm.target("vllm/llama")

    assert isinstance(target, ChatOpenAI)
    assert (target.seed, target.max_retries, target.request_timeout) == (7, 5, 3)


@pytest.mark.parametrize(
    ("model", "package"), [("groq/llama", "langchain-groq"), ("mistral/large", "langchain-mistralai")]
)
def test_missing_integration_is_named(model: str, package: str) -> None:
    """A provider whose LangChain package is not installed is an error that names it, by LangChain's own word."""
    with pytest.raises(ImportError, match=package):
        ChatPlano(default=model).target(model)


def test_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without LangChain the adapter says what to type."""
    import plano_asgi_langchain  # noqa: PLC0415 - to be imported a second time

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "langchain_core" else find_spec(name))
    monkeypatch.delitem(sys.modules, "plano_asgi_langchain")

    with pytest.raises(MissingExtraError, match=r"pip install 'plano-asgi\[langchain\]'"):
        import_module(plano_asgi_langchain.__name__)


def test_decision_model_says_what_it_needs() -> None:
    """Where langchain-core has no decision models yet, the error names the version."""
    import plano_asgi_langchain  # noqa: PLC0415 - asked for a name that may not be there

    if find_spec("langchain_core.decisions"):
        assert plano_asgi_langchain.PlanoDecisionModel.__doc__
    else:
        with pytest.raises(ImportError, match=r"pip install 'langchain-core>=1\.8'"):
            plano_asgi_langchain.PlanoDecisionModel  # noqa: B018
