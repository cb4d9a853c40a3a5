"""The record of the matrix: what each fault left on disk, one line a case.

It lies beside the tests' own files and takes lines from every stream of `make faults` at once: a
line is one write at the end of the file. `python -m tests.faults` shows it as a table.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".fault-record"
FILE = FOLDER / "cases.jsonl"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A case that was done.

    Attributes:
        exit: pytest's exit status; -9 is SIGKILL.
        journal: how many lines it has in the end, and the last that happened to the run itself.
        orphans: how many processes of the run were left.
        half_files: what was written by half: under its final name, and under none of its own.
        why: what of it was not as it must be; empty when the case held.
    """

    case: str
    exit: str = ""
    failure_class: str = ""
    document: str = ""
    journal: str = ""
    closed_by: str = ""
    orphans: str = ""
    half_files: str = ""
    why: str = ""


def add(row: Row, file: Path = FILE) -> None:
    """Take a case into the record."""
    file.parent.mkdir(exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(asdict(row)) + "\n").encode())
    finally:
        os.close(descriptor)


def read(file: Path = FILE) -> tuple[Row, ...]:
    """Read the record; what was done more than once stands as it was the last time."""
    lines = file.read_text().splitlines() if file.exists() else ()
    rows = [Row(**json.loads(line)) for line in lines]
    return tuple({row.case: row for row in rows}.values())


def table(rows: Iterable[Row], cases: Iterable[str]) -> tuple[str, ...]:
    """Write the record as Markdown, in the order of the matrix, with what is missing from it."""
    by_case = {row.case: row for row in rows}
    known = tuple(cases)
    ordered = [by_case[case] for case in known if case in by_case]
    others = [row for case, row in by_case.items() if case not in known]
    missing = [case for case in known if case not in by_case]
    failed = [row for row in (*ordered, *others) if row.why]
    return (
        "| case | exit | class | document | journal | closed by | orphans | half-written |",
        "|---|---|---|---|---|---|---|---|",
        *(_line(row) for row in ordered),
        "",
        f"{len(ordered)} of {len(known)} cases done, {len(failed)} did not hold",
        *(f"- did not hold: {row.case}: {row.why}" for row in failed),
        *(f"- not done: {case}" for case in missing),
    )


def is_whole(rows: Iterable[Row], cases: Iterable[str]) -> bool:
    """Tell whether every case was done and held, and nothing beside them failed."""
    told = tuple(rows)
    held = {row.case for row in told if not row.why}
    return held >= set(cases) and len(held) == len(told)


def _line(row: Row) -> str:
    cells = (
        row.case, row.exit, row.failure_class, row.document, row.journal, row.closed_by,
        row.orphans, row.half_files,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"
