"""The known runs: run folders and the ledger beside them, held against each other before a run."""

from collections.abc import Iterator
from pathlib import Path

from m43.errors import M43Error, Problem, ProblemsError
from m43.evidence import facts, ledger
from m43.evidence.ledger_audit import missing_lines
from m43.run_dir import RunDir


class ShortenedLedgerError(ProblemsError):
    """A ledger that no longer tells of an attempt which a run of the same folder disclosed."""


def require_whole_ledger(runs: Path) -> None:
    """Refuse a ledger from which a line was taken that a run of the folder remembers.

    Raises: ShortenedLedgerError, BrokenChainError, CutChainError.
    """
    kept = ledger.read(runs / "attempts.jsonl")
    problems: list[Problem] = []
    for run in _runs(runs):
        try:
            opening = facts.read_opening(run)
        except M43Error:
            # A run that was cut off before its opening discloses nothing.
            continue
        problems += missing_lines(opening, kept)
    if problems:
        raise ShortenedLedgerError(tuple(dict.fromkeys(problems)))


def unlisted(runs: Path) -> tuple[str, ...]:
    """Name the run folders of which the ledger has no line: of another machine, or taken out.

    Raises: BrokenChainError, CutChainError.
    """
    known = {attempt.run for attempt in ledger.read(runs / "attempts.jsonl")}
    return tuple(run.path.name for run in _runs(runs) if run.path.name not in known)


def _runs(runs: Path) -> Iterator[RunDir]:
    for path in sorted(runs.glob("*/opening.json")):
        yield RunDir(path.parent)
