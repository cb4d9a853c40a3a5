"""Rows: a JSONL file, every line of it checked before the first one is used."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from m43.errors import FailureClass, Problem, ProblemsError, shown
from m43.strict_json import NotJsonError, read_json
from m43.whole_file import read_whole

# The rest is counted: a file of another schema is wrong in every line.
_MOST_SHOWN = 20
# Far above any row that can be learnt, far below what a tokenizer would need gigabytes for.
_MOST_FILE_BYTES, _MOST_LINE_BYTES = 1 << 30, 1 << 20


class RowsError(ProblemsError):
    """A file with bad rows; `problems` holds all of them, the message the first and the count."""

    failure_class = FailureClass.DATA_INVALID

    def __init__(self, problems: Sequence[Problem]) -> None:
        # In the order of the file, whichever check found them.
        problems = sorted(problems, key=lambda problem: _line_number(problem.where))
        super().__init__(problems)
        rows = len({problem.where for problem in problems})
        self.args = ("\n".join((f"{rows} bad rows", *shown(problems, _MOST_SHOWN))),)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a file, parsed; `where` is file:line."""

    where: str
    fields: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class RowsFile:
    """A file of rows, or what is left of it beside its problems."""

    rows: tuple[Row, ...]
    lines: int
    sha256: str
    problems: tuple[Problem, ...]


class _BadLineError(ValueError):
    """A line that is not one JSON object."""


def read_rows(path: Path) -> RowsFile:
    """Read every line as a JSON object and collect the lines that are none.

    Raises:
        RowsError: if the file cannot be read or is empty.
    """
    try:
        data = read_whole(path, _MOST_FILE_BYTES)
    except OSError as error:
        raise RowsError([bad_row(str(path), f"{type(error).__name__}: {error}", "rows")]) from error
    if not data.strip():
        raise RowsError([bad_row(str(path), "an empty file", "one JSON object per line")])
    rows: list[Row] = []
    problems: list[Problem] = []
    # Only \n ends a line: text may hold the other separators that str.splitlines knows.
    lines = data.removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        try:
            rows.append(Row(where=where, fields=parse_line(line)))
        except ValueError as error:
            problems.append(bad_row(where, str(error), "one JSON object"))
    return RowsFile(
        rows=tuple(rows),
        lines=len(lines),
        sha256=hashlib.sha256(data).hexdigest(),
        problems=tuple(problems),
    )


def _line_number(where: str) -> int:
    number = where.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def bad_row(
    where: str, found: str, expected: str, action: str = "correct the row or take it out"
) -> Problem:
    """Tell of one thing that is wrong with a row."""
    return Problem(found=found, expected=expected, where=where, action=action)


def text_field(row: Row, name: str) -> tuple[str, list[Problem]]:
    """Take a text that must be there and say something."""
    if name not in row.fields:
        return "", [bad_row(row.where, f"no {name}", f"the field {name}")]
    return text_value(row.where, name, row.fields[name])


def text_value(where: str, name: str, value: object) -> tuple[str, list[Problem]]:
    """Accept a value only if it is a text that says something."""
    if not isinstance(value, str):
        return "", [bad_row(where, f"{name} of type {_json_type(value)}", f"{name} as text")]
    if not value.strip():
        return "", [bad_row(where, f"an empty {name}", f"{name} with content")]
    return value, []


def parse_line(line: bytes) -> dict[str, object]:
    """Read a line as one JSON object.

    Raises: ValueError, when it is none.
    """
    if len(line) > _MOST_LINE_BYTES:
        raise _BadLineError(f"{len(line):,} bytes, of {_MOST_LINE_BYTES:,} at most")
    if not line.strip():
        raise _BadLineError("an empty line")
    if b"\r" in line.removesuffix(b"\r"):
        raise _BadLineError("a carriage return inside the line")
    try:
        value = read_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _BadLineError(f"bytes that are not UTF-8 ({error.reason})") from error
    except NotJsonError as error:
        raise _BadLineError(f"bad JSON: {error}") from error
    if not isinstance(value, dict):
        raise _BadLineError(f"{_json_type(value)} instead of an object")
    try:
        # An escape such as \ud800 is JSON but no text: no tokenizer can encode it.
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise _BadLineError("a lone surrogate, which is not text") from error
    return value


def _json_type(value: object) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "text", list: "list"}
    return "null" if value is None else names.get(type(value), "object")
