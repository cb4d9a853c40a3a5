"""Bounds on work that a file of others asks for: the time it computes, the memory it takes."""

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = resource.getpagesize()


class OutOfTimeError(Exception):
    """Work that computed for longer than it may."""


@contextmanager
def bounded(*, cpu_s: float, memory_bytes: int) -> Iterator[None]:
    """Let a block compute for so long, and take so much memory more than there is taken now.

    The time is that of the processor, so that a busy machine changes nothing; only the main
    thread can be told that it is over. The memory is bounded where the kernel can (Linux).

    Raises:
        OutOfTimeError: in the middle of the block.
        MemoryError: where the block asked for too much.
    """
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    most = _data_bytes() + memory_bytes
    bound = most if limits[0] == resource.RLIM_INFINITY else min(most, limits[0])
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGVTALRM, _end) if in_main else None
    resource.setrlimit(resource.RLIMIT_DATA, (bound, limits[1]))
    try:
        if in_main:
            signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
        yield
    finally:
        if in_main:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_DATA, limits)


def _end(number: int, frame: FrameType | None) -> None:
    raise OutOfTimeError("it computes without end")


def _data_bytes() -> int:
    """Give what the kernel counts against the limit now; very much where it does not say."""
    try:
        # Source: proc(5): the sixth number is data and stack, in pages.
        return int(_STATM.read_text().split()[5]) * _PAGE_BYTES
    except OSError:
        return 1 << 50
