"""How often a run reads its own folder: once by each gate, and what it read is judged once."""

from collections import Counter
from pathlib import Path

import pytest

from m43.evidence.contract.contract import read_contract
from tests.unit.evidence.good_records import CONTRACT
from tests.unit.harness.copied_tree import CopiedTree

# What is written down of each call: in the copy of m43 that runs, and by its own process alone.
_NOTE = "    with open({log!r}, 'a') as log: log.write({words} + '\\n')\n"


def note_calls(tree: CopiedTree, module: str, line: str, words: str, log: Path) -> None:
    """Have a function of the copy note that it was called, above a line of it."""
    path = tree.root / "m43" / module
    text = path.read_text()
    assert text.count(line) == 1
    path.write_text(text.replace(line, _NOTE.format(log=str(log), words=words) + line))


@pytest.fixture
def noted(copied_tree: CopiedTree, tmp_path: Path) -> list[str]:
    """Make a whole run, and give what it noted, in order."""
    log = tmp_path / "calls"
    last_event = "'read after ' + ' '.join(run.journal.read_text().split('\"event\":\"')[-1:])"
    loaded_run, measurement = "evidence/run/loaded_run.py", "evidence/contract/measurement.py"
    note_calls(copied_tree, loaded_run, "    reading = _Reading()\n", last_event, log)
    line = "    expected = tuple(asserted.source for asserted in promise.asserts)\n"
    note_calls(copied_tree, measurement, line, "'measure ' + promise.name", log)
    result = copied_tree.pytest("acceptance", "-m", "rehearsal")
    assert result.returncode == 0, result.stdout + result.stderr
    return log.read_text().splitlines()


def test_a_run_reads_its_folder_once_by_each_gate(noted: list[str]) -> None:
    """Seven times: before the first gate, when each of five has measured, and when it is sealed.

    The first tells a document what was true before any gate; the last is what is judged, because
    it is read when nothing is added any more.
    """
    readings = [line for line in noted if line.startswith("read after ")]
    opened = [line.split('"gate":"')[1].split('"')[0] for line in readings if "gate_opened" in line]
    assert readings[0].startswith('read after opened"')
    assert opened == ["auth", "venv", "train-300", "eval", "closing"]
    assert readings[-1].startswith('read after sealed"')
    assert len(readings) == 7


def test_what_was_read_is_judged_once(noted: list[str]) -> None:
    """Each promise is held against the records once for each reading, whoever writes of it."""
    measured = Counter(line for line in noted if line.startswith("measure "))
    assert set(measured) == {f"measure {name}" for name in read_contract(CONTRACT).names}
    assert set(measured.values()) == {7}
