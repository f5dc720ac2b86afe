"""Fine-tune the shipped router on a team's own labelled traffic.

Only the comparer learns: the encoder stays as it shipped, so one run of it over each case is enough, and a few hundred
cases are learned within minutes on a CPU. A part of the cases is kept back. On them the epoch is chosen, the
temperature fitted and the result compared with what it started from; what is no better is not written.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from plano_asgi.classify.embedded.artifacts import SHIPPED_FOLDER, Manifest
from plano_asgi.classify.embedded.encoder import Encoder
from plano_asgi.classify.embedded.texts import conversation_texts, route_text
from plano_asgi.classify.embedded.tokens import conversation_tokens, open_tokenizer, route_tokens
from plano_asgi.conversation import Conversation
from plano_asgi.errors import ArtifactIntegrityError
from plano_asgi.lab.train.calibration import Asked, choose_threshold, fit_temperature, share_right
from plano_asgi.lab.train.model import Comparer, Shape
from plano_asgi.lab.train.publishing import write_comparer, write_manifest
from plano_asgi.preferences import RoutingPolicy

EPOCHS: Final = 30
BATCH: Final = 32
RATE: Final = 3e-4
ANCHOR: Final = 1e-2  # how strongly weights are held near those that they started from
KEPT_BACK: Final = 0.2
ENOUGH_TO_CALIBRATE: Final = 100  # cases kept back; with fewer, temperature and threshold stay
SMOOTHING: Final = 0.02
DROPPED: Final = 0.15  # share of episodes that lose their right route, so that "none" is not forgotten
SHUFFLED: Final = 0.5  # share of episodes with fewer wrong routes than the policy has


@dataclass(frozen=True, slots=True)
class Lesson:
    """A conversation and the route that is right, None where none is."""

    conversation: Conversation
    expect: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is learned, and from where to where.

    Attributes:
        lessons: The labelled traffic, whose routes are the policy's; at least two in which the user says something.
        policy: The routes, at least one.
        out: Folder for the new router, which `classifier.model_path` may name.
        start: Folder of the router to start from, another one than `out`.
        seed: Of what is drawn.
    """

    lessons: Sequence[Lesson]
    policy: RoutingPolicy
    out: Path
    start: Path = SHIPPED_FOLDER
    seed: int = 0


@dataclass(frozen=True, slots=True)
class FineTuned:
    """What came of it.

    Attributes:
        folder: Where the router is, None where it was no better than the one that it started from.
        before, after: Share in [0, 1] of the cases kept back that are decided rightly, by the threshold in force; they
            chose when to stop, so that `after` flatters a little.
        learned, kept_back: How many cases each.
    """

    folder: Path | None
    before: float
    after: float
    learned: int
    kept_back: int


@dataclass(frozen=True, slots=True)
class _Read:
    """A case as the encoder left it: token states `(t, 384)`, kinds `(t,)`, the place of the right route."""

    states: Tensor
    kinds: Tensor
    right: int


def fine_tune(
    course: Course, *, on_read: Callable[[], object] = lambda: None, on_epoch: Callable[[], object] = lambda: None
) -> FineTuned:
    """Return what came of it; the router is written where it got better, and nothing where it did not.

    Args:
        course: What is learned, and from where to where.
        on_read: Called after each lesson has been encoded.
        on_epoch: Called after each round through the lessons.

    Raises:
        ArtifactError: The router to start from cannot be read.
    """
    torch.manual_seed(course.seed)
    rng = np.random.default_rng(course.seed)
    started = Manifest.read(course.start)
    started.verify()
    routes, read = _encoded(course, on_read)
    order = rng.permutation(len(read))
    kept = max(1, round(KEPT_BACK * len(read)))
    back, learned = [read[i] for i in order[:kept]], [read[i] for i in order[kept:]]
    learner = _Learner(read_comparer(course.start / "comparer.onnx"), routes, rng)
    share = partial(share_right, temperature=started.temperature, threshold=started.threshold)
    before = share(learner.asked(back))
    best, weights = before, None
    for _ in range(EPOCHS):
        learner.learn(learned)
        if (now := share(learner.asked(back))) > best:
            best, weights = now, {name: value.clone() for name, value in learner.comparer.state_dict().items()}
        on_epoch()
    if weights is not None:
        learner.comparer.load_state_dict(weights)
        _write(learner.comparer, learner.asked(back), course, started)
    return FineTuned(course.out if weights is not None else None, before, best, len(learned), len(back))


