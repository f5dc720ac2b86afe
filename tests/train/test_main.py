"""The command that trains the shipped router, from conversations to files that serve."""

import json
from collections.abc import Callable
from pathlib import Path

from plano_asgi.classify.embedded import EmbeddedClassifier
from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER
from plano_asgi.lab.corpus_files import said
from plano_asgi.lab.train.__main__ import Places, train_and_publish
from plano_asgi.lab.train.mixture import Material, material
from plano_asgi.lab.train.model import RouterModel
from plano_asgi.lab.train.training import Plan
from plano_asgi.preferences import RoutingPolicy, RoutingPreference


def test_training_ends_with_files_that_serve(
    tiny_router: Callable[..., RouterModel], datasets: Path, tmp_path: Path
) -> None:
    """A classifier loads them; what was published on the way, after the last step, is the same to the byte."""
    whole = material(datasets)
    found = Material(whole.mixture, whole.kept_back[:1])
    plan = Plan(steps=2, conversations=8, frozen_layers=1)
    where = Places(SHIPPED_FOLDER / "tokenizer.json", tmp_path, tmp_path / "out")

    report = train_and_publish(
        tiny_router(task_types=len(found.mixture.task_labels)), found, plan, where, publish_every=2
    )

    manifests = [json.loads((folder / "router.json").read_bytes()) for folder in (where.out, tmp_path / "step-00002")]
    assert manifests[0] == manifests[1]
    assert manifests[0]["threshold"] == round(report["threshold"], 3)
    preferences = tuple(RoutingPreference(name=name, description=name, models=()) for name in ("code", "talk"))
    scores = EmbeddedClassifier(where.out).classify(said("hello"), RoutingPolicy(preferences=preferences))
    assert scores.routes.keys() == {"code", "talk"}
