"""Train the router that the package ships: `python -m plano_asgi.lab.train --datasets FOLDER --encoder FOLDER`.

DATASETS holds the public sets as gzipped JSON lines (`docs/model-card.md` names them), ENCODER the files of
all-MiniLM-L6-v2 as safetensors. Checkpoints are kept in `--work`: a run that was cut off is gone on from there. At the
end the files that serve are written to `--out`, calibrated on what was kept out of training. With `--publish-every` the
router as it is after so many steps is written beside the checkpoints too; `benchmarks/learning.py` draws its curve.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.classify.embedded.tokens import open_tokenizer
from plano_asgi.lab.train.mixture import OUR_OWN, SHARES, Material, material
from plano_asgi.lab.train.model import RouterModel
from plano_asgi.lab.train.publishing import publish
from plano_asgi.lab.train.starting_point import untrained
from plano_asgi.lab.train.training import Plan, train


def main() -> None:
    """Train, and write the files that serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".cache/train"))
    parser.add_argument("--out", type=Path, default=SHIPPED_FOLDER)
    parser.add_argument("--without", nargs="*", default=[], choices=sorted(set(SHARES) - OUR_OWN))
    parser.add_argument("--steps", type=int, default=Plan().steps)
    parser.add_argument(
        "--publish-every", type=int, default=0, metavar="STEPS", help="write the router on the way, too"
    )
    parser.add_argument("--seed", type=int, default=Plan().seed)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    found = material(arguments.datasets, without=arguments.without)
    plan = Plan(steps=arguments.steps, seed=arguments.seed, without=tuple(sorted(arguments.without)))
    model = untrained(arguments.encoder, len(found.mixture.task_labels), seed=plan.seed)
    where = Places(arguments.encoder / "tokenizer.json", arguments.work, arguments.out)
    report = train_and_publish(model, found, plan, where, publish_every=arguments.publish_every)
    Console(stderr=True).print(report)


@dataclass(frozen=True, slots=True)
class Places:
    """What is read and written: the encoder's tokenizer, checkpoints, and the files that serve."""

    tokenizer: Path
    work: Path
    out: Path


def train_and_publish(
    model: RouterModel, found: Material, plan: Plan, where: Places, *, publish_every: int = 0
) -> Mapping[str, float]:
    """Train with a progress bar and write the files that serve; return what publishing reports.

    Where `publish_every` is not 0, the router as it is after each so many steps is written to `work/step-NNNNN`.
    """
    tokenizer = open_tokenizer(where.tokenizer)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("training", total=plan.steps)
        for done, loss in train(model, tokenizer, found.mixture, plan, folder=where.work):
            progress.update(task, completed=done, description=f"loss {loss:.3f}")
            if publish_every and done % publish_every == 0:
                publish(model, where.tokenizer, found.kept_back, where.work / f"step-{done:05}")
                model.train()
    model.eval()
    return publish(model, where.tokenizer, found.kept_back, where.out)


if __name__ == "__main__":
    main()
