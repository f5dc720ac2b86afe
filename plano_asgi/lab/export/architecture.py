"""The shape of a decoder-only language model of the Llama family, which Qwen2 and Arch-Router belong to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from plano_asgi.errors import ExportError

FAMILIES: Final = frozenset({"llama", "qwen2"})
CONTEXT_KEPT: Final = 8_192  # tokens; a routing prompt is far shorter than what the models can read


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What the graph needs to know of a model.

    Attributes:
        layers: Decoder layers.
        hidden: Width of the residual stream.
        intermediate: Width inside the MLP.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_size: Width of one head.
        vocabulary: Rows of the embedding.
        context: Tokens that prompt and completion may have together.
        norm_epsilon: Added to the mean square in RMS norms.
        rope_theta: Base of the rotary embedding.
        has_qkv_bias: Whether query, key and value projections have a bias.
        is_tied: Whether the head is the embedding.
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int = CONTEXT_KEPT
    norm_epsilon: float = 1e-6
    rope_theta: float = 1_000_000.0
    has_qkv_bias: bool = True
    is_tied: bool = True

    @property
    def kv_tensors(self) -> int:
        """Keys and values of all layers."""
        return 2 * self.layers

    @property
    def parameters(self) -> int:
        """Weights in the decoder layers, the embedding not counted: what one token is multiplied with."""
        attention = self.hidden * self.head_size * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Architecture":
        """Return the shape that a model's `config.json` describes.

        Raises:
            ExportError: The model is of another family, or uses a variant that the graph does not have.
        """
        family = config.get("model_type")
        if family not in FAMILIES:
            raise ExportError(
                f"models of the family {family} cannot be exported; use one of {', '.join(sorted(FAMILIES))}"
            )
        _refuse_variants(config)
        heads = config["num_attention_heads"]
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_size=config.get("head_dim") or config["hidden_size"] // heads,
            vocabulary=config["vocab_size"],
            context=min(config.get("max_position_embeddings", CONTEXT_KEPT), CONTEXT_KEPT),
            norm_epsilon=config["rms_norm_eps"],
            rope_theta=config.get("rope_theta", 10_000.0),
            has_qkv_bias=family == "qwen2",
            is_tied=config.get("tie_word_embeddings", False),
        )


ARCH_ROUTER: Final = Architecture(
    layers=28, hidden=1536, intermediate=8960, heads=12, kv_heads=2, head_size=128, vocabulary=151_936
)
"""The shape of Arch-Router-1.5B, which is Qwen2.5-1.5B's."""


def _refuse_variants(config: Mapping[str, Any]) -> None:
    scaling = config.get("rope_scaling") or {}
    if scaling.get("rope_type", scaling.get("type", "default")) != "default":
        raise ExportError("scaled rotary embeddings (rope_scaling) cannot be exported")
    if config.get("use_sliding_window"):
        raise ExportError("sliding-window attention (use_sliding_window) cannot be exported")
    if config.get("hidden_act", "silu") != "silu":
        raise ExportError(f"the activation {config['hidden_act']} cannot be exported; the graph has silu")
    for bias in ("attention_bias", "mlp_bias"):
        if config.get(bias) and config.get("model_type") == "llama":
            raise ExportError(f"Llama models with {bias} cannot be exported")
