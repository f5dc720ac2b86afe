"""Model providers, routing preferences and credentials: what a configuration makes of them."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from plano_asgi import events
from plano_asgi.errors import ConfigurationError
from plano_asgi.preferences import RoutingPreference, SelectionPolicy
from plano_asgi.secret import Secret
from plano_asgi.settings import PlanoSettings, Settings, load_settings

MINIMAL = "model_providers: [{model: openai/gpt-4o-mini, default: true}]\n"
PLANTED = "sk-planted-0123456789"
TWO_FORMS = """\
routing_preferences:
  - name: summaries
    description: summarising documents
    models: [openai/gpt-4o, openai/gpt-4o-mini]
    selection_policy: {prefer: none}
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences:
      - {name: reasoning, description: complex reasoning}
      - {name: code, description: writing functions}
"""


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder of our own."""
    monkeypatch.chdir(tmp_path)


def load(text: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a YAML text and an environment."""
    Path("plano.yaml").write_text(text, encoding="utf-8")
    return load_settings(environ=environ or {})


def faults(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the faults of a YAML text and an environment, as a person reads them."""
    with pytest.raises(ConfigurationError) as caught:
        load(text, environ)
    return [str(fault) for fault in caught.value.faults]


def test_both_forms_of_preferences_make_one_policy() -> None:
    """Nested preferences come first, by provider, then those of the top level; wherever the file has them."""
    policy = load(TWO_FORMS).policy

    assert policy.preferences == (
        RoutingPreference(name="reasoning", description="complex reasoning", models=("openai/gpt-4o",)),
        RoutingPreference(name="code", description="writing functions", models=("openai/gpt-4o",)),
        RoutingPreference(
            name="summaries", description="summarising documents", models=("openai/gpt-4o", "openai/gpt-4o-mini")
        ),
    )


def test_selection_policy_is_kept_with_a_warning() -> None:
    """An order that this version cannot make is accepted, told, and logged as ignored."""
    with capture_logs() as logged:
        loaded = load(TWO_FORMS.replace("prefer: none", "prefer: fastest"))

    assert loaded.policy.named("summaries").selection_policy is SelectionPolicy.FASTEST
    (warning,) = loaded.warnings
    assert warning.startswith("plano.yaml:5: routing_preferences[0].selection_policy.prefer: ")
    assert [(entry["event"], entry["log_level"]) for entry in logged] == [(events.SETTINGS_IGNORED, "warning")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mode: rewrite", "model_providers: no model provider is declared"),
        ("model_providers: []", "plano.yaml:1: model_providers: no model provider is declared"),
        ("routing: {unmatched: requested}", "model_providers: no model provider is declared"),
        ("model_providers: [{model: openai/a}]", "plano.yaml:1: model_providers: no provider has `default: true`"),
        (
            f"{MINIMAL[:-2]}, {{model: openai/a, default: true}}]",
            "plano.yaml:1: model_providers[1].default: model_providers[0].default (plano.yaml:1) is the default",
        ),
        (
            f"{MINIMAL[:-2]}, {{model: openai/gpt-4o-mini}}]",
            "plano.yaml:1: model_providers[1].model: the same model as model_providers[0].model (plano.yaml:1)",
        ),
        (
            "model_providers: [{model: gpt, default: true}]",
            "plano.yaml:1: model_providers[0].model: a model is written",
        ),
        ("model_providers: [{default: true}]", "plano.yaml:1: model_providers[0].model: is required here"),
        ("model_providers: {model: openai/a}", "plano.yaml:1: model_providers: expected a list"),
    ],
    ids=["none", "empty", "none_requested", "no_default", "two_defaults", "twice", "unqualified", "missing", "mapping"],
)
def test_faulty_provider_is_named_with_its_remedy(text: str, expected: str) -> None:
    """A model can be served by exactly one declared provider, and one of them is the default."""
    found = faults(text)

    assert any(line.startswith(expected) for line in found), found


