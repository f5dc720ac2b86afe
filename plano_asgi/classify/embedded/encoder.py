"""Sentence vectors from all-MiniLM-L6-v2 (Apache-2.0), int8, on ONNX Runtime.

Each text is run by itself. Dynamic quantisation takes its scales from the whole input tensor, so a text's vector would
otherwise depend on what it was batched with, and a decision on who else was asking.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from plano_asgi.classify.onnx_runtime import import_onnxruntime
from plano_asgi.errors import ArtifactIntegrityError, ClassificationError

WIDTH: Final = 384
MAX_TOKENS: Final = 128

Vector = NDArray[np.float32]


class SentenceEncoder:
    """Encodes one text at a time; thread-safe, since sessions and tokenizers are."""

    def __init__(self, model_path: Path, tokenizer_path: Path, *, threads: int) -> None:
        """Load the model.

        Raises:
            ArtifactIntegrityError: A file is not what its name says.
            MissingExtraError: onnxruntime is not installed.
        """
        onnxruntime = import_onnxruntime(needed_for="classifier.kind: embedded")
        from tokenizers import Tokenizer  # noqa: PLC0415 - slow to import

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = onnxruntime.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own have no public names
            raise ArtifactIntegrityError(model_path, problem="it cannot be loaded as an ONNX model") from error
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer_path))
        except Exception as error:  # tokenizers raises nothing narrower
            raise ArtifactIntegrityError(tokenizer_path, problem="it cannot be loaded as a tokenizer") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def encode(self, text: str) -> Vector:
        """Return the text's unit vector, shape `(384,)`, float32.

        Longer texts than the window are read at both ends.

        Raises:
            ClassificationError: The model answered with something else than finite vectors.
        """
        ids = _window(self._tokenizer.encode(text.encode("utf-8", "replace").decode()).ids)  # no lone surrogates
        tokens = np.array([ids], dtype=np.int64)
        feeds = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        (states,) = self._session.run(["last_hidden_state"], feeds)
        if states.shape != (1, len(ids), WIDTH):
            raise ClassificationError(f"the encoder gave shape {states.shape}, expected {(1, len(ids), WIDTH)}")
        mean: Vector = states[0].mean(axis=0, dtype=np.float32)
        norm = float(np.linalg.norm(mean))
        if not (np.isfinite(norm) and norm > 0):
            raise ClassificationError("the encoder gave a vector that is not finite")
        return mean / np.float32(norm)


def _window(ids: list[int]) -> list[int]:
    """Return at most 128 tokens: the first and the last ones, special tokens included."""
    if len(ids) <= MAX_TOKENS:
        return ids
    half = MAX_TOKENS // 2
    return ids[:half] + ids[-half:]
