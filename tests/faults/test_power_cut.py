"""A power cut: after any prefix of its writes, a run closes to a true document."""

import functools
import shutil
from pathlib import Path

import pytest

from m43.evidence import documents, journal, ledger
from m43.evidence.dossier import read_dossier
from m43.evidence.entry import Entry
from m43.harness import recovery
from m43.harness.recovery import Recovered
from m43.run_dir import RunDir
from tests.faults import matrix, recorder
from tests.faults.conftest import Starter
from tests.faults.remains import assert_supported, assert_true
from tests.faults.replay import Operation, apply, copied, moments, read_trace, torn
from tests.faults.tree import FaultTree


@pytest.fixture(autouse=True)
def _drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most prefixes have a curve in common, and drawing takes longer than all the rest."""
    drawn = functools.lru_cache(maxsize=None)(documents.loss_curve_svg)
    monkeypatch.setattr(documents, "loss_curve_svg", drawn)


@pytest.fixture(params=[pytest.param("pretended", marks=pytest.mark.quick), "real"])
def trace(tree: FaultTree, begin: Starter, request: pytest.FixtureRequest) -> tuple[Operation, ...]:
    """Make a run that records its writes; its training is real, or pretended for quickness."""
    if request.param == "pretended":
        tree.with_quick_child()
    shutil.copy2(recorder.__file__, tree.root / "m43" / "recorder.py")
    start = tree.root / "m43" / "__init__.py"
    start.write_text(f"{start.read_text()}\nfrom m43 import recorder\n\nrecorder.record()\n")
    rehearsal = begin()
    assert rehearsal.end() == 0, rehearsal.text()
    return read_trace(tree.root.parent / "trace.jsonl")


@pytest.mark.timeout(2400)
def test_a_power_cut_at_any_write_closes_to_a_true_document(
    tree: FaultTree, trace: tuple[Operation, ...], tmp_path: Path
) -> None:
    """After each write, and in the middle of it; with a summary only behind the seal."""
    runs, cut = tmp_path / "replayed", tmp_path / "cut"
    runs.mkdir()
    chosen = set(moments(trace, stride=20))
    verdicts: list[bool] = []
    for number, operation in enumerate(trace, start=1):
        if number in chosen and operation.op == "write":
            copied(runs, cut)
            apply(torn(operation), cut)
            verdicts.append(closes(cut, tree))
        apply(operation, runs)
        if number in chosen:
            verdicts.append(closes(copied(runs, cut), tree))
    assert contents(runs / "a-run") == contents(tree.folder_of("a-run"))
    matrix.note(f"power cut: closed after {len(verdicts)} prefixes of {len(trace)} writes")
    assert len(verdicts) > 100
    # Behind the seal all is kept and only the last words are missing; before it nothing is.
    assert verdicts == sorted(verdicts)
    assert verdicts[-1]


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
    begun = "opened" in [entry.event for entry in whole(run)]
    had_its_document = run.failure_analysis.exists() or run.summary.exists()
    assert had_its_document or not any(entry.event == "gate_opened" for entry in whole(run))
    itself = recovery.is_closed(run)
    recovery.close_cut_off(runs)
    assert_true(run, tidy=not itself)
    if begun:
        assert_supported(run, tree)
    (attempt,) = ledger.read(runs / "attempts.jsonl")
    assert attempt.run == "a-run"
    accepted = run.summary.exists()
    assert not accepted or "sealed" in [entry.event for entry in journal.read(run.journal)]
    return accepted


def whole(run: RunDir) -> tuple[Entry, ...]:
    """Read the entries of a journal that may be cut."""
    return read_dossier(run).entries