def test_requested_unmatched_needs_no_default() -> None:
    """With `routing.unmatched: requested` the client's own model serves what no route matches."""
    loaded = load("model_providers: [{model: openai/a}]\nrouting: {unmatched: requested}\n")

    assert loaded.catalog.default_model is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ftp://example.com", "expected a URL"),
        ("example.com/v1", "expected a URL"),
        ("https://", "expected a URL"),
        ("https://[::1", "expected a URL"),
        (f"https://user:{PLANTED}@example.com", "a URL holds no user or password"),
        (f"https://example.com/?key={PLANTED}", "has no query"),
    ],
    ids=["scheme", "no_scheme", "no_host", "bracket", "password", "query"],
)
def test_base_url_is_http_without_credentials(url: str, expected: str) -> None:
    """A provider's URL is one that a client can call, and never holds a key."""
    (fault,) = faults(f"model_providers: [{{model: openai/a, default: true, base_url: '{url}'}}]")

    assert fault.startswith("plano.yaml:1: model_providers[0].base_url: ")
    assert expected in fault
    assert PLANTED not in fault


PREFERENCE = "{name: %s, description: %s, models: [%s]}"


@pytest.mark.parametrize(
    ("preference", "expected"),
    [
        (PREFERENCE % ("other", "d", "openai/gpt-4o-mini"), '[0].name: "other" is reserved'),
        (PREFERENCE % ("n" * 65, "d", "openai/gpt-4o-mini"), "[0].name: a route name has 1 to 64 characters"),
        (PREFERENCE % ('"a\\tb"', "d", "openai/gpt-4o-mini"), "[0].name: a route name has no control characters"),
        (PREFERENCE % ("no", "d", "openai/gpt-4o-mini"), "[0].name: expected text; put it in quotes"),
        (PREFERENCE % ("n", "' '", "openai/gpt-4o-mini"), "[0].description: a description says in plain English"),
        (PREFERENCE % ("n", "d" * 2_001, "openai/gpt-4o-mini"), "[0].description: a description has at most 2000"),
        (
            PREFERENCE % ("n", "d", "openai/gpt-4o-mimi"),
            "[0].models[0]: is not among the models of model_providers; did you mean openai/gpt-4o-mini?",
        ),
        (PREFERENCE % ("n", "d", ""), "[0].models: expected a list that is not empty"),
        ("{name: n, description: d}", "[0].models: is required here"),
        (
            "{name: n, description: d, models: [openai/gpt-4o-mini], selection_policy: {prefer: dearest}}",
            "[0].selection_policy.prefer: expected one of none, cheapest, fastest",
        ),
    ],
    ids=[
        "reserved",
        "long_name",
        "control",
        "not_text",
        "blank",
        "long_description",
        "undeclared",
        "no_models",
        "models_missing",
        "order",
    ],
)
def test_faulty_preference_is_named_with_its_remedy(preference: str, expected: str) -> None:
    """A preference that the router could not serve stops the start-up."""
    (fault,) = faults(f"{MINIMAL}routing_preferences:\n  - {preference}\n")

    assert fault.startswith(f"plano.yaml:3: routing_preferences{expected}")


def test_route_name_given_twice_names_both_places() -> None:
    """Names are unique over both forms of preferences."""
    (fault,) = faults(TWO_FORMS.replace("name: summaries", "name: code"))

    assert fault.startswith("plano.yaml:2: routing_preferences[0].name: ")
    assert "model_providers[1].routing_preferences[1].name (plano.yaml:11)" in fault


@pytest.mark.parametrize(("count", "is_fault"), [(100, False), (101, True)], ids=["most", "one_more"])
def test_policy_has_at_most_100_routes(count: int, *, is_fault: bool) -> None:
    """The number of routes is bounded, and the bound itself is allowed."""
    routes = "".join(f"  - {PREFERENCE % (f'n{n}', 'd', 'openai/gpt-4o-mini')}\n" for n in range(count))
    text = f"{MINIMAL}routing_preferences:\n{routes}"

    if is_fault:
        assert faults(text) == [
            f"plano.yaml:{count + 2}: routing_preferences[100]: a policy has at most 100 routes; there are 101"
        ]
    else:
        assert len(load(text).policy.preferences) == count


