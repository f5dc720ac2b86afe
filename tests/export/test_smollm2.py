"""A real model of 135M parameters, exported in every precision and compared with itself in transformers."""

import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from plano_asgi.classify.arch_router.bundle import Bundle
from plano_asgi.classify.arch_router.classifier import ArchRouterClassifier
from plano_asgi.conversation import Message, Role
from plano_asgi.lab.export.exporting import Order, export
from plano_asgi.lab.export.parity import (
    LEAST_AGREEMENT,
    MOST_FP32_DIFFERENCE,
    Answers,
    AskSource,
    Progress,
    answers_of_source,
)
from plano_asgi.lab.export.parity_prompts import PolicyPrompts
from plano_asgi.lab.export.precision import Precision
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

PROMPTS_OF_A_POLICY = {
    Precision.FP32: 1,
    Precision.FP16: 1,
    Precision.INT8: 3,
    Precision.INT4: 3,
}  # all 50 take minutes
MOST_LOGIT_DIFFERENCE = {"fp32": MOST_FP32_DIFFERENCE, "fp16": 0.2, "int8": 10.0, "int4": 15.0}
POLICY = RoutingPolicy(
    preferences=(
        RoutingPreference(name="code", description="writing and mending programs", models=("openai/a",)),
        RoutingPreference(name="travel", description="trips, trains and hotels", models=("openai/b",)),
    )
)


@pytest.fixture(scope="module")
def ask_source() -> AskSource:
    """Return what asks SmolLM2 in transformers, each set of prompts once: it answers alike for every precision."""
    answered: dict[tuple[Any, ...], Answers] = {}

    def asked_once(model: Any, groups: Sequence[PolicyPrompts], progress: Progress) -> Answers:
        """Ask it, or remember."""
        prompts = tuple((group.static, group.rests) for group in groups)
        if prompts not in answered:
            answered[prompts] = answers_of_source(model, groups, progress)
        return answered[prompts]

    return asked_once


@pytest.fixture(scope="module")
def exported(
    smollm2_folder: Path, ask_source: AskSource, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Precision], Bundle]:
    """Return what gives SmolLM2 as a bundle of some precision, exported once."""

    @cache
    def in_precision(precision: Precision) -> Bundle:
        """Export it."""
        return export(
            Order(
                source=str(smollm2_folder),
                out=tmp_path_factory.mktemp("bundle"),
                precision=precision,
                prompts_of_a_policy=PROMPTS_OF_A_POLICY[precision],
            ),
            ask_source=ask_source,
        )

    return in_precision


@pytest.fixture(scope="module", params=list(Precision), ids=str)
def bundle(request: pytest.FixtureRequest, exported: Callable[[Precision], Bundle]) -> Bundle:
    """Return SmolLM2 as a bundle of each precision."""
    return exported(request.param)


def test_bundle_is_complete_and_as_good_as_it_promises(bundle: Bundle) -> None:
    """In every precision the files are those of the manifest, and what was measured is recorded and above the floor."""
    read = Bundle.read(bundle.folder)

    read.verify()
    sys.stdout.write(f"{read.precision}: {dict(read.parity)}\n")
    assert read == bundle
    assert sorted(path.name for path in read.folder.iterdir()) == sorted([*read.sha256, "router.json"])
    assert read.parity["prompts"] == 5 * PROMPTS_OF_A_POLICY[Precision(read.precision)]
    assert max(read.parity["agreement"], read.parity["clear_agreement"]) >= LEAST_AGREEMENT[Precision(read.precision)]
    assert read.parity["max_logit_difference"] < MOST_LOGIT_DIFFERENCE[read.precision]


def test_bundle_decides(bundle: Bundle) -> None:
    """The classifier loads the bundle and gives probabilities that sum to one."""
    classifier = ArchRouterClassifier(bundle.folder, device="cpu")

    scores = classifier.classify((Message(role=Role.USER, text="Which train goes to Porto?"),), POLICY)

    classifier.close()
    assert sum(scores.routes.values()) + scores.other == pytest.approx(1.0)


def test_gguf_becomes_the_graph_of_its_safetensors(
    smollm2_gguf: Path, exported: Callable[[Precision], Bundle], tmp_path: Path
) -> None:
    """A GGUF file becomes, byte for byte, what its safetensors become; the probe records how the model quotes."""
    order = Order(
        source=str(smollm2_gguf),
        out=tmp_path / "out",
        precision=Precision.FP32,
        prompts_of_a_policy=1,
        wants_probe=True,
    )

    bundle = export(order)

    probe = bundle.parity["probe"]
    sys.stdout.write(f"SmolLM2 answers in {bundle.quoting} quotes: {probe}\n")
    assert bundle.sha256 == exported(Precision.FP32).sha256
    assert probe["answers"] == 5
    assert bundle.quoting == ("single" if probe["single"] > probe["double"] else "double")
