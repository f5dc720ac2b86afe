"""The training loop: what it learns, and that being cut off changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from plano_asgi.classify.embedded.tokens import Tokenizer
from plano_asgi.errors import ArtifactIntegrityError, ArtifactNotFoundError
from plano_asgi.lab.corpus_files import LabelledConversation, LabelledRoute, Source, said
from plano_asgi.lab.train.episodes import Sampler, talk_of
from plano_asgi.lab.train.mixture import Mixture, material
from plano_asgi.lab.train.model import RouterModel
from plano_asgi.lab.train.starting_point import untrained
from plano_asgi.lab.train.training import CHECKPOINT, Plan, train

SHORT = Plan(steps=6, conversations=8, checkpoint_every=2, frozen_layers=1)


@pytest.fixture(scope="module")
def mixture(datasets: Path) -> Mixture:
    """Return the mixture of our own corpus and made-up public sets."""
    return material(datasets).mixture


def test_cut_off_run_goes_on_as_if_it_had_not_been(
    tiny_router: Callable[..., RouterModel], tokenizer: Tokenizer, mixture: Mixture, tmp_path: Path
) -> None:
    """A run that is stopped between two checkpoints, and begun again with other weights, ends bit for bit the same."""
    whole, stopped, resumed = (tiny_router(seed, task_types=len(mixture.task_labels)) for seed in (1, 1, 2))
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()

    losses = [*train(whole, tokenizer, mixture, SHORT, folder=tmp_path / "whole")]
    begun = [*islice(train(stopped, tokenizer, mixture, SHORT, folder=tmp_path / "stopped"), 3)]
    ended = [*train(resumed, tokenizer, mixture, SHORT, folder=tmp_path / "stopped")]

    assert [step for step, _ in losses] == [1, 2, 3, 4, 5, 6]
    assert begun[:2] + ended == losses
    weights = resumed.state_dict()
    assert [name for name, value in whole.state_dict().items() if not torch.equal(value, weights[name])] == []
    assert not resumed.training


def test_finished_run_is_not_repeated(
    tiny_router: Callable[..., RouterModel], tokenizer: Tokenizer, mixture: Mixture, tmp_path: Path
) -> None:
    """Where the last checkpoint is there, its weights are taken and no step is done; another plan begins anew."""
    plan = replace(SHORT, steps=2)
    model, again, anew = (tiny_router(seed, task_types=len(mixture.task_labels)) for seed in (1, 7, 1))
    assert len([*train(model, tokenizer, mixture, plan, folder=tmp_path)]) == 2

    assert [*train(again, tokenizer, mixture, plan, folder=tmp_path)] == []
    assert len([*train(anew, tokenizer, mixture, replace(plan, seed=1), folder=tmp_path)]) == 2

    assert torch.equal(again.comparer.out.weight, model.comparer.out.weight)
    assert not torch.equal(anew.comparer.out.weight, model.comparer.out.weight)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_word_vectors_and_lowest_layers_stay(
    tiny_router: Callable[..., RouterModel], tokenizer: Tokenizer, mixture: Mixture, tmp_path: Path
) -> None:
    """What is frozen is bit for bit what it was; the upper layer and the comparer are not."""
    model = tiny_router(task_types=len(mixture.task_labels))
    before = {name: value.clone() for name, value in model.state_dict().items()}

    for _ in train(model, tokenizer, mixture, replace(SHORT, steps=4), folder=tmp_path):
        pass

    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not [name for name in changed if "word_embeddings" in name or "encoder.layer.0." in name]
    assert any("encoder.layer.1." in name for name in changed)
    assert any(name.startswith("comparer.") for name in changed)


def test_router_learns(tiny_router: Callable[..., RouterModel], tokenizer: Tokenizer, tmp_path: Path) -> None:
    """On two labels that one word tells apart the loss falls far below that of guessing."""
    conversations = tuple(LabelledConversation(said(f"{word} please"), word) for word in ("apples", "violins"))
    routes = tuple(LabelledRoute(word, f"all of {word}", frozenset({word})) for word in ("apples", "violins"))
    mixture = Mixture([Sampler(Source("easy", conversations, routes), strange=talk_of([said("hm")]))], [1])
    plan = Plan(steps=60, conversations=8, frozen_layers=0, encoder_rate=5e-4, comparer_rate=5e-3)

    losses = [loss for _, loss in train(tiny_router(), tokenizer, mixture, plan, folder=tmp_path)]

    assert losses[-1] < 0.75 * losses[0]


def test_start_is_the_published_encoder_or_nothing(tmp_path: Path) -> None:
    """A folder without the encoder's files, or with others, is refused by name before anything is loaded."""
    with pytest.raises(ArtifactNotFoundError, match=r"model\.safetensors"):
        untrained(tmp_path, 3, seed=0)
    (tmp_path / "model.safetensors").write_bytes(b"others")

    with pytest.raises(ArtifactIntegrityError, match=r"model\.safetensors.*SHA-256"):
        untrained(tmp_path, 3, seed=0)
