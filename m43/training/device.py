"""The device: where arrays really lie, its memory, its programs."""

import ctypes
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import jax
from huggingface_hub import constants

from m43.errors import FailureClass, M43Error
from m43.records import LOOPBACK_ENDPOINT, Profile, TrainingPlan
from m43.text import size_words
from m43.training.control_groups import CGROUP, OWN_GROUPS, own_bytes, room_bytes


class WrongDeviceError(M43Error):
    """Arrays on another device than the one that was promised."""

    failure_class = FailureClass.WRONG_DEVICE


def device_name(device: jax.Device) -> str:
    """Return a device as platform:kind, such as "cpu:cpu" or "gpu:NVIDIA GeForce RTX 5090"."""
    return f"{device.platform}:{device.device_kind}"


def device_of(array: jax.Array) -> str:
    """Return the one kind of device that holds an array.

    Taken from a result rather than from `jax.devices()`: a list of devices proves nothing about
    where a computation ran.
    """
    (name,) = {device_name(device) for device in array.devices()}
    return name


def memory_bytes(device: jax.Device) -> int:
    """Return what JAX has of a device's memory; for a CPU, the host's.

    Of a card it takes its share with the first array. Where another program holds a part of that,
    it takes less, tenth by tenth, without a word; the limit still says the whole share.

    Source: XLA, xla/tsl/framework/bfc_allocator.cc, Extend.
    """
    stats = device.memory_stats()
    if not stats or "bytes_limit" not in stats:
        return host_memory_bytes()
    return int(stats.get("pool_bytes") or stats["bytes_limit"])


class LessMemoryError(M43Error):
    """Less of a card's memory than the plan had counted on."""

    failure_class = FailureClass.MEMORY_TAKEN


def require_memory(found_bytes: int, plan: TrainingPlan) -> None:
    """Refuse, before a weight is read, memory in which the planned run does not fit any more.

    Raises:
        LessMemoryError: when another program has taken too much of it since the plan.
    """
    if found_bytes < plan.needed_bytes:
        raise LessMemoryError(
            found=f"{size_words(found_bytes)}, which is all that JAX got",
            expected=f"{size_words(plan.needed_bytes)} or more, of the "
            f"{size_words(plan.limits.memory_bytes)} that were free when the run was planned",
            where=plan.limits.device,
            action="look with nvidia-smi at what else is on the card, and end it",
        )


def peak_bytes(device: jax.Device) -> int:
    """Return the peak of memory in use on a device; 0 where the backend does not count."""
    return int((device.memory_stats() or {}).get("peak_bytes_in_use", 0))


def bytes_in_use(device: jax.Device) -> int:
    """Return the memory in use on a device now; 0 where the backend does not count."""
    return int((device.memory_stats() or {}).get("bytes_in_use", 0))


def host_memory_bytes() -> int:
    """Return the host's physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_host_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Return this process's peak resident memory; Linux counts it in kibibytes.

    Not by getrusage where it can be avoided: there a process begins with the peak of the one that
    started it.

    Source: Linux, proc(5), VmHWM; fs/exec.c, exec_mmap, which hands maxrss on.
    """
    lines = status.read_text().splitlines() if status.exists() else []
    found = (line.split() for line in lines if line.startswith("VmHWM:"))
    peak = next((int(words[1]) for words in found), None)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if peak is None else peak) * 1024


def free_host_bytes(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = CGROUP, own: Path = OWN_GROUPS
) -> int:
    """Return what a new process can have: the kernel's estimate, or a container's rest.

    Source: Linux, Documentation/filesystems/proc.rst, MemAvailable; m43/training/control_groups.py.
    """
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    found = (line.split() for line in lines if line.startswith("MemAvailable:"))
    free = next((int(words[1]) * 1024 for words in found), host_memory_bytes())
    room = room_bytes(cgroup, own)
    return free if room is None else min(free, room)


def require_device(found: str, promised: str) -> None:
    """Refuse any other device than the promised one; there is no fallback.

    Raises:
        WrongDeviceError: if they differ.
    """
    if found != promised:
        raise WrongDeviceError(
            found=f"a computation on {found}",
            expected=promised,
            where="the default device of JAX in the training environment",
            action="repair the driver or the JAX installation; nothing falls back",
        )


def give_back_memory() -> None:
    """Return freed memory to the system; the child's environment has glibc keep it otherwise.

    Reading weights and compiling leave a gigabyte of it, in pieces that no array of a step fits
    into; steps themselves free and take the same blocks again and again, and shall keep theirs.

    Source: glibc, malloc_trim(3); other C libraries have none, and keep less.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


_CLEAR_REFS = Path("/proc/self/clear_refs")

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What some work took, beside what was held before it.

    Attributes:
        most_bytes: at once, while it was done.
        kept_bytes: still, when freed memory had been given back.
    """

    most_bytes: int
    kept_bytes: int


def held_bytes() -> int:
    """Return this process's resident memory; where the kernel does not say, its peak."""
    return own_bytes("resident") or peak_host_bytes()


def measured(work: Callable[[], Result]) -> tuple[Result, Taken]:
    """Run some work and measure the memory that it takes."""
    give_back_memory()
    _forget_peak()
    before = held_bytes()
    result = work()
    most = peak_host_bytes()
    give_back_memory()
    kept = held_bytes() - before
    return result, Taken(most_bytes=max(0, most - before), kept_bytes=max(0, kept))


def _forget_peak() -> None:
    """Reset the peak; a system that cannot do that counts what came before as well.

    Source: Linux, Documentation/filesystems/proc.rst, clear_refs: 5 resets the peak.
    """
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return


_FOLDER = "m43-compiled"


def compiled_folder(profile: Profile) -> Path | None:
    """Return the folder of a run's compilation cache, if it uses one.

    In the Hugging Face cache, the only place outside its own folder that a run writes to. The key
    of a program is the program itself, its options, JAX's version and the machine, so that an old
    one is never taken for a new one. But whoever can write there decides what a later run executes.
    A production run is evidence, so it executes only what it compiled itself, from the sources
    whose digests it records; that costs it half a minute. The loopback hub's cache is thrown away
    with the hub.
    """
    if profile.kind == "production" or profile.hub.endpoint == LOOPBACK_ENDPOINT:
        return None
    return Path(constants.HF_HOME) / _FOLDER


def keep_compiled(folder: Path) -> None:
    """Use a folder as JAX's persistent compilation cache, for what takes a second to compile."""
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    # An entry that is cut off or unreadable is compiled again rather than reported as a failure.
    jax.config.update("jax_raise_persistent_cache_errors", False)
    # XLA's own caches beside it are for GPUs, and would be written to paths of their own.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
