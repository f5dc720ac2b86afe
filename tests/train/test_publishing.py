"""The files that serve: what they answer is what the trained model answers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.classify.embedded import comparer as serving
from plano_asgi.classify.embedded.artifacts import FILE_NAMES, SHIPPED_FOLDER, Manifest
from plano_asgi.classify.embedded.encoder import Encoder
from plano_asgi.classify.embedded.texts import ConversationTexts
from plano_asgi.classify.embedded.tokens import EncoderInput, Tokenizer, conversation_tokens
from plano_asgi.conversation import Message, Role
from plano_asgi.errors import ArtifactIntegrityError
from plano_asgi.lab.train.finetuning import read_comparer
from plano_asgi.lab.train.mixture import material
from plano_asgi.lab.train.model import WIDTH, Comparer, RouterModel
from plano_asgi.lab.train.publishing import publish, write_comparer, write_encoder, write_exact_encoder
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

CALL = (
    Message(role=Role.USER, text="Write a parser"),
    Message(role=Role.ASSISTANT, text="def parse(): ..."),
    Message(role=Role.USER, text="now in Go"),
)


def served_and_trained(path: Path, comparer: Comparer, tokens: int, routes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of a random conversation and random routes by the file and by the model."""
    rng = np.random.default_rng(tokens * 100 + routes)
    states = rng.normal(size=(tokens, WIDTH)).astype(np.float32)
    vectors = rng.normal(size=(routes, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kinds = [0] * (tokens - tokens // 3) + [1] * (tokens // 3)
    served = serving.Comparer(path, temperature=1.0).logits(states, EncoderInput([0] * tokens, kinds), list(vectors))
    with torch.no_grad():
        trained = comparer(
            torch.from_numpy(states)[None],
            torch.tensor([kinds]),
            torch.ones(1, tokens) > 0,
            torch.from_numpy(vectors)[None],
            torch.ones(1, routes) > 0,
        )
    return served, trained[0].numpy()


@pytest.mark.parametrize(("tokens", "routes"), [(1, 1), (3, 2), (8, 3), (40, 15), (224, 100)])
def test_comparer_on_disk_answers_as_the_trained_one(
    tiny_router: Callable[..., RouterModel], tmp_path: Path, tokens: int, routes: int
) -> None:
    """In float32 the logits are the model's within 1e-3, for any number of tokens and of routes."""
    comparer = tiny_router().comparer
    write_comparer(comparer, tmp_path / "comparer.onnx")

    served, trained = served_and_trained(tmp_path / "comparer.onnx", comparer, tokens, routes)

    assert served == pytest.approx(trained, abs=1e-3)


def test_shipped_comparer_can_be_read_back() -> None:
    """The shipped comparer, as PyTorch reads it, has the logits of the file within 1e-3, and they are no constants."""
    path = SHIPPED_FOLDER / "comparer.onnx"

    served, trained = served_and_trained(path, read_comparer(path).eval(), 20, 6)

    assert served == pytest.approx(trained, abs=1e-3)
    assert np.std(served) > 0.1


def test_comparer_that_is_read_back_has_the_same_weights(
    tiny_router: Callable[..., RouterModel], tmp_path: Path
) -> None:
    """Writing and reading changes no weight."""
    comparer = tiny_router().comparer
    write_comparer(comparer, tmp_path / "comparer.onnx")

    read = read_comparer(tmp_path / "comparer.onnx").state_dict()

    assert read.keys() == comparer.state_dict().keys()
    assert [name for name, value in comparer.state_dict().items() if not torch.equal(value, read[name])] == []


@pytest.mark.parametrize("name", ["encoder.onnx", "tokenizer.json"])
def test_what_is_no_comparer_cannot_be_read(name: str) -> None:
    """A file of another kind is an integrity error with its name."""
    with pytest.raises(ArtifactIntegrityError, match=name):
        read_comparer(SHIPPED_FOLDER / name)


def test_encoder_on_disk_answers_as_the_trained_one(
    tiny_router: Callable[..., RouterModel], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """In float32 the states of both kinds of tokens are the model's within 1e-3; in int8 they point the same way."""
    model = tiny_router()
    write_exact_encoder(model, tmp_path / "exact.onnx")
    write_encoder(model, tmp_path / "encoder.onnx")
    tokens = conversation_tokens(tokenizer, ConversationTexts("now in Go", "user: a loop in Python, please"))
    ids, kinds = torch.tensor([tokens.ids]), torch.tensor([tokens.kinds])

    with torch.no_grad():
        trained = model.states_of(ids, kinds, torch.ones_like(ids) > 0)[0].numpy()
    exact, served = (Encoder(tmp_path / f"{name}.onnx", threads=1).states(tokens) for name in ("exact", "encoder"))

    assert exact == pytest.approx(trained, abs=1e-3)
    cosines = (served * trained).sum(1) / np.linalg.norm(served, axis=1) / np.linalg.norm(trained, axis=1)
    assert cosines.min() > 0.95
    assert (tmp_path / "encoder.onnx").stat().st_size < 0.4 * (tmp_path / "exact.onnx").stat().st_size


def test_published_folder_is_a_router(tiny_router: Callable[..., RouterModel], datasets: Path, tmp_path: Path) -> None:
    """What is published is loaded, verified, and answers with probabilities; the report is that of its calibration."""
    tokenizer, kept_back = SHIPPED_FOLDER / "tokenizer.json", material(datasets).kept_back

    report = publish(tiny_router(), tokenizer, kept_back, tmp_path / "out", batches=1)

    manifest = Manifest.read(tmp_path / "out")
    manifest.verify()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*FILE_NAMES, "router.json"}
    assert report["threshold"] == pytest.approx(manifest.threshold, abs=1e-3)
    assert report["temperature"] == pytest.approx(manifest.temperature, abs=1e-3)
    assert report["n"] >= 100
    preference = RoutingPreference(name="code", description="writing code", models=("a/b",))
    scores = EmbeddedClassifier(tmp_path / "out").classify(CALL, RoutingPolicy(preferences=(preference,)))
    assert scores.routes["code"] + scores.other == pytest.approx(1, abs=1e-5)
