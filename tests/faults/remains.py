"""What a fault left behind, held against what must be true of every run that ended badly."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from m43.evidence.diagnosis.diagnosis import diagnose_loaded
from m43.evidence.documents.write import expected_document
from m43.evidence.journal import journal, ledger
from m43.evidence.journal.chain import CutChainError, Entry
from m43.evidence.journal.secrets import holds_secret
from m43.evidence.run.loaded_run import load_run
from m43.evidence.verify.agreements import TABLE
from m43.evidence.verify.claims import verify
from m43.harness.run.recovery import is_closed
from m43.records.run_dir import RunDir, unfinished
from tests.faults.rehearsal import Rehearsal, survivors
from tests.faults.tree import FaultTree

# What a run that ended early cannot support as a whole, and says so itself.
_EXPECTED_OF_A_STOP = ("records of gate",)


# Who wrote the last line of a journal.
ITSELF, RENDER, NEXT_RUN = "itself", "m43 render", "the next run"


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What lies in a run folder at the end, as the table of cases shows it."""

    status: int
    documents: tuple[str, ...]
    failure_class: str
    gate: str
    journal_end: str  # the last that happened to the run itself, with its gate
    journal_lines: int
    closed_by: str  # the run itself, or the command that came next
    orphans: int
    unfinished: int  # files without a name of their own, before the next command
    text: str


def examine(rehearsal: Rehearsal, status: int, closer: str = RENDER) -> Remains:
    """Look at what a fault left; close it with the next command if the run could not.

    Raises: AssertionError, when any of it is not true.
    """
    return examine_folder(rehearsal.tree, rehearsal.folder, status, closer)


def examine_folder(tree: FaultTree, folder: Path, status: int, closer: str = RENDER) -> Remains:
    """Look at what lies in one run folder."""
    run = RunDir(folder)
    orphans = no_survivors(tree)
    assert_one_document(run)
    last, itself, half = _last_event(run), is_closed(run), len(unfinished(run.path))
    if not itself:
        assert_only_told(tree, run)
        close(tree, run, closer)
    assert_true(run)
    assert_supported(run, tree)
    assert_ledger(tree, run)
    found = diagnose_loaded(load_run(run))
    return Remains(
        status=status,
        documents=tuple(path.name for path in _documents(run)),
        failure_class=str(found.failure_class),
        gate=found.gate,
        journal_end=last,
        journal_lines=len(journal.read(run.journal)),
        closed_by=ITSELF if itself else closer,
        orphans=orphans,
        unfinished=half,
        text=run.failure_analysis.read_text() if run.failure_analysis.exists() else "",
    )


def assert_only_told(tree: FaultTree, run: RunDir) -> None:
    """Verify says that the run has no end, and adds nothing to it."""
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    told = tree.python("-m", "m43", "verify", str(run.path))
    assert told.returncode == 1, told.stdout + told.stderr
    assert "Traceback" not in told.stderr
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def close(tree: FaultTree, run: RunDir, closer: str) -> None:
    """Close a run with the command that comes next: render, or a new run that ends at once."""
    if closer == RENDER:
        result = tree.python("-m", "m43", "render", str(run.path))
        assert result.returncode == 0, result.stdout + result.stderr
        return
    words = ("-p", "no:hypothesispytest", "acceptance", "-m", "production")
    result = tree.python("-m", "pytest", *words, HF_HOME=str(tree.root.parent / "no-token"))
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"closed the earlier run {run.path.name}" in result.stdout


def no_survivors(tree: FaultTree) -> int:
    """Give the kernel a moment to end what is being ended; then nothing may be left."""
    patience = time.monotonic() + 10
    while survivors(tree.root) and time.monotonic() < patience:
        time.sleep(0.05)
    left = survivors(tree.root)
    assert not left, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
    return len(left)


def _documents(run: RunDir) -> list[Path]:
    return [path for path in (run.summary, run.failure_analysis) if path.exists()]


def assert_one_document(run: RunDir) -> None:
    """Exactly one closing document, at any moment, and whole."""
    (document,) = _documents(run)
    text = document.read_text()
    assert text.startswith(("# Fault ", "# Failure ", "# M43 "))
    assert text.rstrip().splitlines()[-1]
    assert "## Impact on M42" in text


def _last_event(run: RunDir) -> str:
    """Name the last thing that happened to the run itself, beside its promises and its end."""
    told = [entry for entry in whole_entries(run) if not entry.event.startswith("promise_")]
    if [entry.event for entry in told][-2:] == ["sealed", "closed"]:
        told = told[:-2]
    return f"{told[-1].event} {told[-1].gate}".rstrip() if told else "nothing"


def whole_entries(run: RunDir) -> tuple[Entry, ...]:
    """Read the entries of a journal that may be cut, or may not be there yet."""
    if not run.journal.exists():
        return ()
    try:
        return journal.read(run.journal)
    except CutChainError as cut:
        return cut.good


def assert_true(run: RunDir, *, tidy: bool = True) -> None:
    """The journal is whole and closed, the document is that of the records, no file is by half.

    Behind its last line a run may still be killed over its reports, and leave what is not `tidy`:
    files that have no name of their own yet.
    """
    entries = journal.read(run.journal)
    assert [entry.event for entry in entries][-2:] == ["sealed", "closed"]
    loaded_run = load_run(run)
    name, text = expected_document(loaded_run)
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
            assert not holds_secret(path.read_bytes(), ()), path


def assert_supported(run: RunDir, tree: FaultTree) -> None:
    """Every word of the folder follows from its records, and every claim names evidence."""
    problems = [str(problem) for problem in verify(run.path, tree.root)]
    if not tree.trains:
        # The quick child's numbers are made up, and do not agree with each other.
        names = tuple(f"[{each.name}]" for each in TABLE)
        problems = [text for text in problems if not text.endswith(names)]
    assert not problems, "\n".join(problems)
    for claim in diagnose_loaded(load_run(run)).findings:
        for evidence in claim.evidence:
            assert (run.path / evidence.split(",")[0]).exists(), claim
        assert claim.evidence or claim.confidence in ("unknown", "hypothesis"), claim


def assert_ledger(tree: FaultTree, run: RunDir) -> None:
    """The attempt is disclosed, once, in a ledger that is whole."""
    attempts = [attempt.run for attempt in ledger.read(tree.runs / "attempts.jsonl")]
    assert attempts.count(run.path.name) == 1