def read_comparer(path: Path) -> Comparer:
    """Return a comparer with the weights of an ONNX file that `write_comparer` wrote.

    Raises:
        ArtifactIntegrityError: It is no such file.
    """
    try:
        graph = onnx.load(path).graph
        tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Identity" and node.input[0] in tensors:  # weights that equal others are written once
                tensors[node.output[0]] = tensors[node.input[0]]
    except Exception as error:  # whatever protobuf makes of it
        raise ArtifactIntegrityError(path, problem="it cannot be read as an ONNX model") from error
    weights = {name.removeprefix("comparer."): torch.tensor(value) for name, value in tensors.items()}
    comparer = Comparer(Shape())
    wanted = comparer.state_dict()
    if not wanted.keys() <= weights.keys():
        raise ArtifactIntegrityError(path, problem="its weights are not those of a comparer")
    comparer.load_state_dict({name: weights[name].reshape(value.shape) for name, value in wanted.items()})
    return comparer


def _encoded(course: Course, on_read: Callable[[], object]) -> tuple[Tensor, list[_Read]]:
    tokenizer = open_tokenizer(course.start / "tokenizer.json")
    encoder = Encoder(course.start / "encoder.onnx", threads=1)
    preferences = course.policy.preferences
    names = [preference.name for preference in preferences]
    vectors = [encoder.vector(route_tokens(tokenizer, route_text(preference))) for preference in preferences]
    read = []
    for lesson in course.lessons:
        if texts := conversation_texts(lesson.conversation):
            tokens = conversation_tokens(tokenizer, texts)
            right = len(names) if lesson.expect is None else names.index(lesson.expect)
            read.append(_Read(torch.from_numpy(encoder.states(tokens)), torch.tensor(tokens.kinds), right))
        on_read()
    return torch.from_numpy(np.stack(vectors)), read


class _Learner:
    """A comparer that learns, one round through the cases after another, and stays near to what it was."""

    def __init__(self, comparer: Comparer, routes: Tensor, rng: np.random.Generator) -> None:
        self.comparer = comparer.eval()
        self._routes = routes
        self._rng = rng
        self._anchor = {name: value.detach().clone() for name, value in comparer.named_parameters()}
        self._optimiser = torch.optim.AdamW(comparer.parameters(), RATE)

    def learn(self, learned: Sequence[_Read]) -> None:
        self.comparer.train()
        order = self._rng.permutation(len(learned))
        for rows in np.array_split(order, max(1, len(order) // BATCH)):
            loss = torch.stack([self._loss(learned[int(row)]) for row in rows]).mean() + ANCHOR * self._strayed()
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
        self.comparer.eval()

    def asked(self, cases: Sequence[_Read]) -> list[Asked]:
        with torch.no_grad():
            return [Asked(_logits(self.comparer, each, self._routes)[0].numpy(), each.right) for each in cases]

    def _loss(self, each: _Read) -> Tensor:
        members, answer = _episode(each.right, len(self._routes), self._rng)
        logits = _logits(self.comparer, each, self._routes[torch.from_numpy(members)])
        return functional.cross_entropy(logits, torch.tensor([answer]), label_smoothing=SMOOTHING)

    def _strayed(self) -> Tensor:
        parts = [((value - self._anchor[name]) ** 2).sum() for name, value in self.comparer.named_parameters()]
        return torch.stack(parts).sum()


def _episode(right: int, routes: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], int]:
    """Return routes in any order, at times fewer of them, and the place of the right one."""
    wrong = [route for route in range(routes) if route != right]
    if len(wrong) > 1 and rng.random() < SHUFFLED:
        wrong = [int(i) for i in rng.permutation(wrong)[: int(rng.integers(1, len(wrong) + 1))]]
    has_right = right < routes and not (wrong and rng.random() < DROPPED)
    members = rng.permutation([*wrong, *([right] if has_right else [])]).astype(np.int64)
    return members, int(np.flatnonzero(members == right)[0]) if has_right else len(members)


def _logits(comparer: Comparer, each: _Read, routes: Tensor) -> Tensor:
    is_token, is_route = torch.ones(1, len(each.kinds)) > 0, torch.ones(1, len(routes)) > 0
    logits: Tensor = comparer(each.states[None], each.kinds[None], is_token, routes[None], is_route)
    return logits


def _write(comparer: Comparer, found: Sequence[Asked], course: Course, started: Manifest) -> None:
    course.out.mkdir(parents=True, exist_ok=True)
    for name in ("encoder.onnx", "tokenizer.json"):
        shutil.copyfile(course.start / name, course.out / name)
    write_comparer(comparer, course.out / "comparer.onnx")
    temperature, threshold = started.temperature, started.threshold
    if len(found) >= ENOUGH_TO_CALIBRATE:
        temperature = fit_temperature(found)
        threshold, _ = choose_threshold(found, temperature)
    write_manifest(course.out, name="fine-tuned", threshold=threshold, temperature=temperature)
