"""What this process holds of the host's memory, and what a piece of work takes of it."""

import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from m43.training.device import give_back_memory, peak_host_bytes

_STATM, _CLEAR_REFS = Path("/proc/self/statm"), Path("/proc/self/clear_refs")
_PAGE_BYTES = resource.getpagesize()

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
    """Give the memory that this process holds now; where the kernel does not say, its peak.

    Source: Linux, proc(5): the second number of statm is what is resident, in pages.
    """
    if not _STATM.exists():
        return peak_host_bytes()
    return int(_STATM.read_text().split()[1]) * _PAGE_BYTES


def measured(work: Callable[[], Result]) -> tuple[Result, Taken]:
    """Do some work and measure what it takes."""
    give_back_memory()
    _forget_peak()
    before = held_bytes()
    result = work()
    most = peak_host_bytes()
    give_back_memory()
    kept = held_bytes() - before
    return result, Taken(most_bytes=max(0, most - before), kept_bytes=max(0, kept))


def _forget_peak() -> None:
    """Let the peak begin anew; a system that cannot do that counts what came before as well.

    Source: Linux, Documentation/filesystems/proc.rst, clear_refs: 5 resets the peak.
    """
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return
