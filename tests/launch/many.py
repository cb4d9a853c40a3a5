"""Runs by two processes in a copy of the repository: started, found, and seen to end."""

import time
from pathlib import Path

from m43.errors import FailureClass
from m43.evidence.diagnosis.diagnosis import diagnose_loaded
from m43.evidence.run.loaded_run import load_run
from m43.records.run_dir import RunDir
from tests.faults.rehearsal import Rehearsal, processes, start
from tests.faults.remains import assert_one_document, no_survivors
from tests.faults.tree import FaultTree

MPIRUN = ("mpirun", "-n", "2", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none")
# Of heartbeats, of the launcher and of m43, on a machine that does something else as well.
WITHIN_S = 60.0
# For all that comes before the fault.
FROM_THE_BEGINNING_S = 600.0
_NUMBERS = (b"OMPI_COMM_WORLD_RANK", b"JAX_PROCESS_ID")


class Started:
    """Starts runs by two processes, and leaves nothing of them running."""

    def __init__(self, tree: FaultTree) -> None:
        self.tree = tree
        self.rehearsal: Rehearsal | None = None

    def __call__(
        self,
        *launcher: str,
        meet_s: float = 120.0,
        heartbeat_s: float = 10.0,
        before: tuple[str, ...] = (),
        variables: dict[str, str] | None = None,
        **values: object,
    ) -> Rehearsal:
        """Start a run.

        Args:
            launcher: its words.
            meet_s: as in the profile.
            heartbeat_s: as there.
            before: words before pytest's.
            variables: of pytest.
            **values: of the profile.
        """
        self.tree.write_profile(**values)
        text = self.tree.profile.read_text()
        assert "devices = 1\n" in text
        words = ", ".join(f"'{word}'" for word in launcher)
        self.tree.profile.write_text(
            text.replace("devices = 1\n", "devices = 2\nprocesses = 2\n")
            + f"\n[mesh]\nfsdp = 2\n\n[launch]\ncommand = [{words}]\n"
            f"meet_s = {meet_s}\nheartbeat_s = {heartbeat_s}\n"
        )
        self.rehearsal = start(self.tree, before=before, **(variables or {}))
        return self.rehearsal

    def stop(self) -> None:
        """Leave nothing running."""
        if self.rehearsal is not None:
            self.rehearsal.stop()


def process_of(tree: FaultTree, number: int) -> int:
    """Find one of the two processes of a run."""
    for pid, command in processes():
        if b"m43.training.__main__" not in command or str(tree.root).encode() not in command:
            continue
        if command.startswith((b"mpirun\0", b"python3\0", b"env\0")):
            continue
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if any(b"%s=%d" % (name, number) in variables for name in _NUMBERS):
            return pid
    raise AssertionError(f"there is no process {number}")


def ended(rehearsal: Rehearsal, within_s: float = WITHIN_S) -> tuple[FailureClass, str]:
    """Wait for the end; return the class of the failure, and all that the document says."""
    begun = time.monotonic()
    assert rehearsal.end() == 1, rehearsal.text()
    assert time.monotonic() - begun < within_s
    no_survivors(rehearsal.tree)
    run = RunDir(rehearsal.folder)
    assert_one_document(run)
    found = diagnose_loaded(load_run(run)).failure_class
    return found, run.failure_analysis.read_text()
