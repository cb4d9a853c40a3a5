"""What a fault left behind, held against what must be true of every run that ended badly."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from m43.evidence import journal, ledger
from m43.evidence.chain import CutChainError
from m43.evidence.diagnosis import diagnose_dossier
from m43.evidence.documents import expected_document
from m43.evidence.dossier import read_dossier
from m43.evidence.redaction import HUB_TOKEN
from m43.evidence.verify import verify
from m43.harness.recovery import is_closed
from m43.run_dir import RunDir, unfinished
from tests.faults.rehearsal import Rehearsal, survivors
from tests.faults.tree import FaultTree

# What a run that ended early cannot support as a whole, and says so itself.
_EXPECTED_OF_A_STOP = ("records of gate",)


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What lies in a run folder at the end, as the table of cases shows it."""

    status: int
    documents: tuple[str, ...]
    failure_class: str
    gate: str
    journal_end: str  # the last event that the run itself wrote
    closed_by: str  # "itself" or "the next command"
    text: str


def examine(rehearsal: Rehearsal, status: int) -> Remains:
    """Look at what a fault left; close it as the next command does if the run could not.

    Raises: AssertionError, when any of it is not true.
    """
    return examine_folder(rehearsal.tree, rehearsal.folder, status)


def examine_folder(tree: FaultTree, folder: Path, status: int) -> Remains:
    """Look at what lies in one run folder."""
    run = RunDir(folder)
    no_survivors(tree)
    assert_one_document(run)
    last, itself = _last_event(run), is_closed(run)
    if not itself:
        result = tree.python("-m", "m43", "render", str(folder))
        assert result.returncode == 0, result.stdout + result.stderr
    assert_true(run)
    assert_supported(run, tree)
    assert_ledger(tree, run)
    found = diagnose_dossier(read_dossier(run))
    return Remains(
        status=status,
        documents=tuple(path.name for path in _documents(run)),
        failure_class=str(found.failure_class),
        gate=found.gate,
        journal_end=last,
        closed_by="itself" if itself else "the next command",
        text=run.failure_analysis.read_text() if run.failure_analysis.exists() else "",
    )


def no_survivors(tree: FaultTree) -> None:
    """Give the kernel a moment to end what is being ended; then nothing may be left."""
    patience = time.monotonic() + 10
    while survivors(tree.root) and time.monotonic() < patience:
        time.sleep(0.05)
    left = survivors(tree.root)
    assert not left, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]


def _documents(run: RunDir) -> list[Path]:
    return [path for path in (run.summary, run.failure_analysis) if path.exists()]


def assert_one_document(run: RunDir) -> None:
    """Exactly one closing document, at any moment, and whole."""
    (document,) = _documents(run)
    text = document.read_text()
    assert text.startswith("# M43")
    assert text.rstrip().splitlines()[-1]
    assert "## Impact on M42" in text


def _last_event(run: RunDir) -> str:
    try:
        entries = journal.read(run.journal)
    except CutChainError as cut:
        entries = cut.good
    return entries[-1].event if entries else "nothing"


def assert_true(run: RunDir, *, tidy: bool = True) -> None:
    """The journal is whole and closed, the document is that of the records, no file is by half.

    Behind its last line a run may still be killed over its reports, and leave what is not `tidy`:
    files that have no name of their own yet.
    """
    entries = journal.read(run.journal)
    assert [entry.event for entry in entries][-2:] == ["sealed", "closed"]
    dossier = read_dossier(run)
    name, text = expected_document(dossier)
    assert [path.name for path in _documents(run)] == [name]
    assert (run.path / name).read_text() == text
    assert not tidy or not unfinished(run.path)
    assert not run.reserve.exists()
    for path in run.path.rglob("*.json"):
        json.loads(path.read_text())
    for path in run.path.glob("*.jsonl"):
        for line in path.read_text().split("\n")[:-1]:
            json.loads(line)
    page = run.report.read_text() if run.report.exists() else "</html>"
    assert page.rstrip().endswith("</html>")
    assert_no_token(run)


def assert_no_token(run: RunDir) -> None:
    """Nothing in the folder is shaped like a token."""
    for path in run.path.rglob("*"):
        if path.is_file():
            assert not HUB_TOKEN.search(path.read_bytes()), path


def assert_supported(run: RunDir, tree: FaultTree) -> None:
    """Every word of the folder follows from its records, and every claim names evidence."""
    problems = [str(problem) for problem in verify(run.path, tree.root)]
    if not tree.trains:
        # The quick child's numbers are made up, and verify knows that they cannot be true.
        problems = [text for text in problems if "cannot all be true" not in text]
    assert not problems, "\n".join(problems)
    for claim in diagnose_dossier(read_dossier(run)).claims:
        for evidence in claim.evidence:
            assert (run.path / evidence.split(",")[0]).exists(), claim
        assert claim.evidence or claim.standing in ("unknown", "hypothesis"), claim


def assert_ledger(tree: FaultTree, run: RunDir) -> None:
    """The attempt is disclosed, once, in a ledger that is whole."""
    attempts = [attempt.run for attempt in ledger.read(tree.runs / "attempts.jsonl")]
    assert attempts.count(run.path.name) == 1
