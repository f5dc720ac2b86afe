"""Outliers moved from activations into weights, for int8 and int4.

A few channels of a decoder's activations are many times larger than the others, and eight bits for a token leave the
others next to nothing. Dividing a channel by a scale and multiplying the weights that read it by the same scale changes
nothing in floating point and much in eight bits (SmoothQuant, Xiao et al. 2023, section 4). The division costs nothing
either: it goes into the norm in front of the projections.

Scales are powers of two, so the division is exact, and what another machine's rounding adds to an activation hardly
ever gives another graph.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from plano_asgi.lab.export.precision import Precision
from plano_asgi.lab.export.weights import Weight, Weights

STRENGTHS: Final = {Precision.INT8: 0.65, Precision.INT4: 0.35}
"""How much is moved: 0 leaves activations as they are, 1 makes them even. Why these: docs/decisions/0004."""
LEAST: Final = 1e-5
MOST_DOUBLINGS: Final = 12

Maxima = Mapping[str, npt.NDArray[np.float32]]

READERS: Final = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
"""What divides a channel, and who reads it. Measured: to do the same between `up_proj` and `down_proj` does harm."""

_DIVIDED_BY: Final = {reader: writer for writer, readers in READERS.items() for reader in readers}


class SmoothedWeights:
    """A model's weights, equal in floating point, with more even activations."""

    def __init__(self, weights: Weights, maxima: Maxima, *, strength: float) -> None:
        """Take what `activation_maxima` gave.

        Args:
            weights: The model's.
            maxima: For each projection that is read of, the greatest absolute value of each channel of its input.
            strength: How much of the difference between channels is moved, in [0, 1].
        """
        self._weights = weights
        self._maxima = maxima
        self._strength = strength
        self._scales = lru_cache(maxsize=8)(self._computed_scales)

    def tensor(self, name: str) -> Weight:
        """Return a tensor as float32."""
        weight = self._weights.tensor(name)
        _, _, rest = name.partition("model.layers.")
        layer, _, part = rest.partition(".")
        module = part.rpartition(".")[0]
        if module in _DIVIDED_BY and weight.ndim > 1:
            weight = weight * self._scales(layer, _DIVIDED_BY[module])
        if module in READERS:
            weight = weight / self._scales(layer, module)
        return weight

    def _computed_scales(self, layer: str, writer: str) -> npt.NDArray[np.float32]:
        """Return what the channels behind a norm or `up_proj` are divided by."""
        at = f"model.layers.{layer}"
        readers = [f"{at}.{reader}" for reader in READERS[writer]]
        columns = np.max([np.abs(self._weights.tensor(f"{name}.weight")).max(axis=0) for name in readers], axis=0)
        activations = np.maximum(self._maxima[readers[0]], LEAST)
        wanted = self._strength * np.log2(activations) - (1 - self._strength) * np.log2(np.maximum(columns, LEAST))
        scales: npt.NDArray[np.float32] = np.exp2(np.clip(np.rint(wanted), -MOST_DOUBLINGS, MOST_DOUBLINGS))
        return scales


def activation_maxima(model: Any, texts: Sequence[Sequence[int]], progress: Callable[[float], object]) -> Maxima:  # noqa: ANN401 - torch's
    """Return the greatest absolute value of each channel that projections read, while the model reads texts.

    Args:
        model: Of transformers.
        texts: Tokens.
        progress: Told the share in [0, 1] that is done.
    """
    import torch  # noqa: PLC0415 - the export extra's

    maxima: dict[str, Any] = {}

    def note(name: str) -> Callable[[Any, Any], None]:
        def hook(_: Any, inputs: Any) -> None:  # noqa: ANN401 - torch's
            largest = inputs[0].abs().amax(dim=(0, 1))
            maxima[name] = torch.maximum(maxima[name], largest) if name in maxima else largest

        return hook

    first_readers = {readers[0] for readers in READERS.values()}
    hooks = [
        module.register_forward_pre_hook(note(name))
        for name, module in model.named_modules()
        if any(name.endswith(reader) for reader in first_readers)
    ]
    try:
        with torch.inference_mode():
            for index, text in enumerate(texts):
                model(torch.tensor([list(text)]), logits_to_keep=1)
                progress((index + 1) / len(texts))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: found.float().numpy() for name, found in maxima.items()}
