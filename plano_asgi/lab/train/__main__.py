"""Train the router that the package ships: `python -m plano_asgi.lab.train --datasets FOLDER --encoder FOLDER`.

DATASETS holds the public sets as gzipped JSON lines (`docs/model-card.md` names them), ENCODER the files of
all-MiniLM-L6-v2 as safetensors. Checkpoints are kept in `--work`: a run that was cut off is gone on from there. At the
end the files that serve are written to `--out`, calibrated on what was kept out of training.
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.classify.embedded.tokens import open_tokenizer
from plano_asgi.lab.train.mixture import OUR_OWN, SHARES, material
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
    parser.add_argument("--seed", type=int, default=Plan().seed)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    found = material(arguments.datasets, without=arguments.without)
    mixture = found.mixture
    plan = Plan(steps=arguments.steps, seed=arguments.seed, without=tuple(sorted(arguments.without)))
    model = untrained(arguments.encoder, len(mixture.task_labels), seed=plan.seed)
    tokenizer = open_tokenizer(arguments.encoder / "tokenizer.json")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("training", total=plan.steps)
        for done, loss in train(model, tokenizer, mixture, plan, folder=arguments.work):
            progress.update(task, completed=done, description=f"loss {loss:.3f}")
    report = publish(model, arguments.encoder / "tokenizer.json", found.kept_back, arguments.out)
    Console(stderr=True).print(report)


if __name__ == "__main__":
    main()
