"""Train the head of the embedded router: one command, seeded, some five minutes on two cores.

```text
python -m plano_asgi.lab.head_training --datasets FOLDER
```

FOLDER holds `clinc150.jsonl.gz` and `banking77.jsonl.gz`. A tenth of our own corpus is kept out of training; on it the
temperature is fitted, so that probabilities are calibrated, and the threshold chosen.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional

from plano_asgi.classify.cores import usable_cores
from plano_asgi.classify.digests import sha256_of
from plano_asgi.classify.embedded.artifacts import FILE_NAMES, MANIFEST_NAME, SHIPPED_FOLDER
from plano_asgi.classify.embedded.encoder import WIDTH, SentenceEncoder
from plano_asgi.classify.embedded.head import Head, HeadWeights
from plano_asgi.errors import ArtifactIntegrityError
from plano_asgi.lab.corpus_files import TASK_TYPES, banking77, clinc150, policies, task_types
from plano_asgi.lab.embedding import COVERED, DEBATABLE, EmbeddedSource, embed
from plano_asgi.lab.episodes import MAX_ROUTES, Batch, Sampler

STEPS: Final = 6_000
EPISODES_A_STEP: Final = 96
LEARNING_RATE: Final = 2e-3
WEIGHT_DECAY: Final = 0.2
TASK_LOSS: Final = 0.5
RANK: Final = 12
NONE_WIDTH: Final = 16
DROPOUT: Final = 0.2
KEPT_OUT: Final = 0.1
MOST_DIFFERENCE: Final = 1e-4


class HeadModel(nn.Module):
    """The arithmetic of `plano_asgi.classify.embedded.head`, with gradients; `check_parity` holds the two together."""

    def __init__(self, task_count: int) -> None:
        """Start as plain cosine similarity: the adapters and the logit of none begin at zero."""
        super().__init__()
        self.call_down, self.route_down = nn.Linear(2 * WIDTH, RANK), nn.Linear(WIDTH, RANK)
        self.call_up, self.route_up = nn.Linear(RANK, WIDTH, bias=False), nn.Linear(RANK, WIDTH, bias=False)
        self.call_task, self.route_task = nn.Linear(2 * WIDTH, task_count), nn.Linear(WIDTH, task_count)
        self.none_hidden, self.none_out = nn.Linear(2 * WIDTH, NONE_WIDTH), nn.Linear(NONE_WIDTH, 1)
        for layer in (self.call_up, self.route_up, self.none_out):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.none_out.bias)
        self.context_share = nn.Parameter(torch.tensor(0.3))
        self.log_cosine_scale = nn.Parameter(torch.tensor(2.5))
        self.cosine_shift = nn.Parameter(torch.tensor(0.2))
        self.task_scale = nn.Parameter(torch.tensor(1.5))
        self.dropout = nn.Dropout(DROPOUT)

    def tasks_of_call(self, latest: Tensor, in_context: Tensor) -> Tensor:
        """Return logits of task types, `(b, k)`."""
        logits: Tensor = self.call_task(self.dropout(torch.cat([latest, in_context], -1)))
        return logits

    def tasks_of_route(self, routes: Tensor) -> Tensor:
        """Return a logit for each task type that a route may cover, `(..., k)`."""
        logits: Tensor = self.route_task(self.dropout(routes))
        return logits

    def forward(self, latest: Tensor, in_context: Tensor, routes: Tensor) -> Tensor:
        """Return logits of `r` routes and none, `(b, r + 1)`."""
        both = torch.cat([latest, in_context], -1)
        mixed = (1 - self.context_share) * latest + self.context_share * in_context
        call = functional.normalize(mixed + self.call_up(self.dropout(torch.tanh(self.call_down(both)))), dim=-1)
        adapted = routes + self.route_up(self.dropout(torch.tanh(self.route_down(routes))))
        cosine = (call[:, None] * functional.normalize(adapted, dim=-1)).sum(-1)
        tasks = self.tasks_of_call(latest, in_context).softmax(-1)
        overlap = (tasks[:, None] * self.tasks_of_route(routes).sigmoid()).sum(-1)
        scores = self.log_cosine_scale.exp() * (cosine - self.cosine_shift) + self.task_scale * (2 * overlap - 1)
        none: Tensor = self.none_out(self.dropout(torch.tanh(self.none_hidden(both))))
        return torch.cat([scores, none], 1)

    def weights(self, temperature: float) -> dict[str, NDArray[np.float32]]:
        """Return the arrays of `HeadWeights`."""
        layers = {
            "call_down": self.call_down,
            "call_up": self.call_up,
            "route_down": self.route_down,
            "route_up": self.route_up,
            "call_task": self.call_task,
            "route_task": self.route_task,
            "none_hidden": self.none_hidden,
        }
        tensors = {name: layer.weight.T for name, layer in layers.items()}
        tensors |= {f"{name}_bias": layer.bias for name, layer in layers.items() if layer.bias is not None}
        tensors |= {"none_out": self.none_out.weight[0], "none_out_bias": self.none_out.bias[0]}
        tensors |= {"context_share": self.context_share, "cosine_scale": self.log_cosine_scale.exp()}
        tensors |= {"cosine_shift": self.cosine_shift, "task_scale": self.task_scale}
        arrays = {name: np.array(tensor.detach(), np.float32, order="C") for name, tensor in tensors.items()}
        return {**arrays, "temperature": np.array(temperature, np.float32)}


@dataclass(frozen=True, slots=True)
class Mixture:
    """Samplers, and how often each is drawn from."""

    samplers: tuple[Sampler, ...]
    shares: tuple[float, ...]

    def draw(self, rng: np.random.Generator) -> tuple[Batch, EmbeddedSource]:
        """Return one batch and its source; few routes are as frequent as in configurations people write."""
        sampler = self.samplers[int(rng.choice(len(self.samplers), p=np.array(self.shares) / sum(self.shares)))]
        routes = int(rng.integers(1, 4) if rng.random() < 0.3 else rng.integers(2, MAX_ROUTES + 1))  # noqa: PLR2004 - a share
        return sampler.draw(EPISODES_A_STEP, routes, rng), sampler.source


def train(
    training: Mixture, tasks: EmbeddedSource, *, seed: int, steps: int, on_step: Callable[[], object]
) -> HeadModel:
    """Return a trained head."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = HeadModel(len(tasks.labels))
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        batch, source = training.draw(rng)
        loss = _episode_loss(model, batch)
        if source.name == TASK_TYPES:
            loss = loss + TASK_LOSS * _task_loss(model, batch, source, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        on_step()
    model.eval()
    return model


def logits_of(model: HeadModel, batch: Batch) -> Tensor:
    """Return the model's logits for a batch, `(b, r + 1)`."""
    arrays = (batch.latest, batch.in_context, batch.routes)
    logits: Tensor = model(*map(torch.from_numpy, arrays))
    return logits


def fit_temperature(logits: Sequence[Tensor], answers: Sequence[Tensor]) -> float:
    """Return the temperature that minimises the log loss of the batches."""
    candidates = np.geomspace(0.3, 3.0, 60)
    losses = [
        sum(float(functional.cross_entropy(z / t, y, reduction="sum")) for z, y in zip(logits, answers, strict=True))
        for t in candidates
    ]
    return float(candidates[int(np.argmin(losses))])


def choose_threshold(chances: Sequence[Tensor], answers: Sequence[Tensor]) -> tuple[float, float]:
    """Return the threshold with the best accuracy over the batches, and that accuracy."""

    def accuracy(threshold: float) -> float:
        right = total = 0
        for chance, answer in zip(chances, answers, strict=True):
            best, route = chance[:, :-1].max(1)
            decided = torch.where(best >= threshold, route, chance.shape[1] - 1)
            right, total = right + int((decided == answer).sum()), total + len(answer)
        return right / total

    candidates = [round(0.3 + 0.01 * step, 2) for step in range(41)]
    best = max(candidates, key=accuracy)
    return best, accuracy(best)


def _episode_loss(model: HeadModel, batch: Batch) -> Tensor:
    return functional.cross_entropy(logits_of(model, batch), torch.from_numpy(batch.answer), label_smoothing=0.02)


def _task_loss(model: HeadModel, batch: Batch, source: EmbeddedSource, rng: np.random.Generator) -> Tensor:
    """Return how badly the bottleneck knows the task types of the conversations and of some routes."""
    calls = model.tasks_of_call(torch.from_numpy(batch.latest), torch.from_numpy(batch.in_context))
    call_loss = functional.cross_entropy(calls, torch.from_numpy(source.label_of[batch.chosen]))
    some = rng.integers(0, len(source.routes), 128)
    relation = torch.from_numpy(source.relation[:-1, some].T)
    logits = model.tasks_of_route(torch.from_numpy(source.routes[some]))
    losses = functional.binary_cross_entropy_with_logits(logits, (relation == COVERED).float(), reduction="none")
    return call_loss + 4 * (losses * (relation != DEBATABLE)).mean()


def _split(source: EmbeddedSource, rng: np.random.Generator, *, kept_out: float) -> tuple[Sampler, Sampler | None]:
    order = rng.permutation(len(source.latest))
    count = int(kept_out * len(order))
    return Sampler(source, order[count:]), Sampler(source, order[:count]) if count else None


def check_parity(model: HeadModel, weights: HeadWeights, batch: Batch) -> None:
    """Guarantee that the head that serves computes what was trained.

    Raises:
        ArtifactIntegrityError: Probabilities differ by more than 1e-4.
    """
    with torch.no_grad():
        trained = (logits_of(model, batch) / float(weights.temperature)).softmax(-1).numpy()
    head = Head(weights)
    served = [
        head.probabilities(latest, in_context, [head.route_side(route) for route in routes])
        for latest, in_context, routes in zip(batch.latest, batch.in_context, batch.routes, strict=True)
    ]
    difference = float(np.abs(trained - np.stack(served)).max())
    if difference > MOST_DIFFERENCE:
        raise ArtifactIntegrityError(
            Path("head.npz"), problem=f"its head strays by {difference:.2g} from the trained one"
        )


def write(model: HeadModel, sample: Batch, *, temperature: float, threshold: float, folder: Path) -> None:
    """Write `head.npz`, checked on a sample, and the manifest that binds it to the encoder beside it."""
    weights = model.weights(temperature)
    check_parity(model, HeadWeights.checked(weights, folder / "head.npz"), sample)
    np.savez(folder / "head.npz", allow_pickle=False, **weights)
    digests = {name: sha256_of(folder / name) for name in FILE_NAMES}
    manifest = {
        "revision": f"embedded-{digests['encoder.onnx'][:8]}-{digests['head.npz'][:8]}",
        "threshold": threshold,
        "sha256": digests,
    }
    (folder / MANIFEST_NAME).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")


def main() -> None:
    """Embed, train, calibrate and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=Path, required=True, help="folder with the public data sets")
    parser.add_argument("--out", type=Path, default=SHIPPED_FOLDER, help="folder of encoder.onnx and tokenizer.json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    torch.set_num_threads(usable_cores())
    own, intents = [task_types(), *policies()], [clinc150(arguments.datasets), banking77(arguments.datasets)]
    encoder = SentenceEncoder(arguments.out / "encoder.onnx", arguments.out / "tokenizer.json", threads=1)
    with Progress(console=Console(stderr=True)) as progress:
        count = sum(len(source.conversations) + len(source.routes) for source in (*own, *intents))
        encoding = progress.add_task("encoding", total=count)
        embedded = [
            embed(source, encoder.encode, threads=usable_cores(), on_text=lambda: progress.advance(encoding))
            for source in (*own, *intents)
        ]
        rng = np.random.default_rng(arguments.seed)
        splits = [_split(source, rng, kept_out=KEPT_OUT if n < len(own) else 0) for n, source in enumerate(embedded)]
        policy_share = 0.4 / (len(own) - 1)
        shares = (0.35, *([policy_share] * (len(own) - 1)), 0.15, 0.1)
        training = Mixture(tuple(trained for trained, _ in splits), shares)
        stepping = progress.add_task("training", total=arguments.steps)
        model = train(
            training,
            embedded[0],
            seed=arguments.seed,
            steps=arguments.steps,
            on_step=lambda: progress.advance(stepping),
        )
    kept_out = [(sampler, 300 if n == 0 else 20) for n, (_, sampler) in enumerate(splits) if sampler]
    batches = [sampler.draw(count, routes, rng) for sampler, count in kept_out for routes in (1, 2, 4, 8)]
    answers = [torch.from_numpy(batch.answer) for batch in batches]
    with torch.no_grad():
        logits = [logits_of(model, batch) for batch in batches]
    temperature = fit_temperature(logits, answers)
    threshold, accuracy = choose_threshold([(z / temperature).softmax(-1) for z in logits], answers)
    write(model, batches[-1], temperature=temperature, threshold=threshold, folder=arguments.out)
    sys.stderr.write(
        f"kept-out episodes: accuracy {accuracy:.3f} at threshold {threshold}, temperature {temperature:.2f}\n"
    )


if __name__ == "__main__":
    main()
