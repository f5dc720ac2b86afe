"""Temperature and threshold of a router that is about to ship, from what was kept out of its training.

What is kept back has routes that training never saw, as users' policies will have. The files that will serve are asked,
not the weights that were trained: quantising them changes their probabilities.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plano_asgi.classify.embedded.comparer import Comparer
from plano_asgi.classify.embedded.encoder import Array, Encoder
from plano_asgi.classify.embedded.texts import conversation_texts
from plano_asgi.classify.embedded.tokens import conversation_tokens, open_tokenizer, route_tokens
from plano_asgi.lab.train.episodes import Batch

TEMPERATURES: Final = np.geomspace(0.5, 4.0, 80)
THRESHOLDS: Final = np.arange(0.05, 0.8, 0.01)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a router makes of one episode.

    Attributes:
        logits: Of each route, and of none at the end.
        right: The place of the right one.
    """

    logits: Array
    right: int


def asked(folder: Path, batches: Iterable[Batch]) -> list[Asked]:
    """Return what the router in a folder makes of each batch's first episodes."""
    tokenizer = open_tokenizer(folder / "tokenizer.json")
    encoder, comparer = Encoder(folder / "encoder.onnx", threads=1), Comparer(folder / "comparer.onnx", temperature=1.0)
    found = []
    for batch in batches:
        vectors = [encoder.vector(route_tokens(tokenizer, line)) for line in batch.routes]
        for conversation, members, right in zip(batch.conversations, batch.members[0], batch.answer[0], strict=True):
            texts = conversation_texts(conversation)
            if texts is None:
                continue
            tokens = conversation_tokens(tokenizer, texts)
            routes = [vectors[place] for place in members if place >= 0]
            logits = comparer.logits(encoder.states(tokens), tokens, routes)
            found.append(Asked(logits, len(routes) if right == len(members) else int(right)))
    return found


def fit_temperature(found: Sequence[Asked]) -> float:
    """Return the temperature with the least log loss."""
    return float(min(TEMPERATURES, key=lambda temperature: log_loss(found, temperature)))


def log_loss(found: Sequence[Asked], temperature: float) -> float:
    """Return the mean of what the right answers' probabilities lack, in nats."""
    return -float(np.mean([np.log(_chances(each, temperature)[each.right] + 1e-9) for each in found]))


def choose_threshold(found: Sequence[Asked], temperature: float) -> tuple[float, float]:
    """Return the threshold with the best accuracy, and that accuracy.

    Among thresholds that are equally good but for a few cases in a thousand, the middle one is taken.
    """
    best = np.array([_best(each, temperature) for each in found])
    chance, is_right = best[:, 0], best[:, 1]
    is_none = np.array([each.right == len(each.logits) - 1 for each in found])
    accuracy = [float(np.where(chance >= t, is_right, is_none).mean()) for t in THRESHOLDS]
    good = [t for t, a in zip(THRESHOLDS, accuracy, strict=True) if a >= max(accuracy) - 0.002]
    return float(np.median(good)), max(accuracy)


def share_right(found: Sequence[Asked], *, temperature: float, threshold: float) -> float:
    """Return the share of episodes that a router with this temperature and threshold decides rightly."""
    right = 0
    for each in found:
        chance, is_right = _best(each, temperature)
        right += is_right if chance >= threshold else each.right == len(each.logits) - 1
    return right / len(found)


def _chances(each: Asked, temperature: float) -> NDArray[np.float64]:
    scaled = each.logits.astype(np.float64) / temperature
    exponents = np.exp(scaled - scaled.max())
    return np.asarray(exponents / exponents.sum())


def _best(each: Asked, temperature: float) -> tuple[float, bool]:
    routes = _chances(each, temperature)[:-1]
    return float(routes.max()), int(routes.argmax()) == each.right
