"""Where the model runs: the table of what is wanted, what the model is made for, and what is there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from plano_asgi.classify.arch_router import ArchRouterClassifier
from plano_asgi.classify.arch_router.devices import CPU_PROVIDER, CUDA_PROVIDER, Device, choose_device, cuda_is_unusable
from plano_asgi.classify.arch_router.session import device_here
from plano_asgi.classify.onnx_runtime import import_onnxruntime
from plano_asgi.errors import ConfigurationError, MissingExtraError, PlanoError
from plano_asgi.preferences import RoutingPolicy

CPU_ALONE = (CPU_PROVIDER,)
WITH_CUDA = (CUDA_PROVIDER, CPU_PROVIDER)
CPU, GPU = Device("cpu"), Device("cuda")


@pytest.mark.parametrize(
    ("wanted", "precision", "available", "device"),
    [
        *(("cpu", precision, WITH_CUDA, CPU) for precision in ("fp32", "fp16", "int8", "int4")),
        *(("auto", precision, CPU_ALONE, CPU) for precision in ("fp32", "fp16", "int8", "int4")),
        *(("auto", precision, WITH_CUDA, GPU) for precision in ("fp32", "fp16", "int4")),
        ("auto", "int8", WITH_CUDA, CPU),
        *(("cuda", precision, WITH_CUDA, GPU) for precision in ("fp32", "fp16", "int4")),
        ("cuda:0", "fp16", WITH_CUDA, GPU),
        ("cuda:3", "fp16", WITH_CUDA, Device("cuda", 3)),
    ],
)
def test_the_device_is_what_the_table_says(
    wanted: str, precision: str, available: tuple[str, ...], device: Device
) -> None:
    """`auto` takes CUDA where it is there and the model is made for it; what is named is taken."""
    assert choose_device(wanted, precision=precision, available=available) == device


@pytest.mark.parametrize(
    ("wanted", "precision", "available", "error", "advice"),
    [
        ("cuda", "fp16", CPU_ALONE, MissingExtraError, r"classifier.device: cuda .*plano-asgi\[gpu\]"),
        ("cuda:1", "fp32", CPU_ALONE, MissingExtraError, r"classifier.device: cuda:1 .*plano-asgi\[gpu\]"),
        ("cuda", "int8", WITH_CUDA, ConfigurationError, "classifier.device: .*--precision fp16"),
        ("cuda", "int8", CPU_ALONE, ConfigurationError, "classifier.device: .*--precision fp16"),
    ],
)
def test_cuda_is_never_replaced_in_silence(
    wanted: str, precision: str, available: tuple[str, ...], error: type[PlanoError], advice: str
) -> None:
    """Where CUDA is asked for and cannot be had, the error names the setting and what to do."""
    with pytest.raises(error, match=advice):
        choose_device(wanted, precision=precision, available=available)


def test_auto_is_the_cpu_where_no_gpu_has_a_driver() -> None:
    """A build for CUDA on a machine without a GPU has the CPU by `auto`, and CUDA by name, which cannot be opened."""
    devices = [
        choose_device(wanted, precision="fp16", available=WITH_CUDA, has_driver=False) for wanted in ("auto", "cuda")
    ]

    assert devices == [CPU, GPU]


def test_a_gpu_that_cannot_be_opened_is_explained() -> None:
    """The error for a GPU that onnxruntime cannot open names the setting and what to check."""
    assert "classifier.device: onnxruntime cannot use cuda:7 here" in str(cuda_is_unusable(Device("cuda", 7)))


@pytest.mark.parametrize(
    ("device", "providers"), [(CPU, [CPU_PROVIDER]), (Device("cuda", 2), [CUDA_PROVIDER, CPU_PROVIDER])]
)
def test_onnxruntime_is_asked_for_the_device(device: Device, providers: list[str]) -> None:
    """The providers are those of the device, with the GPU's number, and the CPU behind it."""
    asked = device.providers()

    assert [one if isinstance(one, str) else one[0] for one in asked] == providers
    assert not device.is_cuda or asked[0][1]["device_id"] == 2


def test_this_machine_does_what_it_can(tiny_bundle: Path) -> None:
    """`auto` serves on any machine; `cuda`, where onnxruntime does not have it, is an error that names the extra."""
    auto = ArchRouterClassifier(tiny_bundle, device="auto", threads=1)
    auto.prepare(RoutingPolicy())
    auto.close()

    if CUDA_PROVIDER not in import_onnxruntime(needed_for="this test").get_available_providers():
        with pytest.raises(MissingExtraError, match=r"plano-asgi\[gpu\]"):
            ArchRouterClassifier(tiny_bundle, device="cuda").prepare(RoutingPolicy())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4"])
def test_deadline_and_batches_are_those_of_the_device_that_is_there(
    bundle_with: Callable[..., Path], precision: str
) -> None:
    """A model made for CUDA has a CPU's time and company where there is no CUDA."""
    classifier = ArchRouterClassifier(bundle_with(precision=precision))

    is_cuda = device_here("auto", precision=precision).is_cuda
    assert (classifier.deadline_ms, classifier.parallelism) == ((300, 64) if is_cuda else (10_000, 4))