def test_plano_file_loads_with_a_warning_for_each_key() -> None:
    """Plano's `llm_providers` is read as `model_providers`; `version` and `listeners` have no effect."""
    loaded = load(f"version: v0.4\nlisteners: [{{name: llm, port: 12000}}]\nllm_{MINIMAL.removeprefix('model_')}")

    assert loaded.catalog.default_model == "openai/gpt-4o-mini"
    assert [warning.split(":")[:3] for warning in loaded.warnings] == [
        ["plano.yaml", "1", " version"],
        ["plano.yaml", "2", " listeners"],
        ["plano.yaml", "3", " llm_providers"],
    ]


def test_faults_under_the_old_name_keep_their_lines() -> None:
    """A fault in `llm_providers` is told under the present name, at its own line."""
    (fault,) = faults("llm_providers:\n  - model: gpt\n    default: true\n")

    assert fault.startswith("plano.yaml:2: model_providers[0].model: ")


def test_both_names_of_the_providers_are_a_fault() -> None:
    """Which of two lists counts is never guessed."""
    (fault,) = faults(f"{MINIMAL}llm_providers: [{{model: openai/a}}]\n")

    assert fault.startswith("plano.yaml:2: llm_providers: is the old name of model_providers, which is given too")


@pytest.mark.parametrize(
    ("written", "environ", "key"),
    [
        ("$TEAM_KEY", {"TEAM_KEY": "a", "OPENAI_API_KEY": "b"}, "a"),
        ("${TEAM_KEY}", {"TEAM_KEY": "a"}, "a"),
        ("literal", {"OPENAI_API_KEY": "b"}, "literal"),
        ("", {"OPENAI_API_KEY": "b"}, "b"),
        ("", {"OPENAI_API_KEY": ""}, None),
        ("", {"ANTHROPIC_API_KEY": "c"}, None),
    ],
    ids=["reference", "braces", "literal", "conventional", "empty", "another_provider"],
)
def test_access_key_comes_from_where_it_is_said_to(written: str, environ: dict[str, str], key: str | None) -> None:
    """A key is the one written, the one referred to, or else the provider's conventional variable's."""
    text = f"model_providers:\n  - model: openai/a\n    default: true\n    access_key: {written}\n"

    (provider,) = load(text, environ).catalog.providers

    assert provider.access_key == (None if key is None else Secret(key))


@pytest.mark.parametrize(
    ("prefix", "variable"),
    [
        ("openai", "OPENAI_API_KEY"),
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("gemini", "GEMINI_API_KEY"),
        ("groq", "GROQ_API_KEY"),
        ("mistral", "MISTRAL_API_KEY"),
        ("deepseek", "DEEPSEEK_API_KEY"),
        ("together_ai", "TOGETHER_API_KEY"),
        ("xai", "XAI_API_KEY"),
        ("moonshotai", "MOONSHOT_API_KEY"),
        ("openrouter", "OPENROUTER_API_KEY"),
        ("vercel", "AI_GATEWAY_API_KEY"),
    ],
)
def test_provider_has_its_conventional_variable(prefix: str, variable: str) -> None:
    """The variable that a provider's own SDK reads is read here too."""
    (provider,) = load(f"model_providers: [{{model: {prefix}/a, default: true}}]", {variable: "k"}).catalog.providers

    assert provider.access_key == Secret("k")


def test_header_value_may_refer_to_a_variable() -> None:
    """A further header can hold a credential, so it is one."""
    (provider,) = load(
        "model_providers: [{model: openai/a, default: true, headers: {x-team: $TEAM_KEY}}]", {"TEAM_KEY": "k"}
    ).catalog.providers

    assert provider.headers == (("x-team", Secret("k")),)


def test_faulty_header_name_is_named() -> None:
    """A header that no request could carry stops the start-up."""
    (fault,) = faults("model_providers: [{model: openai/a, default: true, headers: {'a b': x}}]")

    assert fault.startswith("plano.yaml:1: model_providers[0].headers.a b: a header name has")


