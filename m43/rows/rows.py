"""Rows: a JSONL file, every line and every field of it checked before the first one is used."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from m43.errors import FailureClass, Problem, ProblemsError, shown
from m43.files import read_whole
from m43.text import BYTE_ORDER_MARK, brief, other_kind, without_mark
from m43.typed_json import NotJsonError, read_json

# The rest is counted: a file of another schema is wrong in every line.
_MOST_SHOWN = 20
# Far above any row that can be learnt, far below what a tokenizer would need gigabytes for.
MOST_FILE_BYTES, _MOST_LINE_BYTES = 1 << 30, 1 << 20
_CORRECT = "correct the row or take it out"
_LINES, _REWRITE = "one JSON object per line", "write each row on a line of its own"


class RowsError(ProblemsError):
    """A file with bad rows; `problems` holds all of them, the message the first and the count."""

    failure_class = FailureClass.DATA_INVALID

    def __init__(self, problems: Sequence[Problem]) -> None:
        # In the order of the file, whichever check found them.
        problems = sorted(problems, key=lambda problem: line_number(problem.where))
        super().__init__(problems)
        rows = len({problem.where for problem in problems if line_number(problem.where)})
        # A fault of the whole file is none of a row.
        head = (f"{rows} bad row{'s' if rows > 1 else ''}",) if rows else ()
        self.args = ("\n".join((*head, *shown(problems, _MOST_SHOWN))),)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a file, parsed; `where` is file:line."""

    where: str
    fields: Mapping[str, object]
    has_steps: bool = True  # false where the columns of the file are named: none holds steps


@dataclass(frozen=True, kw_only=True)
class RowsFile:
    """A file of rows, or what is left of it beside its problems."""

    rows: tuple[Row, ...]
    lines: int
    sha256: str  # of the file's bytes, a byte order mark included
    marked: bool  # whether a byte order mark stands before the first row; it is not read
    problems: tuple[Problem, ...]


class _BadLineError(ValueError):
    """A line that is not one JSON object; `action` says what to do about it."""

    def __init__(self, found: str, action: str = _CORRECT) -> None:
        super().__init__(found)
        self.action = action


def read_rows(path: Path, data: bytes | None = None) -> RowsFile:
    """Read every line as a JSON object and collect the lines that are none.

    Args:
        path: of the file.
        data: its rows, where it is of another format and was turned into these lines.

    Raises:
        RowsError: if the file cannot be read or is empty.
    """
    data = file_bytes(path) if data is None else data
    other = _kind_of_file(data)
    if other is not None:
        raise RowsError([bad_row(str(path), *other)])
    rows: list[Row] = []
    problems: list[Problem] = []
    # Only \n ends a line: text may hold the other separators that str.splitlines knows.
    lines = without_mark(data).removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        try:
            rows.append(Row(where=where, fields=parse_line(line)))
        except _BadLineError as error:
            problems.append(bad_row(where, str(error), "one JSON object", error.action))
    return RowsFile(
        rows=tuple(rows),
        lines=len(lines),
        sha256=hashlib.sha256(data).hexdigest(),
        marked=data.startswith(BYTE_ORDER_MARK),
        problems=tuple(problems),
    )


def file_bytes(path: Path) -> bytes:
    """Read a file of rows whole.

    Raises:
        RowsError: if it cannot be read, or is larger than can be meant.
    """
    try:
        return read_whole(path, MOST_FILE_BYTES)
    except OSError as error:
        found, action = f"{type(error).__name__}: {error}", "give a file of rows under [data]"
        raise RowsError([bad_row(str(path), found, f"a file, {_LINES}", action)]) from error


def _kind_of_file(data: bytes) -> tuple[str, str, str] | None:
    """Return what is wrong with a file that is no JSON Lines: found, expected, what to do.

    Reported line by line it would be as many faults as it happens to have lines.
    """
    text = without_mark(data)
    if not text.strip():
        return "an empty file", _LINES, "restore the file; no row can be left out"
    other = other_kind(data)
    if other is not None:
        return other.found, _LINES, other.action
    if b"\n" not in text and b"\r" in text.rstrip(b"\r"):
        return "lines that end in a carriage return", _LINES, "save the file with LF line ends"
    # What can stand on a line of its own is judged as a line.
    if text.split(b"\n", 1)[0].strip() == b"{":
        return "JSON laid out over several lines", _LINES, f"{_REWRITE} (jq -c . OLD > NEW)"
    if text.lstrip().startswith(b"[") and _is_json(text):
        return "one JSON array", _LINES, f"{_REWRITE} (jq -c '.[]' OLD > NEW)"
    return None


