"""The training loop: seeded, and resumable without a trace."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from plano_asgi.classify.embedded.tokens import Tokenizer
from plano_asgi.lab.corpus_files import TASK_TYPES
from plano_asgi.lab.train.episodes import Batch, Draws
from plano_asgi.lab.train.mixture import Mixture
from plano_asgi.lab.train.model import ABSENT, RouterModel
from plano_asgi.lab.train.tensors import answers_of

SMOOTHING: Final = 0.03
TASK_LOSS: Final = 0.25
PLAIN_LOSS: Final = 0.4
LONGEST_GRADIENT: Final = 1.0
CHECKPOINT: Final = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast.

    Attributes:
        steps: Batches.
        conversations: In each batch.
        encoder_rate, comparer_rate: Highest learning rates; they rise for a twelfth of the steps and fall after.
        frozen_layers: Lowest layers of the encoder that stay as they are, as do the word vectors.
        checkpoint_every: Steps between checkpoints.
        seed: Of everything that is drawn.
        without: Public sets that are left out; a run with others is another run.
    """

    steps: int = 1_500
    conversations: int = 32
    encoder_rate: float = 8e-5
    comparer_rate: float = 1e-3
    frozen_layers: int = 2
    checkpoint_every: int = 100
    seed: int = 20_261_123
    without: tuple[str, ...] = ()


def train(
    model: RouterModel, tokenizer: Tokenizer, mixture: Mixture, plan: Plan, *, folder: Path
) -> Iterator[tuple[int, float]]:
    """Train as planned, and yield after each step how many are done and the loss, smoothed.

    A checkpoint of the same plan in the folder is gone on from, and what comes out is the same as without a stop.

    Args:
        model: What to train, in place; it is trained when the last step has been yielded.
        tokenizer: The encoder's.
        mixture: What to draw from.
        plan: How long and how fast.
        folder: Where checkpoints are kept.
    """
    freeze(model, plan.frozen_layers)
    optimiser = _optimiser(model, plan)
    rates = [plan.encoder_rate, plan.comparer_rate]
    schedule = OneCycleLR(optimiser, rates, total_steps=plan.steps, pct_start=1 / 12)
    first, smoothed = _resumed(folder / CHECKPOINT, plan, model, optimiser, schedule)
    model.train()
    for step in range(first, plan.steps):
        torch.manual_seed(plan.seed + step)  # of what is dropped out
        source, batch = mixture.draw(plan.conversations, np.random.default_rng((plan.seed, step)))
        loss = _loss(model, tokenizer, batch, _task_numbers(source, mixture.task_labels))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LONGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        smoothed = float(loss.detach()) if step == 0 else 0.98 * smoothed + 0.02 * float(loss.detach())
        if (step + 1) % plan.checkpoint_every == 0 or step + 1 == plan.steps:
            state = {"plan": asdict(plan), "step": step + 1, "loss": smoothed, "model": model.state_dict()}
            state |= {"optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}
            torch.save(state, folder / f"{CHECKPOINT}.new")
            (folder / f"{CHECKPOINT}.new").replace(folder / CHECKPOINT)
        yield step + 1, smoothed
    model.eval()


def freeze(model: RouterModel, layers: int) -> None:
    """Keep the word vectors and the lowest layers of the encoder as they are."""
    encoder: Any = model.encoder
    for part in (encoder.embeddings.word_embeddings, *encoder.encoder.layer[:layers]):
        for weights in part.parameters():
            weights.requires_grad_(requires_grad=False)


def _optimiser(model: RouterModel, plan: Plan) -> torch.optim.Optimizer:
    encoder = [p for p in model.encoder.parameters() if p.requires_grad]
    others = [p for name, p in model.named_parameters() if not name.startswith("encoder.")]
    return torch.optim.AdamW(
        [
            {"params": encoder, "lr": plan.encoder_rate, "weight_decay": 0.01},
            {"params": others, "lr": plan.comparer_rate, "weight_decay": 0.05},
        ]
    )


def _resumed(
    path: Path, plan: Plan, model: RouterModel, optimiser: torch.optim.Optimizer, schedule: LRScheduler
) -> tuple[int, float]:
    if not path.is_file():
        return 0, 0.0
    state: Mapping[str, Any] = torch.load(path, weights_only=True)
    if state["plan"] != asdict(plan):
        return 0, 0.0
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    return state["step"], state["loss"]


def _task_numbers(source: Draws, task_labels: Sequence[str]) -> Tensor | None:
    """Return the number of each label of a source in the auxiliary task, and -1 at the end for none."""
    if source.name != TASK_TYPES:
        return None
    return torch.tensor([*map(task_labels.index, source.labels), -1])


def _loss(model: RouterModel, tokenizer: Tokenizer, batch: Batch, task_numbers: Tensor | None) -> Tensor:
    found = answers_of(model, tokenizer, batch)
    losses = map(_episode_loss, found.logits, found.right)
    plain = map(_episode_loss, found.plain, found.right)
    loss = torch.stack([*losses]).mean() + PLAIN_LOSS * torch.stack([*plain]).mean()
    if task_numbers is not None:
        labels = task_numbers[torch.from_numpy(batch.label[found.order])]
        loss = loss + TASK_LOSS * functional.cross_entropy(model.task(found.latest), labels, ignore_index=-1)
    return loss


def _episode_loss(logits: Tensor, answer: Tensor) -> Tensor:
    """Return the cross entropy, its target smoothed over what is there to be chosen."""
    chances = logits.log_softmax(-1)
    is_there = (logits > ABSENT / 2).float()
    right = chances.gather(1, answer[:, None]).squeeze(1)
    others = (chances.clamp(min=-20) * is_there).sum(1) / is_there.sum(1)
    return -((1 - SMOOTHING) * right + SMOOTHING * others).mean()
