"""The learned head: sentence vectors in, probabilities of routes and of none of them out.

Theory of operation. Plain cosine similarity knows topics but not tasks: "write a parser" and "explain this parser" lie
side by side. The head keeps the cosine, which is what transfers to descriptions nobody trained on, and corrects it
in two ways. Low-rank adapters, which are zero where nothing was learned, move both vectors a little. And a bottleneck
of task types guesses what kind of task the conversation is and what kinds the route covers; their overlap is added.
None of the routes has a logit of its own, read from the conversation alone. Everything that depends on a route alone
is computed once and kept by the classifier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from plano_asgi.classify.embedded.encoder import Vector
from plano_asgi.errors import ArtifactIntegrityError

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RouteSide:
    """What the head makes of one route: its adapted unit vector, and how far it covers each task type, in [0, 1]."""

    vector: Array
    coverage: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadWeights:
    """The trained arrays, float32; `d` is the encoder's width, `r` the adapters' rank, `k` the number of task types.

    Attributes:
        context_share: Share in [0, 1] of the in-context vector in the conversation's, shape `()`.
        call_down, call_down_bias, call_up: The conversation's adapter, `(2d, r)`, `(r,)`, `(r, d)`.
        route_down, route_down_bias, route_up: The route's adapter, `(d, r)`, `(r,)`, `(r, d)`.
        call_task, call_task_bias: Conversation to task types, `(2d, k)`, `(k,)`.
        route_task, route_task_bias: Route to task types, `(d, k)`, `(k,)`.
        none_hidden, none_hidden_bias: Conversation to a hidden layer, `(2d, h)`, `(h,)`.
        none_out, none_out_bias: The hidden layer to the logit of none, `(h,)`, `()`.
        cosine_scale, cosine_shift, task_scale: How similarity and overlap make up a route's logit, shape `()`.
        temperature: Divides all logits, so that probabilities are calibrated, shape `()`.
    """

    context_share: Array
    call_down: Array
    call_down_bias: Array
    call_up: Array
    route_down: Array
    route_down_bias: Array
    route_up: Array
    call_task: Array
    call_task_bias: Array
    route_task: Array
    route_task_bias: Array
    none_hidden: Array
    none_hidden_bias: Array
    none_out: Array
    none_out_bias: Array
    cosine_scale: Array
    cosine_shift: Array
    task_scale: Array
    temperature: Array

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the weights in an `.npz` file.

        Raises:
            ArtifactIntegrityError: It is no such file, or an array is missing, not float32 or not finite.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = dict(stored)
        except Exception as error:  # whatever zipfile, zlib and numpy make of a file that is none of theirs
            raise ArtifactIntegrityError(path, problem="it cannot be read as arrays") from error
        return cls.checked(arrays, path)

    @classmethod
    def checked(cls, arrays: Mapping[str, Array], path: Path) -> Self:
        """Return the weights that the arrays make up; `path` is named in errors."""
        names = {field.name for field in fields(cls)}
        if arrays.keys() != names:
            raise ArtifactIntegrityError(path, problem=f"its arrays should be {', '.join(sorted(names))}")
        if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays.values()):
            raise ArtifactIntegrityError(path, problem="its arrays should be finite and float32")
        return cls(**arrays)


@dataclass(frozen=True, slots=True)
class Head:
    """The head's arithmetic over its weights; a few hundred microseconds for any policy."""

    weights: HeadWeights

    def route_side(self, route: Vector) -> RouteSide:
        """Return what depends on a route alone, from its vector of shape `(384,)`."""
        w = self.weights
        adapted = route + np.tanh(route @ w.route_down + w.route_down_bias) @ w.route_up
        coverage = _sigmoid(route @ w.route_task + w.route_task_bias)
        return RouteSide(_unit(adapted), coverage)

    def probabilities(self, latest: Vector, in_context: Vector, routes: Sequence[RouteSide]) -> Array:
        """Return probabilities, shape `(routes + 1,)`, that sum to 1; the last is that of none of the routes."""
        w = self.weights
        both = np.concatenate([latest, in_context])
        mixed = (1 - w.context_share) * latest + w.context_share * in_context
        adapted = mixed + np.tanh(both @ w.call_down + w.call_down_bias) @ w.call_up
        call = _unit(adapted)
        tasks = _softmax(both @ w.call_task + w.call_task_bias)
        cosine = np.stack([route.vector for route in routes]) @ call
        overlap = np.stack([route.coverage for route in routes]) @ tasks
        scores = w.cosine_scale * (cosine - w.cosine_shift) + w.task_scale * (2 * overlap - 1)
        none = np.tanh(both @ w.none_hidden + w.none_hidden_bias) @ w.none_out + w.none_out_bias
        logits: Array = np.concatenate([scores, none[np.newaxis]]).astype(np.float32)
        return _softmax(logits / w.temperature)


def _unit(vector: NDArray[np.floating[Any]]) -> Array:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def _sigmoid(logits: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def _softmax(logits: Array) -> Array:
    exponents = np.exp(logits - logits.max())
    return np.asarray(exponents / exponents.sum(), np.float32)