def _is_json(text: bytes) -> bool:
    try:
        read_json(text.decode())
    except ValueError:
        return False
    return True


def line_number(where: str) -> int:
    """Return the line of a place in a file; 0 for the file as a whole."""
    number = where.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def bad_row(where: str, found: str, expected: str, action: str = _CORRECT) -> Problem:
    """Return one problem of a row."""
    return Problem(found=found, expected=expected, where=where, action=action)


def is_parquet(path: Path) -> bool:
    """Return whether a file of rows is Parquet, which its name says; all others are JSON Lines."""
    return path.suffix == ".parquet"


def merge_repeated(
    problems: Sequence[Problem], rows: int, where: str, action: str
) -> list[Problem]:
    """Merge problems that are the same in every row of a file: they are no fault of a row.

    Args:
        problems: of all rows.
        rows: how many the file has; of a single one nobody can know whose fault it is.
        where: what has a say in every row.
        action: what to do about that.
    """
    places: dict[tuple[str, str], set[str]] = {}
    for each in problems:
        places.setdefault((each.found, each.expected), set()).add(each.where)
    common = {pair for pair, lines in places.items() if len(lines) == rows > 1}
    rest = [each for each in problems if (each.found, each.expected) not in common]
    return [
        *(
            bad_row(where, f"{found} in each of {rows} rows", expected, action)
            for found, expected in sorted(common)
        ),
        *rest,
    ]


def text_field(row: Row, name: str) -> tuple[str, list[Problem]]:
    """Return a text that must be there and not be blank, and its problems."""
    if name not in row.fields:
        return "", [bad_row(row.where, f"no {name}", f"the field {name}")]
    return text_value(row.where, name, row.fields[name])


def text_value(where: str, name: str, value: object) -> tuple[str, list[Problem]]:
    """Return a value that is a text and not blank, and its problems."""
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
    if line.startswith(BYTE_ORDER_MARK):
        found = "a byte order mark inside the file, as where files were joined"
        raise _BadLineError(found, "take the mark out; the row behind it stays")
    try:
        value = read_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        found = f"bytes that are not UTF-8 ({error.reason})"
        raise _BadLineError(found, "save the file as UTF-8, or correct the row") from error
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


# Those of a training row and those of an evaluation row.
OWN_FIELDS = (
    *("id", "prompt", "final_answer", "expected_answer", "steps"),
    *("section", "category", "difficulty"),
)
QUESTION_FIELDS = ("id", "prompt", "expected_answer", "section", "category", "difficulty")
_RENAME = "name the fields as m43 does, or correct every row"


def training_problems(rows: tuple[Row, ...]) -> list[Problem]:
    """Check the fields of training rows: prompt, final_answer, and steps with content.

    What is wrong in every row is reported once: such a file is of another schema.
    """
    return _merge_repeated([problem for row in rows for problem in _row_problems(row)], rows)


def _merge_repeated(problems: list[Problem], rows: tuple[Row, ...]) -> list[Problem]:
    where = rows[0].where.rpartition(":")[0] if rows else ""
    return merge_repeated(problems, len(rows), where, _RENAME)


def _row_problems(row: Row) -> list[Problem]:
    problems = []
    for name in ("prompt", "final_answer"):
        problems += text_field(row, name)[1]
    if not row.has_steps:
        return problems
    if "steps" not in row.fields:
        return [*problems, bad_row(row.where, "no steps", "the field steps")]
    steps = row.fields["steps"]
    if not isinstance(steps, list):
        return [*problems, bad_row(row.where, "steps that are no list", "steps as a list")]
    if not steps:
        return [*problems, bad_row(row.where, "an empty steps", "steps with content")]
    for index, step in enumerate(steps):
        if isinstance(step, dict):
            problems += text_value(row.where, f"steps[{index}].content", step.get("content"))[1]
        else:
            problems.append(bad_row(row.where, f"steps[{index}] {brief(step)}", "it with content"))
    return problems


def question_problems(rows: tuple[Row, ...]) -> list[Problem]:
    """Check the fields of evaluation rows, and that no id stands in two of them."""
    problems: list[Problem] = []
    for row in rows:
        for name in QUESTION_FIELDS:
            problems += text_field(row, name)[1]
    problems = _merge_repeated(problems, rows)
    times = Counter(row.fields["id"] for row in rows if isinstance(row.fields.get("id"), str))
    problems += [
        bad_row(
            row.where,
            f"the id {brief(row.fields['id'])} {times[row.fields['id']]} times",
            "it once",
        )
        for row in rows
        if isinstance(row.fields.get("id"), str) and times[row.fields["id"]] > 1
    ]
    return problems
