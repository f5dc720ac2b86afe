"""What is wrong with a configuration is said at once, with its place and a way out, and without a value."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.settings import Settings, load_settings

MINIMAL = "model_providers:\n  - model: openai/gpt-4o-mini\n    default: true\n"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder of its own, so that origins are short."""
    monkeypatch.chdir(tmp_path)


def load(text: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a YAML text and an environment."""
    path = Path("plano.yaml")
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environ=environ or {})


def faults(text: str, environ: Mapping[str, str] | None = None) -> tuple[Fault, ...]:
    """Return the faults of a YAML text and an environment."""
    with pytest.raises(ConfigurationError) as caught:
        load(text, environ)
    return caught.value.faults


def test_all_faults_are_reported_at_once() -> None:
    """Shape, spelling, sense and environment are checked together; the file's faults come first, by line."""
    text = """\
mode: sideways
treshold: 0.5
model_providers:
  - model: openai/gpt-4o-mini
  - model: not qualified
routing_preferences:
  - name: other
    description: x
    models: [groq/absent]
"""
    found = faults(text, {"PLANO_CLASSIFIER__THREADS": "many", "PLANO_TYPO": "1"})

    assert [(fault.where, fault.origin) for fault in found] == [
        ("mode", "plano.yaml:1"),
        ("treshold", "plano.yaml:2"),
        ("model_providers", "plano.yaml:3"),
        ("model_providers[1].model", "plano.yaml:5"),
        ("routing_preferences[0].name", "plano.yaml:7"),
        ("routing_preferences[0].models[0]", "plano.yaml:9"),
        ("PLANO_TYPO", "PLANO_TYPO"),
        ("classifier.threads", "PLANO_CLASSIFIER__THREADS"),
    ]


def test_error_text_has_one_line_for_each_fault() -> None:
    """The message of the error is a count and then `origin: where: what` lines."""
    with pytest.raises(ConfigurationError) as caught:
        load(MINIMAL + "mode: x\nstrict: 3\n")

    assert str(caught.value).splitlines() == [
        "2 faults in the configuration:",
        "plano.yaml:4: mode: expected one of observe, rewrite, forward",
        "plano.yaml:5: strict: expected true or false",
    ]


@pytest.mark.parametrize(
    ("line", "where", "what"),
    [
        ("enabled: 1", "enabled", "expected true or false"),
        ("mode: REWRITE", "mode", "expected one of observe, rewrite, forward"),
        ("startup: never", "startup", "expected one of wait, background"),
        ("classifier: {kind: gpt}", "classifier.kind", "expected one of embedded, arch_router, remote, cascade"),
        ("classifier: {device: tpu}", "classifier.device", "expected auto, cpu, cuda or cuda:N"),
        ("classifier: {device: 0}", "classifier.device", "expected text; put it in quotes"),
        (
            "classifier: {threads: 0}",
            "classifier.threads",
            "expected a whole number of at least 1 and at most 1024",
        ),
        (
            "classifier: {threads: true}",
            "classifier.threads",
            "expected a whole number of at least 1 and at most 1024",
        ),
        (
            "classifier: {threads: 1.5}",
            "classifier.threads",
            "expected a whole number of at least 1 and at most 1024",
        ),
        (
            "classifier: {deadline_ms: 0}",
            "classifier.deadline_ms",
            "expected a number above 0 and at most 600000",
        ),
        (
            "classifier: {queue: 0}",
            "classifier.queue",
            "expected a whole number of at least 1 and at most 1000000",
        ),
        ("classifier: {prompt_form: x}", "classifier.prompt_form", "expected one of gateway, card, instructions_first"),
        ("classifier: []", "classifier", "expected a mapping, one `key: value` a line"),
        ("routing: {threshold: 1.01}", "routing.threshold", "expected a number from 0 to 1"),
        ("routing: {threshold: -0.1}", "routing.threshold", "expected a number from 0 to 1"),
        ("routing: {threshold: .nan}", "routing.threshold", "expected a number from 0 to 1"),
        ("routing: {threshold: .inf}", "routing.threshold", "expected a number from 0 to 1"),
        ("routing: {sample: half}", "routing.sample", "expected a number from 0 to 1"),
        ("routing: {sample: 2}", "routing.sample", "expected a number from 0 to 1"),
        ("routing: {on_error: raise}", "routing.on_error", "expected one of default, reject"),
        ("routing: {unmatched: none}", "routing.unmatched", "expected one of default, requested"),
        ("routing: {inline: maybe}", "routing.inline", "expected one of allow, deny"),
        ("routing: {model_form: long}", "routing.model_form", "expected one of bare, qualified"),
        ("routing: {cross_format: x}", "routing.cross_format", "expected true or false"),
        ("routing: {applies_to: auto}", "routing.applies_to", "expected a list that is not empty"),
        ("routing: {applies_to: []}", "routing.applies_to", "expected a list that is not empty"),
        ("cache: {size: -1}", "cache.size", "expected a whole number from 0 to 10000000"),
        ("cache: {ttl_s: 0}", "cache.ttl_s", "expected a number above 0 and at most 31536000"),
        (
            "limits: {body_bytes: 10 MiB}",
            "limits.body_bytes",
            "expected a whole number of at least 1 and at most 1073741824",
        ),
        (
            "limits: {body_timeout_s: -1}",
            "limits.body_timeout_s",
            "expected a number above 0 and at most 31536000",
        ),
        (
            "paths: [chat]",
            "paths[0]",
            "expected the end of a URL path: a slash first, no spaces, no query",
        ),
        ("response_headers: none", "response_headers", "expected true or false"),
        ("endpoints: {}", "endpoints", "expected true or false"),
        ("admin: {token: [1]}", "admin.token", "expected text; put it in quotes"),
        ("routing_preferences: x", "routing_preferences", "expected a list"),
    ],
)
def test_setting_out_of_range_is_told_what_is_expected(line: str, where: str, what: str) -> None:
    """Each setting refuses what it cannot be, in one plain sentence with the line, and nothing else is faulted."""
    assert faults(f"{MINIMAL}{line}\n") == (Fault(where=where, what=what, origin="plano.yaml:4"),)


@pytest.mark.parametrize(
    "line",
    [
        "routing: {threshold: 0, sample: 0}",
        "routing: {threshold: 1, sample: 1}",
        "cache: {size: 0, ttl_s: 0.001}",
        "classifier: {threads: 1, queue: 1, device: 'cuda:1', deadline_ms: 1}",
        "limits: {body_bytes: 1, body_timeout_s: 0.5}",
    ],
)
def test_bounds_themselves_are_allowed(line: str) -> None:
    """The least and the greatest allowed value are allowed."""
    assert load(f"{MINIMAL}{line}\n").warnings == ()


@pytest.mark.parametrize(
    ("line", "where", "nearest"),
    [
        ("classifer: {}", "classifer", "classifier"),
        ("threshold: 0.5", "threshold", "routing.threshold"),
        ("body_bytes: 5", "body_bytes", "limits.body_bytes"),
        ("routing: {treshold: 0.5}", "routing.treshold", "routing.threshold"),
        ("routing: {treshold: }", "routing.treshold", "routing.threshold"),
        ("cache: {ttl: 5}", "cache.ttl", "cache.ttl_s"),
        (
            "routing_preferences: [{name: a, description: b, model: openai/gpt-4o-mini, models: [openai/gpt-4o-mini]}]",
            "routing_preferences[0].model",
            "routing_preferences[].models",
        ),
    ],
)
def test_unknown_key_is_a_fault_that_names_the_nearest(line: str, where: str, nearest: str) -> None:
    """A misspelt or misplaced key is named with its path and line, and told what it was probably meant to be."""
    (fault,) = faults(f"{MINIMAL}{line}\n")

    assert (fault.where, fault.origin) == (where, "plano.yaml:4")
    assert fault.what == f"is not a setting; did you mean {nearest}?"


def test_unknown_key_like_nothing_known_is_a_fault() -> None:
    """Where nothing is near, nothing is suggested."""
    (fault,) = faults(f"{MINIMAL}zzzzzz: 1\n")

    assert fault.what == "is not a setting; remove it"


def test_long_or_unprintable_key_is_abridged() -> None:
    """A hostile key can neither flood nor colour a terminal."""
    first, second = faults(f'{MINIMAL}? "{"k" * 900}"\n: 1\n"\\e[31m": 1\n')

    assert len(str(first)) < 200
    assert "\x1b" not in str(second)


def test_key_of_a_plano_file_without_a_counterpart_says_so() -> None:
    """Someone who brings a Plano file learns that a key is Plano's, not a misspelling."""
    (fault,) = faults(f"{MINIMAL}tracing: {{random_sampling: 100}}\n")

    assert fault.what == "is a key of Plano's that plano-asgi does not read; remove it"


def test_key_without_a_value_counts_as_not_given() -> None:
    """A section whose lines are all commented out is no fault."""
    settings = load(f"{MINIMAL}mode:\nclassifier:\nrouting: {{threshold: , applies_to: }}\n")

    assert (settings.mode, settings.routing.applies_to) == ("rewrite", ("*",))


def test_error_carries_no_trace_of_pydantic() -> None:
    """No chained exception holds the input, so no traceback can show it."""
    with pytest.raises(ConfigurationError) as caught:
        load(f"{MINIMAL}mode: x\n")

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
