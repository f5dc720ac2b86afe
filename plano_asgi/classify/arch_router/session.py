"""The exported graph on ONNX Runtime: reads rows on from a prefix whose keys and values stay on the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.classify.arch_router.bundle import GRAPH_NAME, Bundle
from plano_asgi.classify.arch_router.devices import (
    CUDA_PROVIDER,
    Device,
    choose_device,
    cuda_is_unusable,
    has_cuda_driver,
)
from plano_asgi.classify.arch_router.forks import watch_forks
from plano_asgi.classify.arch_router.rows import Row, feeds, split_logits
from plano_asgi.classify.onnx_runtime import import_onnxruntime
from plano_asgi.errors import ArtifactIntegrityError, ClassificationError, ClassifierTimeoutError, ConfigurationError

INPUTS: Final = {"input_ids", "positions", "until", "past", "nodes", "candidates", "keep"}
NEEDED_FOR: Final = "classifier.kind: arch_router"
NOBODY_WAITS: Final = "the model took longer than anybody waits"
PIECE_TOKENS_CPU: Final = 1_024
PIECE_TOKENS_CUDA: Final = 4_096
ONNX_TYPES: Final = {"float32": "tensor(float)", "float16": "tensor(float16)"}


@dataclass(frozen=True, slots=True, eq=False)
class KeyValues:
    """Keys and values of a prefix, on the device.

    Attributes:
        value: onnxruntime's tensor: (2 layers, 1, heads, length, head size).
        length: Tokens.
        bytes: What they take.
    """

    value: Any
    length: int
    bytes: int


class CausalSession:
    """Runs a bundle's graph. Thread-safe, but one call at a time is fastest: a run uses all threads or the whole GPU.

    Attributes:
        device: Where it runs.
        nothing: The keys and values of no text.
        piece_tokens: How many tokens of one text are worth reading at once; attention takes memory for these times all.
    """

    def __init__(self, bundle: Bundle, *, device: str = "auto", threads: int, shares_weights: bool = False) -> None:
        """Load the graph; the bundle was verified before.

        Args:
            bundle: What to load.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            threads: CPU threads inside one run.
            shares_weights: Whether weights are used as they lie in the mapped file, which all processes share, and not
                packed anew for the CPU, which is faster.

        Raises:
            MissingExtraError: onnxruntime is not installed, or not with the device that is asked for.
            ConfigurationError: The device cannot run this bundle.
            ArtifactIntegrityError: The graph cannot be loaded, or is not the one that the manifest describes.
        """
        self._runtime: Any = import_onnxruntime(needed_for=NEEDED_FOR)
        self.device = device_here(device, precision=bundle.precision)
        self._shape = bundle.key_values
        try:
            self._session = self._opened(bundle, threads, shares_weights=shares_weights)
        except ConfigurationError:
            if device != "auto":
                raise
            self.device = Device("cpu")
            self._session = self._opened(bundle, threads, shares_weights=shares_weights)
        self.nothing = self._no_text()
        self.piece_tokens = PIECE_TOKENS_CUDA if self.device.is_cuda else PIECE_TOKENS_CPU
        watch_forks(self)

    def run(self, rows: Sequence[Row], prefix: KeyValues) -> list[list[npt.NDArray[np.float32]]]:
        """Return for each row the logits after each of its nodes: those of its candidates, or of the vocabulary.

        Raises:
            ClassificationError: The run failed, or gave logits that are not finite.
        """
        logits, _ = self._run(rows, prefix, keep=False)
        return split_logits(rows, logits)

    def read(self, tokens: Sequence[int], prefix: KeyValues) -> tuple[KeyValues, npt.NDArray[np.float32]]:
        """Return the keys and values of a longer prefix, and the vocabulary's logits after it.

        Raises:
            ClassificationError: As in `run`.
        """
        logits, present = self._run([Row.text(tokens, wants_logits=True)], prefix, keep=True)
        return self._key_values(present, prefix.length + len(tokens)), logits[0]

    def extended(self, tokens: Sequence[int], prefix: KeyValues, is_awaited: IsAwaited = always_awaited) -> KeyValues:
        """Return the keys and values of a longer prefix, read `piece_tokens` at a time.

        Args:
            tokens: What follows the prefix.
            prefix: What was read before.
            is_awaited: Whether anybody still waits; asked before each further piece.

        Raises:
            ClassificationError: As in `run`, or (ClassifierTimeoutError) nobody waits.
        """
        for start in range(0, len(tokens), self.piece_tokens):
            if start and not is_awaited():
                raise ClassifierTimeoutError(NOBODY_WAITS)
            piece = tokens[start : start + self.piece_tokens]
            _, present = self._run([Row.text(piece, wants_logits=False)], prefix, keep=True)
            prefix = self._key_values(present, prefix.length + len(piece))
        return prefix

    def leave_behind(self) -> object:
        """Return the session itself, which a forked process must not destroy, even one that was closed before."""
        return self

    def _run(self, rows: Sequence[Row], prefix: KeyValues, *, keep: bool) -> tuple[npt.NDArray[np.float32], Any]:
        binding = self._session.io_binding()
        for name, values in feeds(rows, past=prefix.length).items():
            binding.bind_cpu_input(name, values)
        binding.bind_cpu_input("keep", np.array(keep))
        binding.bind_ortvalue_input("past", prefix.value)
        binding.bind_output("logits", "cpu")
        if keep:
            binding.bind_output("present", self.device.kind, self.device.index)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime's own have no public names
            raise ClassificationError(f"the model could not be run: {type(error).__name__}") from error
        logits, *present = binding.get_outputs()
        values = logits.numpy()
        if not np.isfinite(values).all():
            raise ClassificationError("the model gave logits that are not finite")
        return values, present[0] if present else None

    def _opened(self, bundle: Bundle, threads: int, *, shares_weights: bool) -> Any:  # noqa: ANN401 - onnxruntime has no types
        if self.device.is_cuda and hasattr(self._runtime, "preload_dlls"):
            self._runtime.preload_dlls()
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if shares_weights:
            options.add_session_config_entry("session.disable_prepacking", "1")
        path = bundle.folder / GRAPH_NAME
        try:
            session = self._runtime.InferenceSession(
                path, options, providers=self.device.providers(), enable_fallback=0
            )
        except Exception as error:  # onnxruntime's own have no public names
            if self.device.is_cuda:
                raise cuda_is_unusable(self.device) from error
            raise ArtifactIntegrityError(path, problem="it cannot be loaded as an ONNX model") from error
        if self.device.is_cuda and CUDA_PROVIDER not in session.get_providers():  # onnxruntime fell back in silence
            raise cuda_is_unusable(self.device)
        inputs = {value.name: value for value in session.get_inputs()}
        shape = self._shape
        if (
            inputs.keys() != INPUTS
            or inputs["past"].shape[::2] != [shape.tensors, shape.heads, shape.head_size]
            or inputs["past"].type != ONNX_TYPES[shape.dtype]
        ):
            raise ArtifactIntegrityError(path, problem="its inputs are not those that the manifest describes")
        return session

    def _no_text(self) -> KeyValues:
        shape = self._shape
        values = np.zeros((shape.tensors, 1, shape.heads, 0, shape.head_size), shape.dtype)
        return self._key_values(
            self._runtime.OrtValue.ortvalue_from_numpy(values, self.device.kind, self.device.index), 0
        )

    def _key_values(self, value: Any, length: int) -> KeyValues:  # noqa: ANN401 - onnxruntime has no types
        shape = self._shape
        size = shape.tensors * shape.heads * length * shape.head_size * np.dtype(shape.dtype).itemsize
        return KeyValues(value, length, size)


def device_here(wanted: str, *, precision: str) -> Device:
    """Return where a bundle of some precision runs on this machine; see `choose_device`.

    Raises:
        MissingExtraError: onnxruntime is not installed, or not for the device that is wanted.
        ConfigurationError: CUDA is wanted and the bundle is made for CPUs.
    """
    available = import_onnxruntime(needed_for=NEEDED_FOR).get_available_providers()
    return choose_device(wanted, precision=precision, available=available, has_driver=has_cuda_driver())
