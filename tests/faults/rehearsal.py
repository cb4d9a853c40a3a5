"""A rehearsal that is going on: started in a copied tree, watched from outside, and harmed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.tree import FaultTree, environment

PATIENCE_S = 400.0
_TICK_S = 0.01


@dataclass(kw_only=True)
class Rehearsal:
    """A run of pytest that has been started."""

    tree: FaultTree
    process: subprocess.Popen[bytes]
    output: Path
    name: str

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.tree.runs / self.name

    # --- moments -------------------------------------------------------------------------------

    def wait(self, what: str, seen: Callable[[], bool]) -> None:
        """Wait for a moment of the run."""
        patience = time.monotonic() + PATIENCE_S
        while not seen():
            if self.process.poll() is not None:
                raise AssertionError(f"the run ended before {what}:\n{self.text()}")
            if time.monotonic() > patience:
                raise AssertionError(f"{what} never came:\n{self.text()}")
            time.sleep(_TICK_S)

    def wait_for_gate(self, gate: str) -> None:
        """Wait until the gate is in the middle of its work."""
        self.wait(f"gate {gate}", lambda: ("gate_opened", gate) in self.events())
        moments = {
            # The hub is slow in these runs: the request is on its way.
            "auth": lambda: True,
            "venv": lambda: self.child() is not None,
            "train-300": lambda: self.beat("train", "train") >= 5,
            "eval": lambda: self.beat("eval", "decode") >= 0,
        }
        self.wait(f"work at gate {gate}", moments[gate])
        time.sleep(0.3)

    def wait_for_phase(self, child: str, phase: str) -> None:
        """Wait until a child says that it is in a phase."""
        self.wait(f"phase {phase}", lambda: self.beat(child, phase) >= 0)

    def beat(self, child: str, phase: str) -> int:
        """Give how far a child's phase is; -1 when it is in another one."""
        try:
            beat = json.loads((self.folder / f"{child}.heartbeat.json").read_text())
        except (OSError, ValueError):
            return -1
        return int(beat["done"]) if str(beat["phase"]).startswith(phase) else -1

    def events(self) -> list[tuple[str, str]]:
        """Give event and gate of every entry of the journal so far."""
        try:
            lines = (self.folder / "journal.jsonl").read_text().split("\n")
        except OSError:
            return []
        entries = [json.loads(line) for line in lines[:-1]]
        return [(entry["event"], entry["gate"]) for entry in entries]

    # --- harm ----------------------------------------------------------------------------------

    def child(self) -> int | None:
        """Find the process of m43.training that this run has started."""
        return next((pid for pid, command in processes() if self._is_child(pid, command)), None)

    def _is_child(self, pid: int, command: bytes) -> bool:
        return b"m43.training" in command and parent_of(pid) == self.process.pid

    def kill_child(self) -> None:
        """Have the child killed by somebody else."""
        pid = self.child()
        assert pid is not None, "there is no child to kill"
        os.kill(pid, signal.SIGKILL)

    # --- the end -------------------------------------------------------------------------------

    def end(self, seconds: float = PATIENCE_S) -> int:
        """Wait for the end of pytest and give its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the run did not end:\n{self.text()}") from None

    def text(self) -> str:
        """Give everything that the run has printed."""
        return self.output.read_text(errors="replace")

    def stop(self) -> None:
        """Leave nothing running, whatever the test did."""
        for pid in survivors(self.tree.root):
            os.kill(pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def start(
    tree: FaultTree,
    *,
    name: str = "a-run",
    marker: str = "rehearsal",
    output: str = "output.txt",
    before: Sequence[str] = (),
    **variables: str,
) -> Rehearsal:
    """Start a run in a tree; `before` are words before its command."""
    printed = tree.root.parent / output
    with printed.open("wb") as file:
        process = subprocess.Popen(
            [*before, *command(tree, name, marker)],
            cwd=tree.root,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Rehearsal(tree=tree, process=process, output=printed, name=name)


def command(tree: FaultTree, name: str, marker: str = "rehearsal") -> list[str]:
    """Give the command line of a run."""
    words = [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", "acceptance"]
    return [*words, "-m", marker, "--m43-profile", str(tree.profile), "--m43-run", name]


def processes() -> Iterator[tuple[int, bytes]]:
    """List the processes of this machine with their command lines."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield int(folder.name), (folder / "cmdline").read_bytes()
            except OSError:
                continue


def parent_of(pid: int) -> int:
    """Give a process's parent; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError):
        return 0


def survivors(root: Path) -> list[int]:
    """List what still runs for a tree: by its command line, its folder or its environment."""
    found = []
    for pid, command_line in processes():
        if pid == os.getpid():
            continue
        try:
            folder = Path(f"/proc/{pid}/cwd").readlink()
            variables = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        needle = str(root).encode()
        if needle in command_line or folder == root or needle in variables:
            found.append(pid)
    return found
