"""Arch-Router on a GPU: `make test-cuda`, on a machine that has one and onnxruntime-gpu."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plano_asgi.classify.arch_router import ArchRouterClassifier
from plano_asgi.classify.arch_router.bundle import Bundle, KeyValueShape
from plano_asgi.classify.arch_router.completion_tree import CompletionTree
from plano_asgi.classify.arch_router.rows import Row
from plano_asgi.classify.arch_router.session import CausalSession
from plano_asgi.classify.digests import sha256_of
from plano_asgi.conversation import Conversation, Message, Role
from plano_asgi.decisions import Scores
from plano_asgi.errors import ConfigurationError
from plano_asgi.lab.export.architecture import Architecture
from plano_asgi.lab.export.graph import write_graph
from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.weights import RandomWeights
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

HALF = 0.02  # of probabilities, by which half precision on the GPU may differ from single on the CPU
COMPANY = 0.004  # of logits, by which company and prefixes may move them in half precision
SINGLE = 1e-4
PREFIX = tuple(range(20, 60))
TREE = CompletionTree.build([(5, 6, 7), (5, 6, 8), (5, 9), (5, 9, 10)], end=2)

Make = Callable[[Precision], Path]


@pytest.fixture(scope="module")
def make(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return what writes the tiny bundle in a precision, always of the same weights."""
    tiny = Bundle.read(tiny_bundle)
    shape = Architecture(
        layers=2,
        hidden=32,
        intermediate=64,
        heads=4,
        kv_heads=2,
        head_size=16,
        vocabulary=tiny.vocabulary,
        context=4_096,
    )

    def written(precision: Precision) -> Path:
        """Write it."""
        folder = tmp_path_factory.mktemp(precision.value)
        shutil.copy(tiny_bundle / "tokenizer.json", folder)
        write_graph(shape, RandomWeights(shape, seed=1), folder, precision)
        digests = {path.name: sha256_of(path) for path in folder.iterdir()}
        dtype = np.dtype(precision.activations).name
        key_values = KeyValueShape(tensors=4, heads=2, head_size=16, dtype=dtype)
        replace(tiny, folder=folder, precision=precision.value, key_values=key_values, sha256=digests).write()
        return folder

    return written


@pytest.fixture(scope="module")
def half(make: Make) -> Path:
    """Return a bundle that is made for CUDA."""
    return make(Precision.FP16)


@pytest.fixture(scope="module")
def session(half: Path) -> CausalSession:
    """Return a session on the first GPU."""
    return CausalSession(Bundle.read(half), device="cuda", threads=2)


def rows_of(*lengths: int) -> list[Row]:
    """Return rows of random tokens."""
    random = np.random.default_rng(7)
    return [Row.of([int(token) for token in random.integers(11, 400, length)], TREE) for length in lengths]


def said(text: str) -> Conversation:
    """Return what the user said."""
    return (Message(role=Role.USER, text=text),)


def all_of(scores: Scores) -> list[float]:
    """Return the probabilities in the policy's order, that of none last."""
    return [*scores.routes.values(), scores.other]


POLICY = RoutingPolicy(
    preferences=tuple(
        RoutingPreference(name=n, description=n, models=()) for n in ("code", "code review", "größe", "b")
    )
)
TEXTS = [f"write {'very ' * count}good code" for count in range(24)]


def test_keys_and_values_stay_on_the_gpu(session: CausalSession) -> None:
    """The graph runs on CUDA, and a prefix is kept there."""
    kept = session.extended(PREFIX, session.nothing)

    assert session.device.is_cuda
    assert kept.value.device_name().lower() == "cuda"
    assert kept.value.shape() == [4, 1, 2, len(PREFIX), 16]


def test_company_does_not_change_logits(session: CausalSession) -> None:
    """Rows of different lengths in one batch have the logits that each has alone."""
    prefix = session.extended(PREFIX, session.nothing)
    rows = rows_of(3, 50, 17, 1, 128)

    together = session.run(rows, prefix)

    for row, found in zip(rows, together, strict=True):
        (alone,) = session.run([row], prefix)
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_allclose(one, other, atol=COMPANY)


