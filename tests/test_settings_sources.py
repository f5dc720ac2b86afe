"""Where settings come from, and which source wins."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import FrozenInstanceError
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.settings import Settings, known_settings, load_settings, variable_name

MINIMAL = "model_providers:\n  - model: openai/gpt-4o-mini\n    default: true\n"
PLANTED = "sk-planted-0123456789"
PROVIDERS = {"PLANO_MODEL_PROVIDERS": '[{"model": "openai/gpt-4o-mini", "default": true}]'}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder without a `plano.yaml`."""
    monkeypatch.chdir(tmp_path)


def load(text: str = MINIMAL, environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Return the settings of a YAML text and an environment."""
    path = Path("plano.yaml")
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environ=environ or {}, overrides=overrides)


def faults(text: str = MINIMAL, environ: Mapping[str, str] | None = None, **overrides: object) -> tuple[Fault, ...]:
    """Return the faults of a YAML text and an environment."""
    with pytest.raises(ConfigurationError) as caught:
        load(text, environ, **overrides)
    return caught.value.faults


def test_defaults_are_those_of_the_contract() -> None:
    """A file with nothing but a provider has every default that the contract promises."""
    settings = load()

    assert (settings.enabled, settings.mode, settings.startup, settings.strict) == (True, "rewrite", "wait", False)
    assert settings.classifier.model_dump() == {
        "kind": "embedded",
        "device": "auto",
        "threads": None,
        "model_path": None,
        "base_url": None,
        "access_key": None,
        "model": None,
        "prompt_form": "gateway",
        "decode": "score",
        "score": "branch",
        "prefix_bytes": 268_435_456,
        "shared_weights": False,
        "deadline_ms": None,
        "queue": 256,
        "calibration": None,
        "cascade": {"low": 0.2, "high": 0.8},
    }
    assert settings.routing.model_dump() == {
        "threshold": None,
        "on_error": "default",
        "unmatched": "default",
        "applies_to": ("*",),
        "inline": "allow",
        "bypass_header": True,
        "sample": 1.0,
        "model_form": "bare",
        "cross_format": False,
        "decide_on": "user_turn",
        "switch_budget_pct": None,
    }
    assert settings.sessions.model_dump() == {
        "store": "memory",
        "size": 10_000,
        "ttl_s": 3_600,
        "tenant_header": None,
    }
    assert (settings.cache.size, settings.cache.ttl_s) == (10_000, 300)
    assert (settings.limits.body_bytes, settings.limits.body_timeout_s) == (10 * 1024 * 1024, 30)
    assert settings.paths == ("/v1/chat/completions", "/v1/messages", "/v1/responses")
    assert (settings.response_headers, settings.endpoints, settings.admin.token) == (True, True, None)
    assert settings.warnings == ()


def test_environment_alone_is_a_complete_configuration() -> None:
    """No file is needed: variables can say everything."""
    settings = load_settings(environ={**PROVIDERS, "PLANO_MODE": "observe", "PLANO_CLASSIFIER__DEVICE": "cuda"})

    assert settings.catalog.default_model == "openai/gpt-4o-mini"
    assert (settings.mode, settings.classifier.device, settings.config_file) == ("observe", "cuda", None)


def test_environment_wins_over_the_file_and_code_over_both() -> None:
    """The order of precedence is code, environment, file; what one leaves out, the next may say."""
    text = MINIMAL + "mode: forward\nclassifier: {threads: 4, device: cpu, queue: 9}\n"

    settings = load(text, {"PLANO_CLASSIFIER__DEVICE": "cuda", "PLANO_MODE": "observe"}, mode="rewrite")

    assert settings.mode == "rewrite"
    assert (settings.classifier.threads, settings.classifier.device, settings.classifier.queue) == (4, "cuda", 9)


def test_process_environment_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `environ` the process's own variables count."""
    monkeypatch.setenv("PLANO_MODE", "observe")
    monkeypatch.setenv("PLANO_MODEL_PROVIDERS", PROVIDERS["PLANO_MODEL_PROVIDERS"])

    assert load_settings().mode == "observe"


def test_plano_yaml_in_the_working_directory_is_the_default_file() -> None:
    """`plano.yaml` is read unasked where there is one."""
    Path("plano.yaml").write_text(MINIMAL + "mode: observe\n", encoding="utf-8")

    settings = load_settings(environ={})

    assert (settings.mode, settings.config_file) == ("observe", Path("plano.yaml"))


def test_config_file_variable_names_the_file() -> None:
    """`PLANO_CONFIG_FILE` comes before `plano.yaml`, and is itself no setting's file form."""
    Path("plano.yaml").write_text("mode: observe\n", encoding="utf-8")
    Path("other.yaml").write_text(MINIMAL + "mode: observe\n", encoding="utf-8")

    assert load_settings(environ={"PLANO_CONFIG_FILE": "other.yaml"}).mode == "observe"


@pytest.mark.parametrize("is_variable", [True, False], ids=["variable", "argument"])
def test_named_file_that_is_missing_is_a_fault(is_variable: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A file that was asked for and is not there is never passed over."""
    environ = {**PROVIDERS, "PLANO_CONFIG_FILE": "absent.yaml"} if is_variable else PROVIDERS

    with pytest.raises(ConfigurationError) as caught:
        load_settings(None if is_variable else Path("absent.yaml"), environ=environ)

    (fault,) = caught.value.faults
    assert fault.what == "absent.yaml does not exist"
    assert fault.origin == ("PLANO_CONFIG_FILE" if is_variable else "")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("PLANO_ENABLED", "false", False),
        ("PLANO_STRICT", "YES", True),
        ("PLANO_ENDPOINTS", "0", False),
        ("PLANO_CLASSIFIER__THREADS", "3", 3),
        ("PLANO_CLASSIFIER__DEADLINE_MS", "12.5", 12.5),
        ("PLANO_CLASSIFIER__MODEL_PATH", "/models/arch", Path("/models/arch")),
        ("PLANO_ROUTING__THRESHOLD", "0", 0.0),
        ("PLANO_ROUTING__APPLIES_TO", '["auto"]', ("auto",)),
        ("PLANO_ROUTING", '{"sample": 0.25}', 0.25),
        ("PLANO_PATHS__0", "/chat", ("/chat",)),
        ("PLANO_LIMITS__BODY_BYTES", "1024", 1024),
    ],
)
def test_every_kind_of_setting_has_an_environment_form(name: str, text: str, expected: object) -> None:
    """Text becomes a flag, a number, a path, a list or a mapping as its setting asks."""
    environ = {**PROVIDERS, name: text}
    settings = load_settings(environ=environ)

    keys = [key for key in name.removeprefix("PLANO_").lower().split("__") if not key.isdigit()]
    value: object = settings
    for key in keys:
        value = getattr(value, key)
    assert (settings.routing.sample if name == "PLANO_ROUTING" else value) == expected


@pytest.mark.parametrize("setting", known_settings())
def test_every_known_setting_is_a_known_variable(setting: str) -> None:
    """No setting is without an environment form: an odd value is refused as that setting's, not as unknown."""
    found = faults(MINIMAL, {variable_name(setting): " " * 3_000})

    assert not any("is not a setting" in fault.what for fault in found)
    assert any(fault.where.startswith(setting.replace("[]", "[0]")) for fault in found)
    assert {fault.origin for fault in found} >= {variable_name(setting)}


def test_one_field_of_a_list_is_set_by_index() -> None:
    """An indexed variable merges into the entry that the file has, and may append the next one."""
    environ = {
        "PLANO_MODEL_PROVIDERS__0__BASE_URL": "https://one.example/v1",
        "PLANO_MODEL_PROVIDERS__1__MODEL": "openai/two",
        "PLANO_MODEL_PROVIDERS__1__NAME": "second",
        "PLANO_MODEL_PROVIDERS__2": '{"model": "openai/three"}',
    }

    first, second, third = load(MINIMAL, environ).catalog.providers

    assert (first.model, first.base_url, first.is_default) == ("openai/gpt-4o-mini", "https://one.example/v1", True)
    assert (second.model, second.name, third.model) == ("openai/two", "second", "openai/three")


def test_ten_indices_are_appended_in_numeric_order() -> None:
    """Index 10 comes after index 9, not after index 1."""
    environ = {f"PLANO_MODEL_PROVIDERS__{index}__MODEL": f"openai/m{index}" for index in range(1, 12)}

    models = [provider.model for provider in load(MINIMAL, environ).catalog.providers]

    assert models == ["openai/gpt-4o-mini", *(f"openai/m{index}" for index in range(1, 12))]


def test_indexed_variable_merges_into_a_json_variable() -> None:
    """A part wins over the whole, whatever their order in the environment."""
    environ = {"PLANO_MODEL_PROVIDERS__0__NAME": "mine", **PROVIDERS}

    (provider,) = load_settings(environ=environ).catalog.providers

    assert (provider.model, provider.name) == ("openai/gpt-4o-mini", "mine")


def test_json_list_variable_replaces_the_list_of_the_file() -> None:
    """Lists do not mix: the environment's stands alone."""
    environ = {"PLANO_MODEL_PROVIDERS": '[{"model": "groq/x", "default": true}]'}

    assert load(MINIMAL, environ).catalog.models == {"groq/x"}


def test_skipped_index_is_a_fault() -> None:
    """An index beyond the next one would leave a hole, so it is refused with the next one's number."""
    (fault,) = faults(MINIMAL, {"PLANO_MODEL_PROVIDERS__4__MODEL": "openai/x"})

    assert fault.origin == "PLANO_MODEL_PROVIDERS__4__MODEL"
    assert "the next index is 1" in fault.what


@pytest.mark.parametrize(
    ("content", "token"),
    [("abc", "abc"), ("abc\n", "abc")],
    ids=["no newline", "one newline"],
)
def test_file_form_reads_the_value_from_a_file(content: str, token: str) -> None:
    """`PLANO_X_FILE` is the value of `PLANO_X`, less one newline at the end."""
    Path("token").write_text(content, encoding="utf-8")

    settings = load(MINIMAL, {"PLANO_ADMIN__TOKEN_FILE": "token"})

    assert settings.admin.token is not None
    assert settings.admin.token.reveal() == token


def test_only_one_newline_is_stripped_from_a_file() -> None:
    """A second newline belongs to the value, and no credential can hold one."""
    Path("token").write_text("abc\n\n", encoding="utf-8")

    (fault,) = faults(MINIMAL, {"PLANO_ADMIN__TOKEN_FILE": "token"})

    assert (fault.where, fault.origin) == ("admin.token", "PLANO_ADMIN__TOKEN_FILE")


def test_file_form_reads_json_and_indexed_fields() -> None:
    """Lists and fields of lists can be mounted too."""
    Path("providers").write_text(PROVIDERS["PLANO_MODEL_PROVIDERS"], encoding="utf-8")
    Path("key").write_text("sk-1\n", encoding="utf-8")

    environ = {"PLANO_MODEL_PROVIDERS_FILE": "providers", "PLANO_MODEL_PROVIDERS__0__ACCESS_KEY_FILE": "key"}
    (provider,) = load_settings(environ=environ).catalog.providers

    assert provider.access_key is not None
    assert provider.access_key.reveal() == "sk-1"


def test_both_forms_of_a_variable_are_a_fault() -> None:
    """`PLANO_X` and `PLANO_X_FILE` together are refused, since neither is the one that was meant."""
    Path("mode").write_text("observe", encoding="utf-8")

    (fault,) = faults(MINIMAL, {"PLANO_MODE": "observe", "PLANO_MODE_FILE": "mode"})

    assert (fault.where, fault.origin) == ("mode", "PLANO_MODE_FILE")
    assert "PLANO_MODE" in fault.what


@pytest.mark.parametrize("named", ["absent", ".", "nul\x00"], ids=["missing", "a folder", "NUL"])
def test_file_form_without_a_readable_file_is_a_fault_that_does_not_quote_it(named: str) -> None:
    """The fault names the variable and not the path, which may be the secret itself."""
    (fault,) = faults(MINIMAL, {"PLANO_ADMIN__TOKEN_FILE": named})

    assert fault.origin == "PLANO_ADMIN__TOKEN_FILE"
    assert "absent" not in str(fault)


def test_empty_variable_counts_as_not_set() -> None:
    """Compose files and charts pass empty text for what is not set."""
    assert load(MINIMAL, {"PLANO_MODE": "", "PLANO_ADMIN__TOKEN": "", "PLANO_CONFIG_FILE": ""}).admin.token is None


@pytest.mark.parametrize(
    "name",
    ["PLANO_SERVICE_HOST", "PLANO_SERVICE_PORT", "PLANO_SERVICE_PORT_HTTP", "PLANO_PORT", "PLANO_PORT_80_TCP_ADDR"],
)
def test_variables_of_kubernetes_are_ignored(name: str) -> None:
    """What Kubernetes injects for a service named `plano` is not ours."""
    assert load(MINIMAL, {name: "tcp://10.0.0.1:80"}).warnings == ()


def test_variables_of_a_service_named_plano_asgi_are_ignored() -> None:
    """A service whose name only begins with plano must not stop the start-up either."""
    names = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP", "PORT_80_TCP_PROTO"]

    assert load(MINIMAL, {f"PLANO_ASGI_{name}": "tcp://10.0.0.1:80" for name in names})


def test_no_setting_bears_a_name_that_kubernetes_uses() -> None:
    """No setting could ever be swallowed by the rule for Kubernetes."""
    names = [variable_name(setting) for setting in known_settings()]

    assert not [name for name in names if name.startswith(("PLANO_SERVICE_", "PLANO_PORT"))]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("PLANO_MOD", "PLANO_MODE"),
        ("PLANO_CLASSIFIER_DEVICE", "PLANO_CLASSIFIER__DEVICE"),
        ("PLANO_CLASSIFIER__DEVISE", "PLANO_CLASSIFIER__DEVICE"),
        ("PLANO_MODEL_PROVIDERS__3__ACESS_KEY", "PLANO_MODEL_PROVIDERS__3__ACCESS_KEY"),
        ("PLANO_LLM_PROVIDERS", "PLANO_MODEL_PROVIDERS"),
        ("PLANO_CONFIG", "PLANO_CONFIG_FILE"),
        ("PLANO_Mode", "PLANO_MODE"),
    ],
)
def test_unknown_variable_is_a_fault_that_names_the_nearest(name: str, nearest: str) -> None:
    """A misspelt variable stops the start-up, is named, and is told what it was probably meant to be."""
    (fault,) = faults(MINIMAL, {name: "hunter2"})

    assert fault.origin == name
    assert f"did you mean {nearest}?" in fault.what
    assert "hunter2" not in str(fault)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PLANO_PATHS", "/a,/b"),
        ("PLANO_PATHS", '{"a": 1}'),
        ("PLANO_ROUTING", "[]"),
        ("PLANO_ROUTING", '{"sample": 1, "sample": 0}'),
        ("PLANO_ROUTING", "[" * 100_000),
        ("PLANO_ROUTING", "9" * 5_000),
        ("PLANO_ROUTING", '{"sample": NaN}'),
    ],
    ids=["commas", "object for list", "list for object", "duplicate key", "deep", "long number", "NaN"],
)
def test_variable_that_is_not_the_json_it_should_be_is_a_fault(name: str, text: str) -> None:
    """Lists and mappings are JSON of their kind, or are refused by the variable's name."""
    found = faults(MINIMAL, {name: text})

    assert {fault.origin for fault in found} == {name}