def test_client_credential_passed_through_leaves_the_conventional_key_alone() -> None:
    """Where the client's own key is sent on, ours is never picked up by accident."""
    (provider,) = load(
        "model_providers: [{model: openai/a, default: true, passthrough_auth: true}]", {"OPENAI_API_KEY": "k"}
    ).catalog.providers

    assert provider.access_key is None
    assert provider.is_auth_passed_through


@pytest.mark.parametrize("environ", [{}, {"TEAM_KEY": ""}], ids=["unset", "empty"])
@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("model_providers: [{model: openai/a, default: true, access_key: $TEAM_KEY}]", "model_providers[0].access_key"),
        (f"admin: {{token: '${{TEAM_KEY}}'}}\n{MINIMAL}", "admin.token"),
    ],
    ids=["access_key", "token"],
)
def test_reference_to_an_unset_variable_is_a_fault(text: str, where: str, environ: dict[str, str]) -> None:
    """A credential that was meant to be there and is not is never replaced by nothing, or by the reference itself."""
    (fault,) = faults(text, environ)

    assert fault.startswith(f"plano.yaml:1: {where}: the environment variable TEAM_KEY is ")


SECRETIVE = (
    f"admin: {{token: {PLANTED}}}\n"
    f"model_providers: [{{model: openai/a, default: true, access_key: {PLANTED}, headers: {{x-key: {PLANTED}}}}}]\n"
)


def test_credentials_are_readable_only_by_reveal() -> None:
    """No repr, text or log line of the settings shows a credential."""
    loaded = load(SECRETIVE, {"PLANO_MODEL_PROVIDERS__1__MODEL": "openai/b"})

    assert loaded.admin.token is not None
    assert loaded.admin.token.reveal() == PLANTED
    assert loaded.catalog.providers[0].access_key == Secret(PLANTED)
    assert PLANTED not in f"{loaded!r}{loaded}{loaded.admin!r}{loaded.catalog!r}"


def test_settings_with_credentials_cannot_be_pickled() -> None:
    """A credential never reaches a file or another process by accident."""
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(load(SECRETIVE))


@pytest.mark.parametrize("is_json", [True, False], ids=["json", "python"])
def test_dump_of_written_settings_masks_credentials(*, is_json: bool) -> None:
    """The dumps of pydantic show a mask, whatever the form."""
    written = PlanoSettings.from_tree(
        {"model_providers": [{"model": "openai/a", "access_key": PLANTED, "headers": {"x-key": PLANTED}}]}
    )

    dumped = written.model_dump_json() if is_json else repr(written.model_dump())

    assert PLANTED not in dumped
    assert "**********" in dumped


@pytest.mark.parametrize(
    "name",
    [
        "PLANO_MODE",
        "PLANO_CACHE__SIZE",
        "PLANO_ROUTING__THRESHOLD",
        "PLANO_ENABLED",
        "PLANO_PATHS",
        "PLANO_CLASSIFIER",
        "PLANO_MODEL_PROVIDERS__0__MODEL",
        "PLANO_MODEL_PROVIDERS__0__BASE_URL",
        "PLANO_MODEL_PROVIDERS__0__HEADERS",
        "PLANO_OPENAI_API_KEY",
        "PLANO_MODE_FILE",
        "PLANO_ROUTING__UNMATCHED",
    ],
)
def test_fault_of_a_variable_names_it_and_never_its_value(name: str) -> None:
    """A credential that was put into the wrong variable is not printed by the error about it."""
    with pytest.raises(ConfigurationError) as caught:
        load(MINIMAL, {name: PLANTED})

    assert name in {fault.origin for fault in caught.value.faults}
    assert PLANTED not in f"{caught.value}{caught.value!r}{caught.value.faults!r}"


def test_no_pydantic_error_is_chained_to_the_report() -> None:
    """What a traceback or an error tracker follows from the report holds no value either."""
    with pytest.raises(ConfigurationError) as caught:
        load(MINIMAL, {"PLANO_MODE": PLANTED})

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
