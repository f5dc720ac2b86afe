"""Token states from the trained encoder, a BERT of six layers in int8, on ONNX Runtime.

Each text is run by itself. Dynamic quantisation takes its scales from the whole input tensor, so a text's states would
otherwise depend on what it was batched with, and a decision on who else was asking.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from plano_asgi.classify.embedded.tokens import EncoderInput
from plano_asgi.classify.onnx_runtime import import_onnxruntime
from plano_asgi.errors import ArtifactIntegrityError, ClassificationError

WIDTH: Final = 384

Array = NDArray[np.float32]


class Session(Protocol):
    """What is used of an onnxruntime session."""

    def run(self, output_names: Sequence[str] | None, input_feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs of these names, or all."""
        ...


class Encoder:
    """Runs the encoder over one text at a time; thread-safe."""

    def __init__(self, path: Path, *, threads: int) -> None:
        """Load the model.

        Raises:
            ArtifactIntegrityError: The file is no such model.
            MissingExtraError: onnxruntime is not installed.
        """
        self._session = open_session(path, threads=threads)

    def states(self, tokens: EncoderInput) -> Array:
        """Return the states of the tokens, `(t, 384)`.

        Raises:
            ClassificationError: The model answered with something else than finite states.
        """
        feeds = {"ids": np.array([tokens.ids], dtype=np.int64), "kinds": np.array([tokens.kinds], dtype=np.int64)}
        states: Array = run(self._session, feeds, shape=(1, len(tokens.ids), WIDTH))[0]
        return states

    def vector(self, tokens: EncoderInput) -> Array:
        """Return the mean state as a unit vector, `(384,)`."""
        mean = self.states(tokens).mean(axis=0, dtype=np.float32)
        norm = float(np.linalg.norm(mean))
        if not norm > 0:
            raise ClassificationError("the encoder gave a vector without a direction")
        return np.asarray(mean / np.float32(norm), np.float32)


def open_session(path: Path, *, threads: int) -> Session:
    """Return an onnxruntime session on the CPU whose threads do not spin.

    Raises:
        ArtifactIntegrityError: The file is no ONNX model.
        MissingExtraError: onnxruntime is not installed.
    """
    onnxruntime = import_onnxruntime(needed_for="classifier.kind: embedded")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session: Session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own have no public names
        raise ArtifactIntegrityError(path, problem="it cannot be loaded as an ONNX model") from error
    return session


def run(session: Session, feeds: Mapping[str, NDArray[Any]], *, shape: tuple[int, ...]) -> Array:
    """Return a model's one answer, which is finite and of that shape.

    Raises:
        ClassificationError: It answered with something else, or not at all.
    """
    try:
        (answer,) = session.run(None, dict(feeds))
    except Exception as error:  # as above
        raise ClassificationError(f"{type(error).__name__} in the embedded model") from error
    if answer.shape != shape:
        raise ClassificationError(f"the embedded model gave shape {answer.shape}, expected {shape}")
    if not np.isfinite(answer).all():
        raise ClassificationError("the embedded model gave numbers that are not finite")
    found: Array = answer
    return found
