"""The commands on a run folder that is there: verify, render, compare and seal.

Each imports what it needs when it is called: verify runs on the standard library alone.
"""

import getpass
from pathlib import Path
from typing import TextIO

from m43.errors import M43Error
from m43.records import RunDir, require_run, write_atomically
from m43.text import counted


class UnsupportedRunError(M43Error):
    """A folder that makes a claim which does not hold; a signature would only lend it weight."""


def verify(
    path: Path | None,
    repository: Path,
    runs: Path,
    out: TextIO,
    *,
    without_weights: bool,
    public_key: Path | None,
) -> int:
    """Recompute every claim of a run folder; return 0 if all are supported, else 1."""
    from m43.evidence.verify import verify as problems_of

    run = require_run(path, runs)
    problems = problems_of(
        run.path, repository, without_weights=without_weights, public_key=public_key
    )
    for problem in problems:
        out.write(f"NOT SUPPORTED  {problem}\n")
    if problems:
        out.write(f"{run.path}: {counted(len(problems), 'claim')} not supported\n")
        return 1
    out.write(f"{run.path}: every claim of this folder is supported by its records\n")
    out.write(f"{run.path}: {_signed(run, public_key)}\n")
    return 0


def _signed(run: RunDir, public_key: Path | None) -> str:
    from m43.evidence.documents import not_excluded
    from m43.evidence.journal import journal, witness_lines

    words = "not signed"
    if public_key is not None:
        words = f"signed by the key of {public_key}"
    elif run.signature.exists():
        words = "its signature was not checked; give --public-key, from a source that you trust"
    lines = witness_lines(run, journal.read(run.journal))
    return "\n".join((f"{words}; {not_excluded()}", *(f"witness  {line}" for line in lines)))


def render(path: Path | None, runs: Path, out: TextIO) -> int:
    """Write a run folder's documents again; a run that was cut off is closed first."""
    from m43.evidence.documents import render as write_documents
    from m43.harness.run import recovery

    run = require_run(path, runs)
    sealed = run.reports_seal.exists()
    if recovery.is_closed(run):
        # The report is pytest's, and sealed; only one that nobody could seal is drawn again.
        recovery.seal_left_reports(run)
    else:
        recovery.close_run(run)
        out.write(f"{run.path}: it was cut off, and has been closed now\n")
    for document in write_documents(run):
        out.write(f"{document}\n")
    if sealed:
        out.write(f"{run.report}: not written again, for it is sealed\n")
    elif run.report.exists():
        out.write(f"{run.report}\n")
    return 0


def compare(
    one: Path | None, other: Path | None, runs: Path, out: TextIO, *, page: Path | None
) -> int:
    """Write the comparison of two run folders, as Markdown and, if asked for, as a page."""
    from m43.evidence.documents import comparison_html, comparison_markdown
    from m43.evidence.run import compare as compared
    from m43.evidence.run import load_run

    first, second = (require_run(path, runs) for path in (one, other))
    found = compared(load_run(first), load_run(second))
    if page:
        write_atomically(page, comparison_html(found).encode(errors="replace"))
    out.write(comparison_markdown(found))
    return 0


def seal(path: Path, key: Path, repository: Path, runs: Path, out: TextIO) -> int:
    """Verify a finished run folder, whatever its verdict, and sign it.

    Raises: UnsupportedRunError, SignedAlreadyError, MissingExtraError, KeyFileError.
    """
    from m43.evidence.journal import witness_lines
    from m43.evidence.run import load_run
    from m43.evidence.verify import sign
    from m43.evidence.verify import verify as problems_of

    run = require_run(path, runs)
    problems = problems_of(run.path, repository)
    for problem in problems:
        out.write(f"NOT SUPPORTED  {problem}\n")
    if problems:
        raise UnsupportedRunError(
            found=f"{counted(len(problems), 'claim')} not supported",
            expected="a folder that verifies",
            where=str(run.path),
            action="nothing was signed",
        )
    loaded_run = load_run(run)
    # A password is asked for: as an argument everybody on the machine could read it.
    keyid = sign(run, loaded_run, key, lambda prompt: getpass.getpass(prompt))
    out.write(f"{run.signature}: signed by the key {keyid}\n")
    for line in witness_lines(run, loaded_run.entries):
        out.write(f"witness  {line}\n")
    return 0