def test_a_prefix_does_not_change_logits(session: CausalSession) -> None:
    """Reading on from kept keys and values gives the logits of reading everything."""
    tokens = tuple(range(100, 190))
    _, whole = session.read(PREFIX + tokens, session.nothing)

    _, continued = session.read(tokens, session.extended(PREFIX, session.nothing))

    np.testing.assert_allclose(continued, whole, atol=COMPANY)


@pytest.mark.parametrize(("precision", "tolerance"), [(Precision.FP16, HALF), (Precision.FP32, SINGLE)], ids=str)
def test_the_gpu_scores_as_the_cpu_does(make: Make, precision: Precision, tolerance: float) -> None:
    """A route's probability is the same on CUDA as on the CPU in single precision, within what the precision allows."""
    on_gpu = ArchRouterClassifier(make(precision), device="cuda")
    on_cpu = ArchRouterClassifier(make(Precision.FP32), device="cpu")

    for text in TEXTS:
        found, expected = on_gpu.classify(said(text), POLICY), on_cpu.classify(said(text), POLICY)
        np.testing.assert_allclose(all_of(found), all_of(expected), atol=tolerance)


def test_many_callers_at_once_have_the_answers_that_each_has_alone(half: Path) -> None:
    """64 threads share batches and notice nothing of it."""
    classifier = ArchRouterClassifier(half, device="cuda")
    classifier.prepare(POLICY)
    alone = [all_of(classifier.classify(said(text), POLICY)) for text in TEXTS]

    with ThreadPoolExecutor(64) as callers:
        together = list(callers.map(lambda n: all_of(classifier.classify(said(TEXTS[n % 24]), POLICY)), range(480)))

    np.testing.assert_allclose(together, [alone[n % 24] for n in range(480)], atol=COMPANY)


def test_generation_runs_on_the_gpu(half: Path) -> None:
    """Tokens are generated from keys and values that never leave the GPU."""
    session = CausalSession(Bundle.read(half), device="cuda", threads=2)
    key_values, logits = session.read(PREFIX, session.nothing)

    for _ in range(5):
        key_values, logits = session.read((int(logits.argmax()),), key_values)

    assert key_values.length == len(PREFIX) + 5
    assert key_values.value.device_name().lower() == "cuda"


def test_bounds_are_those_of_a_gpu(half: Path) -> None:
    """On CUDA a decision has 300 ms, and 64 calls may share a batch."""
    classifier = ArchRouterClassifier(half, device="cuda")

    assert (classifier.deadline_ms, classifier.parallelism) == (300.0, 64)


def test_auto_takes_the_gpu_for_what_is_made_for_it(make: Make, half: Path) -> None:
    """`auto` runs fp16 on CUDA and int8 on the CPU."""
    kinds = [
        CausalSession(Bundle.read(folder), device="auto", threads=1).device.kind
        for folder in (half, make(Precision.INT8))
    ]

    assert kinds == ["cuda", "cpu"]


@pytest.mark.parametrize(
    ("precision", "device", "words"),
    [(Precision.INT8, "cuda", "--precision fp16"), (Precision.FP16, "cuda:63", "cannot use cuda:63 here")],
    ids=["int8", "no such GPU"],
)
def test_a_gpu_that_cannot_be_used_is_a_clear_fault(
    make: Make, capsys: pytest.CaptureFixture[str], precision: Precision, device: str, words: str
) -> None:
    """CUDA that is asked for and cannot be had is a fault of the setting, and neither the CPU in silence nor noise."""
    with pytest.raises(ConfigurationError, match=rf"classifier\.device: .*{words}"):
        CausalSession(Bundle.read(make(precision)), device=device, threads=1)

    assert capsys.readouterr().out == ""
