"""Known trouble is recognised by the messages that were seen, and nothing that only looks alike."""

import pytest

from m43.errors import FailureClass as F
from m43.evidence.failures import recognise

WSL = "5.15.167.4-microsoft-standard-WSL2"

# In the form in which each was seen: jax, XLA, CUDA, NVML, the kernel; cut to one line.
SEEN = {
    "RuntimeError: operation cudaGetDeviceCount(&count) failed: CUDA driver version is "
    "insufficient for CUDA runtime version": F.DRIVER_TOO_OLD,
    "INTERNAL: CustomCall failed: cuda_prng_kernels.cc:30: operation cudaGetLastError() failed: "
    "the provided PTX was compiled with an unsupported toolchain.": F.DRIVER_TOO_OLD,
    "Failed to load PTX text as a module: CUDA_ERROR_UNSUPPORTED_PTX_VERSION": F.DRIVER_TOO_OLD,
    "cuda_dnn.cc:427] Loaded runtime CuDNN library: 8.5.0 but source was compiled with: 8.6.0.  "
    "CuDNN library needs to have matching major version": F.CUDA_LIBRARIES,
    "RuntimeError: Unable to use CUDA because of the following issues with CUDA components: "
    "Outdated cuDNN installation found. Version JAX was built against: 8907": F.CUDA_LIBRARIES,
    "Found cuDNN version 8600, but JAX was built against version 8906, which is newer.": (
        F.CUDA_LIBRARIES
    ),
    "Found CUDA version 12010, but JAX was built against version 12020, which is newer.": (
        F.CUDA_LIBRARIES
    ),
    "ImportError: libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, version "
    "libnvJitLink.so.12": F.CUDA_LIBRARIES,
    "JaxRuntimeError: FAILED_PRECONDITION: DNN library initialization failed. Look at the errors "
    "above for more details.": F.CUDA_LIBRARIES,
    "Failed to initialize NVML: Driver/library version mismatch": F.CUDA_LIBRARIES,
    "jax.errors.JaxRuntimeError: INTERNAL: Autotuning failed for HLO: %loop_reduce_fusion = f32[] "
    "fusion(...), kind=kLoop with error: NOT_FOUND: No valid config found!": F.AUTOTUNER_FAILED,
    "F1030 15:35:52.295284 614 gemm_fusion_autotuner.cc:1041] Non-OK-status: "
    "has_executable.status() Status: FAILED_PRECONDITION": F.AUTOTUNER_FAILED,
    "cudaSuccess (46 vs. 0)  all CUDA-capable devices are busy or unavailable": F.CARD_BUSY,
    "CUDA error: CUDA-capable device(s) is/are busy or unavailable": F.CARD_BUSY,
    "failed call to cuDevicePrimaryCtxRetain: CUDA_ERROR_DEVICE_UNAVAILABLE": F.CARD_BUSY,
    "modprobe: ERROR: could not insert 'nvidia_uvm': Device or resource busy": F.CARD_BUSY,
    "OSError: [Errno 16] Device or resource busy: '/dev/nvidia0'": F.CARD_BUSY,
    "NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', GPU has fallen off the bus.": F.CARD_LOST,
    "NVRM: fallen off the bus and is not responding to commands.": F.CARD_LOST,
    "Unable to determine the device handle for GPU 0000:01:00.0: GPU is lost.": F.CARD_LOST,
    "NVRM: Xid (PCI:0000:01:00): 31, pid=4711, name=python, Ch 00000008, MMU Fault: ENGINE "
    "GRAPHICS": F.CARD_FAULT,
    "JaxRuntimeError: INTERNAL: Failed to launch CUDA kernel: fusion_1560: "
    "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered": F.CARD_FAULT,
    "CUDA error: Could not synchronize CUDA stream: CUDA_ERROR_LAUNCH_FAILED: unspecified launch "
    "failure": F.CARD_FAULT,
    "JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4770354232 "
    "bytes.": F.OUT_OF_DEVICE_MEMORY,
    "Autotuning failed for HLO: %gemm_fusion with error: RESOURCE_EXHAUSTED: Out of memory while "
    "trying to allocate 2.5GiB": F.OUT_OF_MEMORY_COMPILING,
}

ALIKE = [
    "The NVIDIA driver's CUDA version is 12.4 which is older than the PTX compiler version "
    "(12.6.85). Because the driver is older than the PTX compiler version, XLA is disabling "
    "parallel compilation, which may slow down compilation.",
    "cuda_dnn.cc:471] Loaded cuDNN version 90800",
    "OSError: [Errno 16] Device or resource busy: '/home/a/.cache/.nfs000000001'",
    "gemm_fusion_autotuner.cc:1041] Slow kernel; the autotuner goes on",
    "NVRM: Xid (PCI:0000:01:00): 45, pid=4711, name=python, Ch 00000010",
    "NVRM: Xid (PCI:0000:01:00): 43, pid=4711, name=python, Ch 00000010",
    "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05",
    "ImportError: jaxlib/_jax.so: undefined symbol: PyObject_GetOptionalAttr",
    "RuntimeError: Unable to initialize backend 'cuda': INTERNAL: no supported devices found",
    "train.jsonl:79: the bus has fallen off the road; no GPU was hurt",
    "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
    "KeyError: 'section'",
    "",
]


@pytest.mark.parametrize(("text", "expected"), SEEN.items())
def test_a_message_that_was_seen_has_its_name(text: str, expected: F) -> None:
    """Among others, wherever it stands."""
    assert recognise(("Traceback (most recent call last):", f"  {text}", "noise")) is expected


@pytest.mark.parametrize("text", ALIKE)
def test_a_text_that_only_looks_alike_has_none(text: str) -> None:
    """A warning, another device, a line of good news: the failure is then called as before."""
    assert recognise((text,)) is None


def test_a_library_that_is_missing_means_windows_only_in_wsl() -> None:
    """Elsewhere there is no driver, and that has a name already."""
    for text in (
        "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
        "RuntimeError: Failed to dlopen libcuda.so",
    ):
        assert recognise((text,), release=WSL) is F.WSL_LIBRARIES
        assert recognise((text,), release="6.8.0-52-generic") is None


def test_a_lack_of_memory_is_that_of_its_phase() -> None:
    """While XLA compiles there is another way out than in a step."""
    text = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1234 bytes."
    assert recognise((text,), phase="compile 512 tokens") is F.OUT_OF_MEMORY_COMPILING
    assert recognise((text,), phase="train") is F.OUT_OF_DEVICE_MEMORY
    assert recognise(("fine",), phase="compile 512 tokens") is None


def test_what_makes_everything_else_fail_comes_first() -> None:
    """A card that is gone faults in every call, and the fault is not what happened."""
    lost = "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."
    assert recognise(("CUDA_ERROR_LAUNCH_FAILED", lost, "Autotuning failed for HLO")) is F.CARD_LOST
