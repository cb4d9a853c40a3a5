"""A power cut: after any prefix of its writes, a run closes to a true document."""

import functools
import shutil
from pathlib import Path

import pytest

from m43.evidence.documents import write
from m43.evidence.journal import journal, ledger
from m43.harness.run import recovery
from m43.harness.run.recovery import Recovered
from m43.records.run_dir import RunDir
from tests.faults import record, recorder
from tests.faults.conftest import Starter
from tests.faults.matrix import PRETENDED_CUT, REAL_CUT
from tests.faults.record import Row
from tests.faults.remains import assert_supported, assert_true, whole_entries
from tests.faults.replay import Operation, apply, copied, moments, read_trace, torn
from tests.faults.tree import FaultTree


@pytest.fixture(autouse=True)
def _drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most prefixes have a curve in common, and drawing takes longer than all the rest."""
    drawn = functools.lru_cache(maxsize=None)(write.loss_curve_svg)
    monkeypatch.setattr(write, "loss_curve_svg", drawn)


@pytest.fixture
def trace(tree: FaultTree, begin: Starter, case: str) -> tuple[Operation, ...]:
    """Make a run that records its writes; its training is real, or pretended for quickness."""
    if case == PRETENDED_CUT:
        tree.with_quick_child()
    shutil.copy2(recorder.__file__, tree.root / "m43" / "recorder.py")
    start = tree.root / "m43" / "__init__.py"
    start.write_text(f"{start.read_text()}\nfrom m43 import recorder\n\nrecorder.record()\n")
    rehearsal = begin()
    assert rehearsal.end() == 0, rehearsal.text()
    return read_trace(tree.root.parent / "trace.jsonl")


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("case", [REAL_CUT, pytest.param(PRETENDED_CUT, marks=pytest.mark.quick)])
def test_a_power_cut_at_any_write_closes_to_a_true_document(
    case: str, tree: FaultTree, trace: tuple[Operation, ...], tmp_path: Path
) -> None:
    """After each write, and in the middle of it; with a summary only behind the seal."""
    runs, left = tmp_path / "replayed", tmp_path / "cut"
    runs.mkdir()
    chosen = set(moments(trace, stride=20))
    verdicts: list[bool] = []
    for number, operation in enumerate(trace, start=1):
        if number in chosen and operation.op == "write":
            copied(runs, left)
            apply(torn(operation), left)
            verdicts.append(closes(left, tree))
        apply(operation, runs)
        if number in chosen:
            verdicts.append(closes(copied(runs, left), tree))
    assert contents(runs / "a-run") == contents(tree.folder_of("a-run"))
    assert len(verdicts) > 100
    # Behind the seal all is kept and only the last words are missing; before it nothing is.
    assert verdicts == sorted(verdicts)
    assert verdicts[-1]
    record.add(cut(case, verdicts, len(trace)))


def cut(case: str, verdicts: list[bool], writes: int) -> Row:
    """Make the line of a run that was cut off at each of its moments."""
    accepted = sum(verdicts)
    return Row(
        case=case,
        exit="none: the power went",
        failure_class="interrupted, or cut off behind the seal",
        document=f"failure_analysis.md {len(verdicts) - accepted} times, a summary {accepted}",
        journal=f"whole and closed after each of {len(verdicts)} prefixes of {writes} writes",
        closed_by="the next command",
        orphans="0",
        half_files="0 under a name",
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def closes(runs: Path, tree: FaultTree) -> bool:
    """Close what a cut left, as the next run does, look at it, and tell whether it is accepted."""
    folder = runs / "a-run"
    if not folder.exists():
        assert recovery.close_cut_off(runs) == Recovered()
        return False
    run = RunDir(folder)
    events = [entry.event for entry in whole_entries(run)]
    had_its_document = run.failure_analysis.exists() or run.summary.exists()
    assert had_its_document or "gate_opened" not in events
    itself = recovery.is_closed(run)
    recovery.close_cut_off(runs)
    assert_true(run, tidy=not itself)
    if "opened" in events:
        assert_supported(run, tree)
    (attempt,) = ledger.read(runs / "attempts.jsonl")
    assert attempt.run == "a-run"
    accepted = run.summary.exists()
    assert not accepted or "sealed" in [entry.event for entry in journal.read(run.journal)]
    return accepted
