"""The audit of the ledger: whether it still tells of every attempt that a run disclosed."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from m43.errors import M43Error, Problem, problem
from m43.evidence.journal import Attempt, ledger
from m43.records import OpeningRecord

_problem = partial(
    problem,
    action="do not rely on this ledger: an attempt was taken out of it or put into it",
)


def audit_ledger(opening: OpeningRecord | None, runs: Path) -> Iterator[Problem]:
    """Compare the ledger beside a run folder with what the run disclosed when it was opened.

    A ledger that began with another attempt is another machine's and says nothing about this run;
    so does the absence of one. One that began with the same attempt must hold the same lines.
    """
    if opening is None:
        return
    count = 1 + sum(earlier.run == opening.run for earlier in opening.earlier_attempts)
    if opening.attempts_of_this_run != count:
        found = f"{opening.attempts_of_this_run} attempts under this name"
        expected = f"{count}, as its earlier attempts say"
        yield _problem(found, expected, "opening.json, attempts_of_this_run")
    head = ledger.lines_of(opening)[-1].sha256
    if opening.ledger_sha256 != head:
        expected = f"{head}, as its earlier attempts make it"
        yield _problem(opening.ledger_sha256, expected, "opening.json, ledger_sha256")
    try:
        kept = ledger.read(runs / ledger.FILE)
    except M43Error as error:
        yield from error.problems
        return
    yield from missing_lines(opening, kept)


def missing_lines(opening: OpeningRecord, kept: Sequence[Attempt]) -> Iterator[Problem]:
    """Yield the first line of the ledger that is not as a run's opening knew it."""
    disclosed = ledger.lines_of(opening)
    if not kept or kept[0] != disclosed[0]:
        return
    for number, line in enumerate(disclosed, start=1):
        found = kept[number - 1] if number <= len(kept) else None
        if found != line:
            words = f"the attempt {found.run}" if found else "the end of the ledger"
            expected = f"the attempt {line.run} of {line.started_utc}, as {opening.run} disclosed"
            yield _problem(words, expected, f"{ledger.FILE}:{number}")
            return
