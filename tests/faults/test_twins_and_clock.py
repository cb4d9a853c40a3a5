"""Two runs begun at once, and a clock that is set back: neither makes a document untrue."""

import re
import shutil
from dataclasses import replace

import pytest

from m43.evidence.journal import ledger
from tests.faults import matrix, record
from tests.faults.conftest import Starter
from tests.faults.rehearsal import start
from tests.faults.remains import examine, examine_folder
from tests.faults.tree import FaultTree

SET_BACK = '''
def utc_now() -> datetime:
    """Give the time of a clock that is set back by an hour in the middle of the run."""
    middle = any(Path("submission_runs").glob("*/venv.json"))
    return datetime.now(UTC) - timedelta(hours=1) * middle
'''


@pytest.mark.quick
@pytest.mark.parametrize("names", matrix.TWINS, ids=matrix.twins)
def test_two_production_runs_at_once_are_one(
    tree: FaultTree, begin: Starter, names: tuple[str, str]
) -> None:
    """Under one name or two: one runs, the other is refused and leaves no trace of its own."""
    shutil.copy2(tree.root / "acceptance" / "production.toml", tree.profile)
    twins = [
        start(tree, name=name, marker="production", output=f"{number}.txt")
        for number, name in enumerate(names)
    ]
    begin.started += twins
    statuses = sorted(twin.end() for twin in twins)
    (folder,) = (path for path in tree.runs.iterdir() if path.is_dir())
    remains = examine_folder(tree, folder, 1)
    assert statuses == [1, 4], "".join(twin.text() for twin in twins)
    assert remains.failure_class == "no token"
    assert len(ledger.read(tree.runs / "attempts.jsonl")) == 1
    refused = next(twin for twin in twins if twin.process.returncode == 4)
    assert re.search("earlier attempt|a run that is going on", refused.text())
    both = replace(matrix.row(matrix.twins(names), remains), exit="1 and 4 (refused, no trace)")
    record.add(both)


@pytest.mark.quick
def test_without_a_fault_a_run_is_accepted(tree: FaultTree, begin: Starter) -> None:
    """The copy, its short profile and its child are good: what fails elsewhere is the fault."""
    rehearsal = begin()
    status = rehearsal.end()
    assert status == 0, rehearsal.text()
    remains = examine(rehearsal, status)
    assert remains.documents == ("fault_summary.md",)
    record.add(matrix.row(matrix.NO_FAULT, remains))


@pytest.mark.quick
def test_a_clock_that_is_set_back_spoils_no_duration(tree: FaultTree, begin: Starter) -> None:
    """What took how long comes from a clock that only goes forward."""
    tree.with_quick_child()
    path = tree.root / "m43" / "evidence" / "journal" / "journal.py"
    whole, count = re.subn(r"(?s)def utc_now\(\).*?(?=\n\n\n)", SET_BACK.strip(), path.read_text())
    assert count == 1
    path.write_text(whole)
    rehearsal = begin()
    status = rehearsal.end()
    assert status == 0, rehearsal.text()
    remains = examine(rehearsal, status)
    summary = (rehearsal.folder / "fault_summary.md").read_text()
    assert remains.documents == ("fault_summary.md",)
    assert "The clock was set back" not in summary
    assert not re.search(r"-\d+\.\d s", summary)
    record.add(matrix.row(matrix.CLOCK, remains))
