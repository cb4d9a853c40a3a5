"""A control group with little memory: the kernel itself ends who needs more."""

import contextlib
import os
import time
from pathlib import Path
from typing import Self

from tests.faults.small_disk import NotAllowedError

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class MemoryGroup:
    """A group of processes that share a limit. It needs the right to make control groups (root)."""

    def __init__(self, *, limit_bytes: int) -> None:
        self._first = _V1.is_dir()
        self._folder = (_V1 if self._first else _V2) / f"m43-fault-{os.getpid()}"
        self._limit_bytes = limit_bytes

    def __enter__(self) -> Self:
        limit = "memory.limit_in_bytes" if self._first else "memory.max"
        try:
            self._folder.mkdir()
            (self._folder / limit).write_text(str(self._limit_bytes))
        except OSError as error:
            with contextlib.suppress(OSError):
                self._folder.rmdir()
            raise NotAllowedError(
                f"found no right to make a control group ({error}), expected root and a memory "
                f"controller at {self._folder.parent}; run the matrix as root on a machine of its "
                "own, or `make faults-quick`, which needs neither"
            ) from error
        return self

    def take(self, pid: int) -> None:
        """Move a process into the group."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def __exit__(self, *_: object) -> None:
        # A group can be removed once the kernel has forgotten its last process.
        for _ in range(100):
            with contextlib.suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(0.05)
