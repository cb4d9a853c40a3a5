"""The process reaper: ends what a child has started, also when its watcher is killed.

A child asks the kernel to die with its parent, but its own children do not: after SIGKILL of
pytest they would go on using the device. So two small processes wait for the end of a pipe that
pytest holds, and then end all of them: the child's group, and what has left the group but still
carries the mark in its environment. Two, because one may be killed like pytest itself: whoever is
left starts the other again, and pytest starts both again where both are gone.

Run as a file of its own, without m43 and without packages: it must start at once and import
nothing that could fail.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# The variable by which a child and its descendants are known: the number of the process that
# started it. Source: m43/harness/process/environment.py.
MARK = "M43_PARENT_PID"
# Nothing of a group may be left; macOS says so of zombies with the second error.
_GONE = (ProcessLookupError, PermissionError)
_SECONDS_BETWEEN_TRIES = 0.5


class Reaper:
    """A reaper process that watches over a child's group."""

    def __init__(self, group: int, mark: str) -> None:
        self._words = (str(group), mark)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, *self._words],
            stdin=subprocess.PIPE,
            # Nothing is written to it: it ends when the last watcher does.
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # What ends pytest's own group must not end this one with it.
            start_new_session=True,
            env={},
            cwd="/",
        )

    def tend(self) -> None:
        """Start the watchers again where somebody has killed all of them."""
        assert self._process.stdout is not None
        if select.select([self._process.stdout], [], [], 0)[0]:
            self.dismiss()
            self._process = self._start()

    def dismiss(self) -> None:
        """End the watchers without reaping anything."""
        # All at once, so that none is left to start another; the number is theirs until waited for.
        with contextlib.suppress(*_GONE):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def end_all(group: int, mark: str) -> None:
    """Kill a process group, and every process that carries the mark."""
    with contextlib.suppress(*_GONE):
        os.killpg(group, signal.SIGKILL)
    for pid in marked(mark) if mark else ():
        with contextlib.suppress(*_GONE):
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
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    other = _second()
    while True:
        seen = [sys.stdin, *([other] if other else [])]
        ready = select.select(seen, [], [], None if other else _SECONDS_BETWEEN_TRIES)[0]
        if sys.stdin in ready:
            break
        if other:
            other.close()
        other = _second()
    end_all(group, mark)


def _second() -> socket.socket | None:
    """Become two watchers, each with one end of a connection that ends with the other.

    None where no process can be started now.
    """
    mine, others = socket.socketpair()
    try:
        if os.fork() == 0:
            mine, others = others, mine
    except OSError:
        mine.close()
        return None
    finally:
        others.close()
    return mine


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
