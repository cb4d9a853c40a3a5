"""A control group with little memory: the kernel itself ends who needs more."""

import contextlib
import os
import time
from pathlib import Path
from typing import Self

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class MemoryGroup:
    """A group of processes that share a limit. It needs the right to make control groups (root)."""

    def __init__(self, *, limit_bytes: int) -> None:
        self._first = _V1.is_dir()
        self._folder = (_V1 if self._first else _V2) / f"m43-fault-{os.getpid()}"
        self._limit_bytes = limit_bytes

    @classmethod
    def possible(cls) -> bool:
        """Tell whether this machine lets us make one."""
        try:
            with cls(limit_bytes=1 << 30):
                return True
        except OSError:
            return False

    def __enter__(self) -> Self:
        self._folder.mkdir()
        limit = "memory.limit_in_bytes" if self._first else "memory.max"
        try:
            (self._folder / limit).write_text(str(self._limit_bytes))
        except OSError:
            self._folder.rmdir()
            raise
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
