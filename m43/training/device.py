"""The device: where arrays really lie, in the one spelling that every record uses."""

import ctypes
import os
import resource
from pathlib import Path

import jax

from m43.errors import FailureClass, M43Error
from m43.training.control_groups import CGROUP, OWN_GROUPS, room_bytes


class WrongDeviceError(M43Error):
    """Arrays on another device than the one that was promised."""

    failure_class = FailureClass.WRONG_DEVICE


def device_name(device: jax.Device) -> str:
    """Write a device as platform:kind, such as "cpu:cpu" or "gpu:NVIDIA GeForce RTX 5090"."""
    return f"{device.platform}:{device.device_kind}"


def device_of(array: jax.Array) -> str:
    """Name the one kind of device that holds an array.

    Taken from a result rather than from `jax.devices()`: a list of devices proves nothing about
    where a computation ran.
    """
    (name,) = {device_name(device) for device in array.devices()}
    return name


def memory_bytes(device: jax.Device) -> int:
    """Give what a device lets JAX use; for a CPU, the host's memory."""
    stats = device.memory_stats()
    return int(stats["bytes_limit"]) if stats and "bytes_limit" in stats else host_memory_bytes()


def peak_bytes(device: jax.Device) -> int:
    """Give the most memory that was in use on a device; 0 where the backend does not count."""
    return int((device.memory_stats() or {}).get("peak_bytes_in_use", 0))


def bytes_in_use(device: jax.Device) -> int:
    """Give the memory that is in use on a device now; 0 where the backend does not count."""
    return int((device.memory_stats() or {}).get("bytes_in_use", 0))


def host_memory_bytes() -> int:
    """Give the host's physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_host_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Give the most memory that this process ever held; Linux counts it in kibibytes.

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
    """Give the memory that a new process can have: the kernel's estimate, or a container's rest.

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
    """Return freed memory to the system, which glibc keeps as the child's environment tells it.

    Reading weights and compiling leave a gigabyte of it, in pieces that no array of a step fits
    into; steps themselves free and take the same blocks again and again, and shall keep theirs.

    Source: glibc, malloc_trim(3); other C libraries have none, and keep less.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
