"""The disk is full, or takes nothing: before the run, at each kind of file, at the very end."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import matrix, record
from tests.faults.conftest import Starter
from tests.faults.matrix import Case
from tests.faults.record import Row
from tests.faults.rehearsal import Rehearsal
from tests.faults.remains import examine, no_survivors
from tests.faults.small_disk import SmallDisk, bind, make_immutable, unbind
from tests.faults.tree import FaultTree

# Less than the toy's weights, more than everything else that training writes.
_LESS_THAN_THE_MODEL = 1 << 20


def case_of(fault: str) -> Case:
    """Find a case by its fault."""
    (case,) = (case for case in matrix.DISK if case.fault == fault)
    return case


def refused(fault: str) -> Row:
    """Make the line of a run that was refused before it left anything."""
    case, nothing = case_of(fault), "none"
    return Row(
        case=case.id,
        exit=str(case.status),
        failure_class="refused, in the terminal",
        document="none: there is no run folder",
        journal=nothing,
        closed_by="nothing to close",
        orphans="0",
        half_files="0",
    )


@pytest.fixture
def disk(tree: FaultTree) -> Iterator[SmallDisk]:
    """Have the tree's runs on a small disk."""
    SmallDisk.require(tree.root.parent)
    with SmallDisk(tree.runs) as mounted:
        yield mounted


@pytest.fixture
def temporary(tree: FaultTree) -> Iterator[SmallDisk]:
    """Have a small disk for temporary files alone."""
    SmallDisk.require(tree.root.parent)
    with SmallDisk(tree.root.parent / "temporary") as mounted:
        yield mounted


@pytest.fixture
def elsewhere(begin: Starter, temporary: SmallDisk) -> Iterator[Starter]:
    """Start runs whose temporary files lie there, and end them before it is taken away."""
    yield begin
    for rehearsal in begin.started:
        rehearsal.stop()


@pytest.fixture
def small(begin: Starter, disk: SmallDisk) -> Iterator[Starter]:
    """Start runs on the small disk, and end them before it is taken away."""
    yield begin
    for rehearsal in begin.started:
        rehearsal.stop()


def test_a_full_disk_refuses_the_run_without_a_trace(small: Starter, disk: SmallDisk) -> None:
    """There is not even room for the last words of a run, so it does not begin."""
    disk.fill()
    rehearsal = small()
    status = rehearsal.end()
    assert status == case_of("disk full before the run").status
    assert "No space left on device" in rehearsal.text()
    assert not rehearsal.folder.exists()
    no_survivors(small.tree)
    record.add(refused("disk full before the run"))


def test_a_read_only_disk_refuses_the_run(small: Starter, disk: SmallDisk) -> None:
    """Nothing can be written, so nothing is begun, and the message says why."""
    disk.make_read_only()
    rehearsal = small()
    assert rehearsal.end() == case_of("read-only before the run").status
    assert "Read-only file system" in rehearsal.text()
    assert list(disk.folder.iterdir()) == []
    no_survivors(small.tree)
    record.add(refused("read-only before the run"))


def fill_at_the_records(rehearsal: Rehearsal, disk: SmallDisk) -> None:
    """Leave no room for what the venv gate measures."""
    rehearsal.wait_for_gate("venv")
    disk.fill()


def take_inodes_at_the_records(rehearsal: Rehearsal, disk: SmallDisk) -> None:
    """Leave bytes, and no name for what the venv gate measures."""
    rehearsal.wait_for_gate("venv")
    disk.take_inodes()


def fill_at_the_metrics(rehearsal: Rehearsal, disk: SmallDisk) -> None:
    """Leave no room for the next steps."""
    rehearsal.wait_for_gate("train-300")
    disk.fill()


def fill_at_the_model(rehearsal: Rehearsal, disk: SmallDisk) -> None:
    """Leave room for steps, and none for the weights."""
    rehearsal.wait_for_gate("train-300")
    disk.fill(but_bytes=_LESS_THAN_THE_MODEL)


@pytest.mark.parametrize(
    ("fault", "fill"),
    [
        ("disk full at the records", fill_at_the_records),
        ("no inode left at the records", take_inodes_at_the_records),
        ("disk full at the metrics", fill_at_the_metrics),
        ("disk full at the model", fill_at_the_model),
    ],
)
def test_a_disk_that_fills_up_is_named_by_the_run_itself(
    small: Starter, disk: SmallDisk, fault: str, fill: Callable[[Rehearsal, SmallDisk], None]
) -> None:
    """The reserve pays for the last words: closed by the run itself, while the disk is full."""
    # 200 steps of a toy can be over before anybody has filled a disk.
    small.tree.sabotage("dawdle 0.05")
    rehearsal = small()
    fill(rehearsal, disk)
    status = rehearsal.end()
    matrix.enter(case_of(fault), examine(rehearsal, status))


def test_a_full_disk_of_temporary_files_is_named(elsewhere: Starter, temporary: SmallDisk) -> None:
    """The run folder has room; what a gate hands to a child, and the hub's cache, have none."""
    rehearsal = elsewhere(TMPDIR=str(temporary.folder))
    rehearsal.wait_for_gate("venv")
    temporary.fill()
    status = rehearsal.end()
    assert "Traceback" not in rehearsal.text()
    matrix.enter(case_of("TMPDIR full"), examine(rehearsal, status))


def test_a_disk_that_fills_up_behind_the_seal_costs_no_verdict(
    small: Starter, disk: SmallDisk
) -> None:
    """The analysis that lies there stays true; with room again the summary follows."""
    rehearsal = small()
    rehearsal.wait("the seal", lambda: ("sealed", "") in rehearsal.events())
    disk.shrink()
    status = rehearsal.end()
    assert (rehearsal.folder / "failure_analysis.md").exists()
    assert "No space left on device" in rehearsal.text()
    disk.grow()
    matrix.enter(case_of("disk full at the documents"), examine(rehearsal, status))


def test_a_journal_that_fills_up_alone_is_never_torn(
    small: Starter, disk: SmallDisk, tmp_path: Path
) -> None:
    """The line that has no room leaves no half of itself, and no later one follows it."""
    with SmallDisk(tmp_path / "tiny", size_bytes=8192) as tiny:
        rehearsal = small()
        rehearsal.wait_for_gate("venv")
        journal, copy = rehearsal.folder / "journal.jsonl", tiny.folder / "journal.jsonl"
        shutil.copyfile(journal, copy)
        tiny.fill()
        bind(copy, journal)
        try:
            status = rehearsal.end()
            whole = journal.read_bytes()
        finally:
            unbind(journal)
    journal.write_bytes(whole)
    assert whole.endswith(b"\n")
    assert "No space left on device" in rehearsal.text()
    matrix.enter(case_of("disk full at the journal"), examine(rehearsal, status))


def test_a_run_folder_that_takes_no_names_is_named(small: Starter, disk: SmallDisk) -> None:
    """Its journal still takes lines, and says so; the document follows with the next command."""
    rehearsal = small()
    rehearsal.wait_for_gate("train-300")
    make_immutable(rehearsal.folder, yes=True)
    try:
        status = rehearsal.end()
    finally:
        make_immutable(rehearsal.folder, yes=False)
    no_survivors(rehearsal.tree)
    case = case_of("folder takes no names from training on")
    matrix.enter(case, examine(rehearsal, status, case.closer))
