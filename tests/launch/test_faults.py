"""What is done to a run by two processes that mpirun started, and what it leaves. `make launchers`.

In each case one document, no process left, and the process named that failed first.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from m43.errors import FailureClass as F
from m43.evidence.diagnosis.diagnosis import diagnose_loaded
from m43.evidence.run.loaded_run import load_run
from m43.records.run_dir import RunDir
from tests.faults.rehearsal import Rehearsal, processes, start, survivors
from tests.faults.remains import assert_one_document
from tests.faults.tree import FaultTree

pytestmark = pytest.mark.timeout(1800)
MPIRUN = ("mpirun", "-n", "2", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none")
# The first of two alone: what starts it starts no other.
FIRST_ALONE = (
    "env", "JAX_COORDINATOR_ADDRESS=127.0.0.1:28431", "JAX_NUM_PROCESSES=2", "JAX_PROCESS_ID=0",
)  # fmt: skip
# Of heartbeats, of the launcher and of m43, on a machine that does something else as well.
WITHIN_S = 60.0


class Started:
    """Starts runs by two processes, and leaves nothing of them running."""

    def __init__(self, tree: FaultTree) -> None:
        self._tree = tree
        self.rehearsal: Rehearsal | None = None

    def __call__(self, *launcher: str, meet_s: float = 120.0) -> Rehearsal:
        """Start a run."""
        self._tree.write_profile()
        text = self._tree.profile.read_text()
        assert "devices = 1\n" in text
        words = ", ".join(f'"{word}"' for word in launcher)
        self._tree.profile.write_text(
            text.replace("devices = 1\n", "devices = 2\nprocesses = 2\n")
            + f"\n[mesh]\nfsdp = 2\n\n[launch]\ncommand = [{words}]\n"
            f"meet_s = {meet_s}\nheartbeat_s = 10.0\n"
        )
        self.rehearsal = start(self._tree)
        return self.rehearsal


@pytest.fixture
def begin(tree: FaultTree) -> Iterator[Started]:
    """Give what starts a run."""
    started = Started(tree)
    yield started
    if started.rehearsal is not None:
        started.rehearsal.stop()


def second(tree: FaultTree) -> int:
    """Find the second of the two processes of a run."""
    for pid, command in processes():
        if b"m43.training.__main__" not in command or str(tree.root).encode() not in command:
            continue
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if b"OMPI_COMM_WORLD_RANK=1" in variables:
            return pid
    raise AssertionError("there is no second process")


def ended(rehearsal: Rehearsal, within_s: float = WITHIN_S) -> tuple[F, str]:
    """Wait for the end; return the class of the failure, and all that the document says."""
    begun = time.monotonic()
    assert rehearsal.end() == 1
    assert time.monotonic() - begun < within_s
    assert survivors(rehearsal.tree.root) == []
    run = RunDir(rehearsal.folder)
    assert_one_document(run)
    found = diagnose_loaded(load_run(run)).failure_class
    return found, run.failure_analysis.read_text()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (signal.SIGKILL, "process 1; the launcher ended with exit status 137"),
        (signal.SIGSTOP, "without a record of their end: process"),
    ],
    ids=["killed", "stopped"],
)
def test_a_process_that_is_lost_is_named(
    begin: Started, tree: FaultTree, harm: signal.Signals, words: str
) -> None:
    """Killed, and stopped: the other is ended, by mpirun or by jax's heartbeats."""
    rehearsal = begin(*MPIRUN)
    rehearsal.wait_for_gate("train-300")
    os.kill(second(tree), harm)
    failure_class, text = ended(rehearsal)
    assert failure_class is F.PROCESS_LOST
    assert words in text


def test_a_launcher_that_is_killed_leaves_no_process(begin: Started) -> None:
    """Its processes go with it, and nobody is blamed for what they noticed."""
    rehearsal = begin(*MPIRUN)
    rehearsal.wait_for_gate("train-300")
    launcher = next(pid for pid, command in processes() if command.startswith(b"mpirun\0")
                    and str(rehearsal.tree.root).encode() in command)  # fmt: skip
    os.kill(launcher, signal.SIGKILL)
    failure_class, _ = ended(rehearsal)
    assert failure_class is F.KILLED


def test_a_process_that_never_comes_is_not_waited_for_longer(begin: Started) -> None:
    """The one that came says for how long, and where."""
    failure_class, text = ended(begin(*FIRST_ALONE, meet_s=5.0), within_s=600.0)
    assert failure_class is F.PROCESSES_MISSING
    assert "process 0 of 2 alone, or not with all, after 5 s" in text


def test_a_launcher_that_fails_is_named_with_its_status(begin: Started) -> None:
    """It starts nothing and says nothing."""
    failure_class, text = ended(begin("false"), within_s=600.0)
    assert failure_class is F.PROCESSES_MISSING
    assert "process 0, 1; the launcher ended with exit status 1" in text
