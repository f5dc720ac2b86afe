"""From settings to a router that decides: cores, classifiers, and a file alone."""

import os
from pathlib import Path
from typing import Any, get_args

import pytest

import plano_asgi
from plano_asgi.assembly import build_classifier, build_router, load_router
from plano_asgi.classify.cores import usable_cores
from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.conversation import LLMCall
from plano_asgi.decisions import Reason, Source
from plano_asgi.errors import ArtifactNotFoundError, ConfigurationError
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.settings import Settings, load_settings
from plano_asgi.settings.classifier_schema import ClassifierKind
from plano_asgi.testing import FixedClassifier

CONFIG = """\
model_providers:
  - model: openai/gpt-4o-mini
    default: true
  - model: openai/gpt-4o
    routing_preferences:
      - name: complex_reasoning
        description: complex reasoning tasks, multi-step analysis
  - model: anthropic/claude-sonnet-4-20250514
    routing_preferences:
      - name: code_generation
        description: generating new code, writing functions
"""
CALL = LLMCall.from_text("Write a Python function that reverses a linked list")


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a configuration file, in a working directory of its own without any `PLANO_*` variable."""
    for name in [name for name in os.environ if name.startswith("PLANO_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "routes.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def settings_with(config_file: Path, **sections: dict[str, Any]) -> Settings:
    """Return the file's settings with some of them overridden."""
    return load_settings(config_file, environ={}, overrides=sections)


@pytest.mark.parametrize(
    ("content", "quota"),
    [
        ("100000 100000\n", 1),
        ("20000 100000\n", 1),
        ("1000 100000\n", 1),
        ("150000 100000\n", 2),
        ("640000000 100000\n", None),
        ("max 100000\n", None),
        ("", None),
        ("max\n", None),
        ("nonsense here\n", None),
    ],
    ids=["one", "a-fifth", "a-hundredth", "one-and-a-half", "huge", "none", "empty", "cut", "nonsense"],
)
def test_a_containers_quota_bounds_the_cores(tmp_path: Path, content: str, quota: int | None) -> None:
    """A quota of the container counts where it is less than the cores there are; less than one core counts as one."""
    cpu_max = tmp_path / "cpu.max"
    cpu_max.write_text(content)
    there_are = usable_cores(tmp_path / "no-such-file")

    assert usable_cores(cpu_max) == min(there_are, quota or there_are)


def test_without_a_quota_the_affinity_mask_counts(tmp_path: Path) -> None:
    """Without cgroup v2 the usable cores are those this process may run on."""
    there_are = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

    assert usable_cores(tmp_path / "no-such-file") == there_are


@pytest.mark.parametrize("kind", get_args(ClassifierKind))
def test_every_kind_of_classifier_can_be_built(config_file: Path, tiny_bundle: Path, kind: str) -> None:
    """No kind that the settings accept is missing here."""
    needs = {
        "embedded": {},
        "arch_router": {"model_path": str(tiny_bundle), "device": "cpu"},
        "remote": {"base_url": "http://127.0.0.1:1/v1"},
        "cascade": {"base_url": "http://127.0.0.1:1/v1"},
    }

    assert build_classifier(settings_with(config_file, classifier={"kind": kind, **needs[kind]})).kind == kind


def test_arch_router_without_a_model_is_a_fault_of_the_configuration(config_file: Path) -> None:
    """No trained model is shipped, so the folder of an exported one has to be named."""
    settings = settings_with(config_file, classifier={"kind": "arch_router"})

    with pytest.raises(ConfigurationError, match=r"classifier\.model_path: .*plano-asgi export"):
        build_router(settings)


def test_the_embedded_router_on_cuda_is_a_fault_of_the_configuration(config_file: Path) -> None:
    """A device that the embedded router cannot use is refused, and not silently replaced."""
    settings = settings_with(config_file, classifier={"device": "cuda"})

    with pytest.raises(ConfigurationError, match=r"classifier\.device: .*CPU"):
        build_classifier(settings)


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_no_numbered_cuda_device_is_accepted_either(config_file: Path, device: str) -> None:
    """A numbered CUDA device is a CUDA device."""
    settings = settings_with(config_file, classifier={"device": device})

    with pytest.raises(ConfigurationError):
        build_classifier(settings)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_embedded_router_runs_on_the_cpu(config_file: Path, device: str) -> None:
    """Where the CPU will do, the settings' classifier is the shipped one."""
    classifier = build_classifier(settings_with(config_file, classifier={"device": device}))

    assert isinstance(classifier, EmbeddedClassifier)
    assert classifier.kind == "embedded"


