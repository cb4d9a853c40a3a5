"""The process reaper: ends what a child has started, also when its watcher is killed.

A child asks the kernel to die with its parent, but its own children do not: after SIGKILL of
pytest they would go on using the device. So a small process of its own waits for the end of a
pipe that pytest holds, and then ends all of them: the child's group, and what has left the group
but still carries the mark in its environment.

Run as a file of its own, without m43 and without packages: it must start at once and import
nothing that could fail.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# The variable by which a child and its descendants are known: the number of the process that
# started it. Source: m43/harness/process/environment.py.
MARK = "M43_PARENT_PID"


class Reaper:
    """A reaper process that watches over a child's group."""

    def __init__(self, group: int, mark: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(group), mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # What ends pytest's own group must not end this one with it.
            start_new_session=True,
            env={},
            cwd="/",
        )

    def dismiss(self) -> None:
        """End the reaper without reaping anything."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def end_all(group: int, mark: str) -> None:
    """Kill a process group, and every process that carries the mark."""
    # Nothing of it may be left; macOS says so of zombies with the second error.
    gone = (ProcessLookupError, PermissionError)
    with contextlib.suppress(*gone):
        os.killpg(group, signal.SIGKILL)
    for pid in marked(mark) if mark else ():
        with contextlib.suppress(*gone):
            os.kill(pid, signal.SIGKILL)


def marked(mark: str, processes: Path = Path("/proc")) -> Iterator[int]:
    """List the processes whose environment carries the mark; none where /proc does not tell."""
    entry = f"{MARK}={mark}".encode()
    for folder in processes.glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if entry in variables and folder.name != str(os.getpid()):
            yield int(folder.name)


def main(group: int, mark: str) -> None:
    """Wait for the end of the pipe, which comes with the end of who holds it; then end all."""
    sys.stdin.buffer.read()
    end_all(group, mark)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
