"""What is done to a run by two processes that mpirun started, and what it leaves. `make launchers`.

In each case one document, no process left, and the process named that failed first.
"""

import os
import signal
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from m43.errors import FailureClass as F
from m43.records.run_dir import RunDir
from tests.faults.rehearsal import processes
from tests.faults.small_disk import SmallDisk
from tests.faults.tree import FaultTree
from tests.launch.many import FROM_THE_BEGINNING_S, MPIRUN, Started, ended, process_of

pytestmark = pytest.mark.timeout(1800)
# The first of two alone: what starts it starts no other.
FIRST_ALONE = (
    "env", "JAX_COORDINATOR_ADDRESS=127.0.0.1:28431", "JAX_NUM_PROCESSES=2", "JAX_PROCESS_ID=0",
)  # fmt: skip
OTHER_FILE = ("sh", str(Path(__file__).with_name("other_file.sh")))


@pytest.mark.parametrize(
    ("number", "harm", "words"),
    [
        (1, signal.SIGKILL, "process 1; the launcher ended with exit status 137"),
        (1, signal.SIGSTOP, "without a record of their end: process"),
        (0, signal.SIGKILL, "without a record of their end: process 0"),
    ],
    ids=["killed", "stopped", "first-killed"],
)
def test_a_process_that_is_lost_is_named(
    begin: Started, tree: FaultTree, number: int, harm: signal.Signals, words: str
) -> None:
    """Killed, and stopped: the other is ended, by mpirun or by jax's heartbeats."""
    rehearsal = begin(*MPIRUN)
    rehearsal.wait_for_gate("train-300")
    os.kill(process_of(tree, number), harm)
    failure_class, text = ended(rehearsal)
    assert failure_class is F.PROCESS_LOST
    assert words in text


@pytest.mark.parametrize(
    ("harm", "failure_class", "words"),
    [
        ("raise", F.HARNESS_ERROR, "process 1 of 2: RuntimeError: planted"),
        ("memory-error", F.OUT_OF_HOST_MEMORY, "process 1 of 2: MemoryError: planted"),
        ("memory", F.OUT_OF_DEVICE_MEMORY, "process 1 of 2: JaxRuntimeError: RESOURCE_EXHAUSTED"),
    ],
    ids=["raises", "host-memory", "device-memory"],
)
def test_a_process_that_fails_by_itself_is_the_first_cause(
    begin: Started, tree: FaultTree, harm: str, failure_class: F, words: str
) -> None:
    """What the other says of a lost connection explains nothing."""
    tree.sabotage(f"{harm} 7 1")
    found, text = ended(begin(*MPIRUN), FROM_THE_BEGINNING_S)
    assert found is failure_class
    assert words in text


def test_a_process_that_does_not_come_to_the_collective_is_seen_in_the_stacks(
    begin: Started, tree: FaultTree
) -> None:
    """It lives and beats: jax would wait for ever, and m43's limit of silence ends both."""
    tree.sabotage("hang 7 1")
    found, _ = ended(begin(*MPIRUN, deadlines__silence_s=30.0), FROM_THE_BEGINNING_S)
    assert found is F.HUNG
    stacks = RunDir(tree.folder_of("a-run")).stacks("train").read_text()
    assert "wait_for_what_never_comes" in stacks


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
    failure_class, text = ended(begin(*FIRST_ALONE, meet_s=5.0), FROM_THE_BEGINNING_S)
    assert failure_class is F.PROCESSES_MISSING
    assert "process 0 of 2 alone, or not with all, after 5 s" in text


def test_one_process_more_than_promised_is_refused(begin: Started) -> None:
    """Each sees it by itself, and none waits for another."""
    three = ("mpirun", "-n", "3", *MPIRUN[3:])
    failure_class, text = ended(begin(*three), FROM_THE_BEGINNING_S)
    assert failure_class is F.PROCESSES_DISAGREE
    assert "of 3, expected 2 processes, as the contract promises" in text


def test_a_launcher_that_fails_is_named_with_its_status(begin: Started) -> None:
    """It starts nothing and says nothing."""
    failure_class, text = ended(begin("false"), FROM_THE_BEGINNING_S)
    assert failure_class is F.PROCESSES_MISSING
    assert "process 0, 1; the launcher ended with exit status 1" in text


def _jax_metadata(tree: FaultTree) -> Path:
    return Path(str(metadata.distribution("jax").locate_file(
        f"jax-{metadata.version('jax')}.dist-info/METADATA")))  # fmt: skip


@pytest.mark.parametrize(
    ("file", "script", "fact"),
    [
        ("submission_runs/a-run/contract.lock.json", "1s/{/{ /", "profile_sha256"),
        ("acceptance/data/train.jsonl", "$d", "train_rows_sha256"),
        ("jax", "s/^Version: .*/Version: 0.10.99/", "packages_sha256"),
    ],
    ids=["profile", "rows", "jax"],
)
def test_a_process_with_another_file_is_refused_before_the_first_step(
    begin: Started, tree: FaultTree, file: str, script: str, fact: str
) -> None:
    """Its host has a profile, rows or packages of its own: what differs is named."""
    path = _jax_metadata(tree) if file == "jax" else tree.root / file
    found, text = ended(begin(*MPIRUN, *OTHER_FILE, str(path), script), FROM_THE_BEGINNING_S)
    assert found is F.PROCESSES_DISAGREE
    assert fact in text
    assert not RunDir(tree.folder_of("a-run")).metrics.exists()


def test_a_process_with_other_code_ends_before_it_runs_a_line_of_it(
    begin: Started, tree: FaultTree
) -> None:
    """It knows the digest of what m43 handed over."""
    path = RunDir(tree.folder_of("a-run")).handed_code
    words = (*MPIRUN, *OTHER_FILE, str(path), "s/the run folder/another folder/")
    found, text = ended(begin(*words), FROM_THE_BEGINNING_S)
    assert found is F.PROCESSES_MISSING
    assert f"{path.name} is not what m43 wrote" in text


def test_a_full_disk_of_one_process_is_the_first_cause(begin: Started, tree: FaultTree) -> None:
    """The disk of its own records, on which it can still say so."""
    rehearsal = begin(*MPIRUN)
    own = rehearsal.folder / RunDir.processes.name / "1"
    rehearsal.wait("the run folder", rehearsal.folder.exists)
    own.parent.mkdir(exist_ok=True)
    try:
        with SmallDisk(own, size_bytes=1 << 20) as disk:
            rehearsal.wait_for_gate("train-300")
            disk.fill()
            found, text = ended(rehearsal, FROM_THE_BEGINNING_S)
    finally:
        subprocess.run(["umount", "-l", str(own)], check=False, capture_output=True)
    assert found is F.DISK_FULL
    assert "process 1 of 2" in text