def test_a_router_that_is_not_enabled_routes_nothing(config_file: Path) -> None:
    """`enabled: false` is said by every decision, and the classifier is never asked."""
    classifier = FixedClassifier({"code_generation": 0.9})
    router = build_router(load_settings(config_file, environ={"PLANO_ENABLED": "false"}), classifier=classifier)

    decision = router.route(CALL)

    assert (decision.reason, decision.source, decision.would_use) == (
        Reason.BYPASSED,
        Source.NONE,
        "openai/gpt-4o-mini",
    )
    assert classifier.calls == []


def test_a_model_path_without_a_model_is_found_when_building(config_file: Path, tmp_path: Path) -> None:
    """A folder that holds no model is named before anything is served."""
    settings = settings_with(config_file, classifier={"model_path": str(tmp_path)})

    with pytest.raises(ArtifactNotFoundError, match=r"router\.json.*classifier\.model_path"):
        build_router(settings)


def test_a_router_is_built_as_the_settings_say(config_file: Path) -> None:
    """Threshold, deadline, patterns and what unmatched calls get are those of the settings."""
    settings = settings_with(
        config_file,
        classifier={"deadline_ms": 1234},
        routing={"threshold": 0.95, "unmatched": "requested", "applies_to": ["auto", "openai/*"]},
    )

    router = build_router(settings, classifier=FixedClassifier({"code_generation": 0.9}))

    assert router.deadline_ms == 1234
    assert (router.rules.threshold, router.rules.unmatched) == (0.95, "requested")
    assert router.rules.applies_to == ("auto", "openai/*")
    assert router.route(CALL).reason is Reason.NO_MATCH


def test_what_the_settings_leave_open_is_the_classifiers_own(config_file: Path) -> None:
    """Without a threshold and a deadline in the settings, the classifier's own hold."""
    classifier = FixedClassifier({"code_generation": 0.9})

    router = build_router(settings_with(config_file), classifier=classifier)

    assert (router.rules.threshold, router.deadline_ms) == (classifier.threshold, classifier.deadline_ms)
    decision = router.route(CALL)
    assert (decision.route, decision.would_use) == ("code_generation", "anthropic/claude-sonnet-4-20250514")


def test_a_threshold_of_zero_is_a_threshold(config_file: Path) -> None:
    """A threshold of 0 is not taken for none: everything matches something."""
    settings = settings_with(config_file, routing={"threshold": 0})

    assert build_router(settings, classifier=FixedClassifier({})).route(CALL).reason is Reason.MATCHED


@pytest.mark.parametrize(("size", "source"), [(10, Source.CACHE), (0, Source.CLASSIFIER)], ids=["cache", "no-cache"])
def test_the_cache_is_as_large_as_the_settings_say(config_file: Path, size: int, source: Source) -> None:
    """A cache of size 0 is none."""
    router = build_router(
        settings_with(config_file, cache={"size": size}), classifier=FixedClassifier({"code_generation": 0.9})
    )
    router.route(CALL)

    assert router.route(CALL).source is source


def test_reject_and_deny_reach_the_router(config_file: Path) -> None:
    """`routing.on_error: reject` and `routing.inline: deny` are what the built router does."""

    def fail() -> None:
        raise ValueError

    settings = settings_with(config_file, routing={"on_error": "reject", "inline": "deny"})
    router = build_router(settings, classifier=FixedClassifier({}, before=fail))
    inline = LLMCall(api_format=CALL.api_format, conversation=CALL.conversation, inline_policy=RoutingPolicy())

    with pytest.raises(plano_asgi.CallError) as unavailable:
        router.route(CALL)
    with pytest.raises(plano_asgi.CallError) as refused:
        router.route(inline)

    assert (unavailable.value.status, refused.value.status) == (503, 403)


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_file_alone_makes_a_started_router(config_file: Path, as_type: type[str] | type[Path]) -> None:
    """One file, with the shipped model, is a router that is warm and routes by description."""
    router = load_router(as_type(config_file))

    assert router.is_ready
    decision = router.route(CALL)
    assert (decision.route, decision.would_use) == ("code_generation", "anthropic/claude-sonnet-4-20250514")
    assert router.route(LLMCall.from_text("thanks, bye")).would_use == "openai/gpt-4o-mini"


def test_the_environment_names_the_file(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the file that `PLANO_CONFIG_FILE` names is loaded."""
    monkeypatch.setenv("PLANO_CONFIG_FILE", str(config_file))

    router = plano_asgi.load_router()

    assert [preference.name for preference in router.policy.preferences] == ["complex_reasoning", "code_generation"]


def test_a_broken_file_is_a_configuration_error(config_file: Path) -> None:
    """A file that cannot be used makes no router, and says what is wrong with it."""
    config_file.write_text(CONFIG + "classifer: {kind: embedded}\n", encoding="utf-8")

    with pytest.raises(ConfigurationError, match="classifier"):
        load_router(config_file)