def test_overrides_take_tuples_and_mappings_of_any_kind() -> None:
    """Code may pass what Python code has at hand."""
    settings = load(routing={"applies_to": ("auto",)}, classifier={"queue": 7})

    assert (settings.routing.applies_to, settings.classifier.queue) == (("auto",), 7)


def test_faults_of_code_have_no_origin() -> None:
    """A fault in an override names the setting alone, even where the file says the same setting well."""
    (fault,) = faults(MINIMAL + "mode: observe\n", mode="sideways")

    assert fault == Fault(where="mode", what="expected one of observe, rewrite, forward")


def test_settings_cannot_be_changed() -> None:
    """Every level of the result is frozen."""
    settings = load()

    with pytest.raises(FrozenInstanceError):
        settings.mode = "observe"  # type: ignore[misc]  # that it fails is the point
    with pytest.raises(ValidationError):
        settings.routing.sample = 0.5


def test_later_changes_of_the_environment_have_no_effect() -> None:
    """Settings are a snapshot."""
    environ = {**PROVIDERS, "PLANO_MODE": "observe"}
    settings = load_settings(environ=environ)

    environ["PLANO_MODE"] = "forward"

    assert settings.mode == "observe"


def test_json_text_and_yaml_text_mean_the_same() -> None:
    """One configuration written as YAML or as variables gives equal settings."""
    tree = {"mode": "observe", "routing": {"sample": 0.5, "applies_to": ["auto"]}, "cache": {"size": 0}}
    environ = {
        f"PLANO_{key.upper()}": value if isinstance(value, str) else json.dumps(value) for key, value in tree.items()
    }

    lines = "\n".join(f"{key}: {json.dumps(value)}" for key, value in tree.items())

    from_yaml, from_environment = load(MINIMAL + lines), load(MINIMAL, environ)

    assert from_yaml == from_environment
    assert from_yaml.routing.applies_to == ("auto",)


