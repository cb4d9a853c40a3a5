"""The hold: a lock that says who writes now, and that the kernel lets go when its holder dies."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m43.errors import M43Error

_LOOK_S = 0.05


class HeldError(M43Error):
    """A file that another living process writes."""


class Hold:
    """An exclusive lock on a file, held until it is released or its process ends.

    It needs no cleaning up: after SIGKILL or a power cut nobody holds the file any more, so what
    was cut off can be told from what still runs. A child does not inherit it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> "Hold":
        """Lock a file that is there.

        Raises: HeldError, when another process (or another part of this one) holds it.
        """
        hold = cls(os.open(path, os.O_RDWR))
        if not (_lock(hold._descriptor, wait=False) or _lock_later(hold._descriptor)):
            hold.release()
            raise HeldError(
                found="a process that still writes it",
                expected="a run that has ended",
                where=str(path),
                action="let that run end, or end it yourself; m43 closes it afterwards",
            )
        return hold

    def release(self) -> None:
        """Let go; what was released once stays so."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process is inside, for a file that is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Tell whether a living process holds a file; nothing is written, and nobody is kept out."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return not _lock(descriptor, wait=False, shared=True)
    finally:
        os.close(descriptor)


def _lock_later(descriptor: int) -> bool:
    # Who only looks holds a file for a moment.
    time.sleep(_LOOK_S)
    return _lock(descriptor, wait=False)


def _lock(descriptor: int, *, wait: bool, shared: bool = False) -> bool:
    if sys.platform == "win32":
        # The venv gate refuses native Windows by name; until then there is nobody to wait for.
        return True
    import fcntl

    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
