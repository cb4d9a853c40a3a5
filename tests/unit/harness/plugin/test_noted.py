"""A dependency that warns ends no gate: it is noted, redacted, and judged by nobody."""

import json

import pytest

from m43.harness.plugin.noted import Noted
from m43.records.run_dir import RunDir, read_record
from m43.records.run_records import NotedRecord
from tests.unit.harness.conftest import TOKEN
from tests.unit.harness.copied_tree import CopiedTree

# What closing calls in the middle of its measurement, and what a test's setup calls.
DEPENDENCY = f"""
import os, sys, warnings
_scandir = os.scandir
def warning_scandir(*arguments):
    warnings.warn("scandir of {TOKEN} is old", DeprecationWarning, stacklevel=1)
    return _scandir(*arguments)
os.scandir = warning_scandir

@pytest.fixture(autouse=True)
def talkative():
    sys.stderr.write("\\x1b[31ma library says {TOKEN}\\n")
    os.write(2, b"and so does its native half\\n")
"""


@pytest.mark.parametrize(
    "variables",
    [
        {"HF_HUB_ENABLE_HF_TRANSFER": "1"},
        {"HF_HUB_ENABLE_HF_TRANSFER": "1", "PYTHONWARNINGS": "error"},
        {"HF_HUB_ENABLE_HF_TRANSFER": "1", "PYTEST_ADDOPTS": "-W error"},
    ],
)
def test_a_warning_of_a_dependency_is_noted_and_stops_nothing(
    copied_tree: CopiedTree, variables: dict[str, str]
) -> None:
    """Whatever the shell makes of warnings; the token in one of them is written nowhere."""
    conftest = copied_tree.root / "acceptance" / "conftest.py"
    conftest.write_text(conftest.read_text() + DEPENDENCY)
    result = copied_tree.pytest("acceptance", "-m", "rehearsal", **variables)
    assert result.returncode == 0, result.stdout + result.stderr
    assert TOKEN not in result.stdout + result.stderr
    assert "judged by nobody, listed in the documents" in result.stdout
    (run,) = (RunDir(path) for path in copied_tree.runs.iterdir() if path.is_dir())
    noted = read_record(run.noted, NotedRecord)
    assert any(
        text.startswith("DeprecationWarning: scandir of ") and "acceptance/conftest.py:" in text
        for text in noted.warnings
    )
    assert "and so does its native half" in noted.stderr
    assert any(text.startswith("a library says ") for text in noted.stderr)
    for document in (run.noted, run.summary, run.report):
        text = document.read_text()
        assert TOKEN not in text
        assert "and so does its native half" in text
    assert "noted.json" in run.manifest.read_text()


def test_a_run_in_which_nothing_came_up_says_nothing_of_it(copied_tree: CopiedTree) -> None:
    """No file, and no empty section."""
    assert copied_tree.pytest("acceptance", "-m", "rehearsal").returncode == 0
    (run,) = (RunDir(path) for path in copied_tree.runs.iterdir() if path.is_dir())
    assert not run.noted.exists()
    assert "were noted" not in run.summary.read_text()


def test_the_notes_are_bounded(tmp_path: pytest.TempPathFactory) -> None:
    """A library that talks without end fills neither the disk nor a document."""
    run = RunDir(tmp_path)  # type: ignore[arg-type]
    noted = Noted()
    noted.begin(run, lambda: ("a secret of some length",))
    report = pytest.TestReport("x", ("x", 0, "x"), {}, "passed", None, "call")
    talk = "".join(f"line {number} {'x' * 9999}\n" for number in range(500))
    report.sections = [("Captured stderr call", f"a secret of some length\n{talk}")]
    steps = noted.pytest_runtest_makereport(pytest.CallInfo.from_call(lambda: None, "call"))
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(report)
    record = json.loads(run.noted.read_text())
    assert len(record["stderr"]) == 40
    assert max(map(len, record["stderr"])) == 400
    assert record["left_out"] == 461
    assert "a secret" not in run.noted.read_text()
