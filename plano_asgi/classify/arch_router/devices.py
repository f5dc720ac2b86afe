"""Where the model runs: explicit rules for `cpu`, `cuda`, `cuda:N` and `auto`.

A bundle's precision says what it was made for: `fp16` for CUDA, `int8` for CPUs, `fp32` and `int4` for either. `auto`
takes CUDA where the bundle is made for it, onnxruntime has it and a GPU's driver is there, else the CPU. `cuda` takes
CUDA or fails; it never runs elsewhere in silence.
"""

import ctypes
import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from plano_asgi.errors import ConfigurationError, Fault, MissingExtraError

CUDA_PROVIDER: Final = "CUDAExecutionProvider"
CPU_PROVIDER: Final = "CPUExecutionProvider"
FOR_CPU_ALONE: Final = frozenset({"int8"})
FOR_CUDA_FIRST: Final = frozenset({"fp16", "fp32", "int4"})


@dataclass(frozen=True, slots=True)
class Device:
    """A place to run.

    Attributes:
        kind: `cpu` or `cuda`.
        index: Which of the GPUs.
    """

    kind: str
    index: int = 0

    @property
    def is_cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.kind == "cuda"

    def providers(self) -> list[Any]:
        """Return what onnxruntime is asked to run the graph with, the first choice first."""
        if not self.is_cuda:
            return [CPU_PROVIDER]
        return [(CUDA_PROVIDER, {"device_id": self.index, "use_tf32": "0"}), CPU_PROVIDER]


def choose_device(wanted: str, *, precision: str, available: Collection[str], has_driver: bool = True) -> Device:
    """Return where a bundle of some precision runs.

    Args:
        wanted: The setting `classifier.device`.
        precision: The bundle's.
        available: onnxruntime's execution providers; those it was built with, whatever the machine has.
        has_driver: Whether the machine has a GPU's driver.

    Raises:
        MissingExtraError: CUDA is asked for and this onnxruntime does not have it.
        ConfigurationError: CUDA is asked for and the bundle is made for CPUs.
    """
    if wanted == "cpu":
        return Device("cpu")
    if wanted == "auto":
        is_cuda = CUDA_PROVIDER in available and has_driver and precision in FOR_CUDA_FIRST
        return Device("cuda" if is_cuda else "cpu")
    if precision in FOR_CPU_ALONE:
        what = f"the model is exported as {precision}, for CPUs; export it with --precision fp16, or use auto or cpu"
        raise ConfigurationError([Fault(where="classifier.device", what=what)])
    if CUDA_PROVIDER not in available:
        raise MissingExtraError("gpu", needed_for=f"classifier.device: {wanted}")
    return Device("cuda", int(wanted.partition(":")[2] or 0))


def has_cuda_driver() -> bool:
    """Return whether this machine has the library by which CUDA drives a GPU; it is not started, so a fork is safe."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


def cuda_is_unusable(device: Device) -> ConfigurationError:
    """Return the error for a GPU that onnxruntime could not open."""
    what = f"onnxruntime cannot use {device.kind}:{device.index} here; check driver, CUDA and cuDNN, or use auto or cpu"
    return ConfigurationError([Fault(where="classifier.device", what=what)])
