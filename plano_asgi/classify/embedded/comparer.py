"""The comparer: token states of a conversation and vectors of routes in, probabilities of routes and of none out.

`plano_asgi.lab.train.model` says how it works; this runs it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plano_asgi.classify.embedded.encoder import Array, open_session, run
from plano_asgi.classify.embedded.tokens import EncoderInput


class Comparer:
    """Runs the comparer over one conversation; thread-safe."""

    def __init__(self, path: Path, *, temperature: float) -> None:
        """Load the model.

        Args:
            path: The ONNX file.
            temperature: Divides all logits, so that probabilities are calibrated.

        Raises:
            ArtifactIntegrityError: The file is no such model.
            MissingExtraError: onnxruntime is not installed.
        """
        self._session = open_session(path, threads=1)
        self._temperature = np.float32(temperature)

    def probabilities(self, states: Array, tokens: EncoderInput, routes: Sequence[Array]) -> Array:
        """Return probabilities, `(routes + 1,)`, that sum to 1; the last is that of none of the routes.

        Raises:
            ClassificationError: The model answered with something else than finite logits.
        """
        logits = self.logits(states, tokens, routes) / self._temperature
        exponents = np.exp(logits - logits.max())
        return np.asarray(exponents / exponents.sum(), np.float32)

    def logits(self, states: Array, tokens: EncoderInput, routes: Sequence[Array]) -> Array:
        """Return the model's own logits, `(routes + 1,)`, which no temperature has divided; raises the same."""
        feeds: dict[str, NDArray[Any]] = {
            "states": states[np.newaxis],
            "kinds": np.array([tokens.kinds], dtype=np.int64),
            "routes": np.stack(routes)[np.newaxis],
        }
        logits: Array = run(self._session, feeds, shape=(1, len(routes) + 1))[0]
        return logits
