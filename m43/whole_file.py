"""A file that is read whole: a regular one, of a size that can be meant."""

import os
import stat
from pathlib import Path


class UnfitFileError(OSError):
    """A file that would never end, or never fit: no M43Error, because readers name it as theirs."""


def read_whole(path: Path, most_bytes: int) -> bytes:
    """Read a file, unless it is something else or larger than can be meant.

    Raises:
        OSError: as `open` does, and an UnfitFileError for a pipe, a device or too many bytes.
    """
    # Without blocking: to open a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        os.close(descriptor)
        raise UnfitFileError("not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        # A file that grows meanwhile is no larger than it said.
        data = file.read(most_bytes + 1) if state.st_size <= most_bytes else None
    if data is None or len(data) > most_bytes:
        raise UnfitFileError(f"more than {most_bytes:,} bytes")
    return data
