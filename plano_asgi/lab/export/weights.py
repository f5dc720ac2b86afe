"""Where the graph's weights come from: a model in memory, or a seed."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from plano_asgi.errors import ExportError
from plano_asgi.lab.export.architecture import Architecture

Weight = npt.NDArray[np.float32]


class Weights(Protocol):
    """Tensors by the names that transformers gives them."""

    def tensor(self, name: str) -> Weight:
        """Return a tensor as float32; linear layers are (outputs, inputs), as torch keeps them."""
        ...


class StateDictWeights:
    """The weights of a torch model."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        """Take a model's `state_dict()`."""
        self._state = state

    def tensor(self, name: str) -> Weight:
        """Return a tensor as float32.

        Raises:
            ExportError: The model has no tensor of that name.
        """
        if name not in self._state:
            raise ExportError(f"the model has no tensor named {name}")
        weight: Weight = self._state[name].detach().float().numpy()
        return weight


class RandomWeights:
    """Weights drawn from a seed; for tests, and for timing shapes whose trained weights are not at hand.

    Linear layers keep the variance of what goes through them, so activations stay finite at any depth.
    """

    def __init__(self, shape: Architecture, *, seed: int) -> None:
        """Take the shape and the seed; equal seeds give equal tensors, whatever order they are asked for in."""
        self._shapes = tensor_shapes(shape)
        self._order: Final = {name: index for index, name in enumerate(self._shapes)}
        self._seed = seed

    def tensor(self, name: str) -> Weight:
        """Return a tensor as float32."""
        shape = self._shapes[name]
        if name.endswith("norm.weight"):
            return np.ones(shape, np.float32)
        random = np.random.default_rng((self._seed, self._order[name]))
        weight: Weight = random.standard_normal(shape, np.float32)
        weight *= np.float32(shape[-1] ** -0.5 if len(shape) > 1 else 0.02)
        return weight


def tensor_shapes(shape: Architecture) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that the graph asks for, by name."""
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (shape.vocabulary, shape.hidden)}
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        for part, outputs in (("q", queries), ("k", keys), ("v", keys)):
            shapes[f"{at}.self_attn.{part}_proj.weight"] = (outputs, shape.hidden)
            if shape.has_qkv_bias:
                shapes[f"{at}.self_attn.{part}_proj.bias"] = (outputs,)
        shapes[f"{at}.self_attn.o_proj.weight"] = (shape.hidden, queries)
        for part in ("gate", "up"):
            shapes[f"{at}.mlp.{part}_proj.weight"] = (shape.intermediate, shape.hidden)
        shapes[f"{at}.mlp.down_proj.weight"] = (shape.hidden, shape.intermediate)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{at}.{norm}.weight"] = (shape.hidden,)
    shapes["model.norm.weight"] = (shape.hidden,)
    if not shape.is_tied:
        shapes["lm_head.weight"] = (shape.vocabulary, shape.hidden)
    return shapes
