"""The precisions that a model can be exported in."""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line asks for a precision, and has no use for numpy
    import numpy as np


class Precision(StrEnum):
    """How weights are stored and multiplied."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    INT4 = "int4"

    @property
    def activations(self) -> "type[np.float32 | np.float16]":
        """What numbers flow between the layers."""
        import numpy as np  # noqa: PLC0415 - see above

        return np.float16 if self is Precision.FP16 else np.float32

    @property
    def bytes_of_a_weight(self) -> float:
        """How many bytes a weight of the decoder layers takes, its share of scales included."""
        return {Precision.FP32: 4.0, Precision.FP16: 2.0, Precision.INT8: 1.01, Precision.INT4: 0.65}[self]

    @property
    def bytes_of_an_embedding(self) -> float:
        """How many bytes a weight of the embedding takes."""
        return {Precision.FP32: 4.0, Precision.FP16: 2.0}.get(self, 1.01)
