"""Known trouble with a card, recognised by what JAX, XLA, CUDA and the kernel say of it.

Each pattern is of a message that was seen, and asks for so much of it that a text which only looks
alike is not taken for one. What is recognised says what happened; why, is the catalogue's guess.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from m43.errors import FailureClass as F

# The kernel of WSL2 says so in its release: "5.15.167.4-microsoft-standard-WSL2".
_WSL = "microsoft"
COMPILING = "compile"
"""How the phases of a child begin in which XLA compiles."""


@dataclass(frozen=True, kw_only=True)
class _Trouble:
    """A class and the messages by which it is known, on one line each."""

    failure_class: F
    messages: re.Pattern[str]


def _known(failure_class: F, *messages: str) -> _Trouble:
    return _Trouble(failure_class=failure_class, messages=re.compile("|".join(messages)))


# In this order: a card that is lost makes everything else fail as well, and an autotuner that had
# no memory is no broken autotuner.
_TROUBLE = (
    # NVIDIA, Xid errors: 79. nvidia-smi and NVML: "GPU is lost".
    _known(
        F.CARD_LOST,
        r"NVRM: Xid \([^)]*\): 79\b",
        r"\bGPU has fallen off the bus",
        r"fallen off the bus and is not responding",
        r"\bGPU is lost\b",
    ),
    # jax issues 8731 and 25718: the first is an error; that a driver "is older than the PTX
    # compiler version" is a warning, after which it goes on.
    _known(
        F.DRIVER_TOO_OLD,
        r"CUDA driver version is insufficient for CUDA runtime version",
        r"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        r"the provided PTX was compiled with an unsupported toolchain",
    ),
    # jax issues 15361, 18027 and 28752; nvidia-smi after an update without a restart.
    _known(
        F.CUDA_LIBRARIES,
        r"Loaded runtime CuDNN library: [\d.]+ but source was compiled with",
        r"\bOutdated (?:cu|CU|nv|NV)\w+ installation found",
        r"\bFound cu\w+ version \d+, but JAX was built against version \d+",
        r"\bFound CUDA version \d+, but JAX was built against version \d+",
        r"CUDNN_STATUS_(?:SUBLIBRARY_)?VERSION_MISMATCH",
        r"undefined symbol: \w*(?:cublas|cudnn|cusparse|cusolver|cufft|nvJitLink)",
        r"DNN library initialization failed",
        r"Driver/library version mismatch",
        r"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    ),
    # jax issue 33715; XLA issues 18825 and 43068.
    _known(
        F.AUTOTUNER_FAILED,
        r"Autotuning failed for HLO",
        r"Failed to determine best cudnn convolution algorithm",
        r"autotuner\.cc:\d+\] (?:Non-OK|Check failed)",
    ),
    # CUDA's error 46, in the words of its two generations; NVIDIA/DIGITS issue 2005.
    _known(
        F.CARD_BUSY,
        r"CUDA_ERROR_DEVICE_UNAVAILABLE",
        r"CUDA-capable device(?:s are|\(s\) is/are) busy or unavailable",
        r"(?:/dev/nvidia|\bnvidia|\bNVML|\bCUDA)[^\n]{0,120}[Dd]evice or resource busy",
        r"[Dd]evice or resource busy[^\n]{0,40}/dev/nvidia",
    ),
    # CUDA driver API, CUresult; jax issues 25002 and 28710; NVIDIA, Xid errors. 43 and 45 only
    # follow on an end that has another cause, such as a SIGKILL.
    _known(
        F.CARD_FAULT,
        r"CUDA_ERROR_(?:ILLEGAL_ADDRESS|ILLEGAL_INSTRUCTION|MISALIGNED_ADDRESS|LAUNCH_FAILED)\b",
        r"CUDA_ERROR_(?:ECC_UNCORRECTABLE|NVLINK_UNCORRECTABLE|HARDWARE_STACK_ERROR)\b",
        r"NVRM: Xid \([^)]*\): (?!43\b|45\b)\d+",
    ),
)
# microsoft/WSL issue 8587; NVIDIA/cuda-python issue 17.
_NO_LIBCUDA = re.compile(
    r"libcuda\.so(?:\.1)?: cannot open shared object file|[Ff]ailed to dlopen libcuda\.so"
)
_OUT_OF_MEMORY = re.compile(r"RESOURCE_EXHAUSTED|CUDA_ERROR_OUT_OF_MEMORY")


def is_wsl(release: str) -> bool:
    """Tell whether a kernel, by its release, is that of WSL2."""
    return _WSL in release.lower()


def recognise(texts: Iterable[str], *, release: str = "", phase: str = "") -> F | None:
    """Name the trouble that texts tell of; None where they tell of none that is known.

    Args:
        texts: What was said, one message after the other.
        release: Of the kernel, where a library that is missing means another thing in WSL2.
        phase: In which a child was: XLA's lack of memory while it compiles is another than that
            of a step.
    """
    said = tuple(texts)
    if is_wsl(release) and any(map(_NO_LIBCUDA.search, said)):
        return F.WSL_LIBRARIES
    named = (each for each in _TROUBLE if any(map(each.messages.search, said)))
    found = next((each.failure_class for each in named), None)
    # The autotuner tries kernels on real arrays, and says of each lack that it failed.
    unnamed = found in (None, F.AUTOTUNER_FAILED)
    if unnamed and any(map(_OUT_OF_MEMORY.search, said)):
        compiling = found is not None or phase.startswith(COMPILING)
        return F.OUT_OF_MEMORY_COMPILING if compiling else F.OUT_OF_DEVICE_MEMORY
    return found