@hypothesis.settings(deadline=None)
@given(
    variables=st.dictionaries(
        st.sampled_from([variable_name(setting) for setting in known_settings()])
        | st.text(max_size=20).map("PLANO_".__add__),
        st.text(max_size=60)
        | st.sampled_from(["[]", "{}", "[{}]", '{"a": {"b": []}}', "1e999", "-0", "null", "\ud800"]),
        max_size=6,
    )
)
def test_any_environment_loads_or_raises_configuration_error(variables: dict[str, str]) -> None:
    """No set of variables makes the loader raise anything but ConfigurationError, whose text can be printed."""
    found: tuple[Fault, ...] | None = None
    try:
        load_settings(environ={**PROVIDERS, **variables})
    except ConfigurationError as error:
        found = error.faults

    assert found is None or (found and "\n".join(map(str, found)).encode())


@hypothesis.settings(deadline=None)
@given(
    setting=st.sampled_from(known_settings()),
    template=st.sampled_from(["{}", '["{}"]', '{{"model": {{"x": "{}"}}}}', "{}\x00", '"{}']),
    is_file=st.booleans(),
)
def test_error_about_a_variable_never_holds_its_value(setting: str, template: str, *, is_file: bool) -> None:
    """Wherever a secret lands in the environment, no error and no result repeats it."""
    if setting.endswith(("model", "models", "description", "name", "applies_to", "interface", "host", "region")):
        return  # texts in their own right, which a result may show
    name = variable_name(setting) + ("_FILE" if is_file else "")
    shown = ""
    with suppress(ConfigurationError):
        shown = repr(load_settings(environ={**PROVIDERS, name: template.format(PLANTED)}).catalog)
    try:
        load_settings(environ={**PROVIDERS, name: template.format(PLANTED), "PLANO_MODE": "x"})
    except ConfigurationError as error:
        shown += str(error) + repr(error.faults)

    assert "PLANO_MODE" in shown
    assert PLANTED not in shown
