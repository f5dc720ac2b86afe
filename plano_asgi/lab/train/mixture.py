"""What the shipped router is trained on, in which shares, and what is kept back to calibrate it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from plano_asgi.lab.corpus_files import (
    TASK_TYPES,
    LabelledConversation,
    LabelledRoute,
    Source,
    policies,
    task_types,
    wordings,
)
from plano_asgi.lab.train import public_sets
from plano_asgi.lab.train.episodes import Batch, Draws, PolicySampler, Sampler, talk_of

SHARES: Final = {
    TASK_TYPES: 0.32,
    "policies": 0.32,
    "clinc150": 0.12,
    "sgd": 0.12,
    "banking77": 0.05,
    "arena": 0.04,
    "benchmarks": 0.03,
}
OUR_OWN: Final = frozenset({TASK_TYPES, "policies"})
KEPT_BACK: Final = 10  # one policy, one intent and one text in so many
SHORT: Final = 200  # characters of what may stand before some other talk


@dataclass(frozen=True, slots=True)
class Mixture:
    """Sources, and the share of batches that each gives.

    Attributes:
        sources: What to draw from.
        shares: Of each, in any unit.
        task_labels: Labels of the auxiliary task, which the source `task_types` has.
    """

    sources: Sequence[Draws]
    shares: Sequence[float]
    task_labels: Sequence[str] = ()

    def draw(self, conversations: int, rng: np.random.Generator) -> tuple[Draws, Batch]:
        """Return a source and a batch of it."""
        chances = np.array(self.shares) / sum(self.shares)
        source = self.sources[int(rng.choice(len(self.sources), p=chances))]
        return source, source.draw(conversations, rng)


@dataclass(frozen=True, slots=True)
class Material:
    """What to train on and what was kept back, unseen, to calibrate with.

    Attributes:
        mixture: For the training loop.
        kept_back: Sources of the same kinds: other policies, other intents, other texts.
    """

    mixture: Mixture
    kept_back: Sequence[Draws]


def material(folder: Path, *, without: Collection[str] = ()) -> Material:
    """Return the material; `folder` holds the public sets, of which those in `without` are left out."""
    described = wordings()
    tasks, own = task_types(), policies()
    clinc = public_sets.clinc150(folder, described["clinc150"])
    sources: Mapping[str, Callable[[], Source]] = {
        "clinc150": lambda: clinc,
        "banking77": lambda: public_sets.banking77(folder, described["banking77"]),
        "sgd": lambda: public_sets.sgd(folder),
        "arena": lambda: public_sets.arena(folder),
        "benchmarks": lambda: public_sets.benchmarks(folder),
    }
    seen_clinc, unseen_clinc = by_label(clinc)
    seen, unseen = by_chance(tasks.conversations)
    talks = [*seen, *seen_clinc.conversations[::7]]
    strange = talk_of(
        [t.conversation for t in talks if len(t.conversation) == 1 and len(t.conversation[0].text) < SHORT]
    )
    samplers: dict[str, Draws] = {
        TASK_TYPES: Sampler(tasks, seen, strange=strange),
        "policies": PolicySampler([p for at, p in enumerate(own) if at % KEPT_BACK], strange=strange),
    }
    for name, read in sources.items():
        if name not in without:
            samplers[name] = Sampler(seen_clinc if name == "clinc150" else read(), strange=strange)
    kept_back = (
        PolicySampler([p for at, p in enumerate(own) if not at % KEPT_BACK], strange=strange),
        Sampler(unseen_clinc, strange=strange),
        Sampler(tasks, unseen, strange=strange),
    )
    shares = [SHARES[name] for name in samplers]
    return Material(Mixture(list(samplers.values()), shares, samplers[TASK_TYPES].labels), kept_back)


def by_chance(
    conversations: Sequence[LabelledConversation],
) -> tuple[list[LabelledConversation], list[LabelledConversation]]:
    """Return nine in ten of the conversations and the rest."""
    is_seen = np.random.default_rng(0).random(len(conversations)) >= 1 / KEPT_BACK
    return (
        [c for c, seen in zip(conversations, is_seen, strict=True) if seen],
        [c for c, seen in zip(conversations, is_seen, strict=True) if not seen],
    )


def by_label(source: Source) -> tuple[Source, Source]:
    """Return the source with nine in ten of its labels, and with the rest; both have what has no label."""
    labels = sorted({c.label for c in source.conversations if c.label is not None})
    unseen = frozenset(labels[::KEPT_BACK])
    return _only(source, frozenset(labels) - unseen), _only(source, unseen)


def _only(source: Source, labels: frozenset[str]) -> Source:
    conversations = tuple(c for c in source.conversations if c.label is None or c.label in labels)
    routes = tuple(
        LabelledRoute(route.name, route.description, route.covers & labels, route.near & labels)
        for route in source.routes
        if route.covers & labels
    )
    return Source(source.name, conversations, routes)
