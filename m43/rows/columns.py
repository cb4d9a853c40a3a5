"""Columns: rows as others write them, read as m43's own: a prompt and its answer, or a chat.

What cannot be read so is refused with its row and the reason; nothing is guessed, joined or cut.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from m43.errors import Problem
from m43.records import ColumnsTable
from m43.rows.rows import (
    Row,
    RowsFile,
    bad_row,
    line_number,
    merge_repeated,
    read_rows,
    text_value,
)
from m43.text import brief

_NAME = "name the column that holds it under [data.columns], or correct every row"
_TURNS = "write each turn of the user with its answer as a row of its own, or take the row out"
_MOST_NAMES = 12


def read_columns(path: Path, columns: ColumnsTable | None, data: bytes | None = None) -> RowsFile:
    """Read the rows of a file, and those whose columns are named as m43's own schema has them.

    Args:
        path: of the file.
        columns: what its columns hold; None where they are m43's own.
        data: its rows as lines of JSON, where it is of another format.

    Raises:
        RowsError: if the file cannot be read or is empty.
    """
    file = read_rows(path, data)
    if columns is None:
        return file
    read = [_own(row, columns) for row in file.rows]
    faults = [fault for _, found in read for fault in found]
    merged = merge_repeated(faults, len(file.rows), str(path), _NAME)
    return replace(
        file,
        rows=tuple(row for row, found in read if not found),
        problems=(*file.problems, *merged),
    )


def _own(row: Row, columns: ColumnsTable) -> tuple[Row, list[Problem]]:
    """Return a row in m43's own schema, and what of it is missing.

    Example:
        >>> row = Row(where="rows.jsonl:1", fields={"question": "1+1?", "answer": "2"})
        >>> _own(row, ColumnsTable(prompt="question", answer="answer"))[0].fields["prompt"]
        '1+1?'
    """
    missing = [name for name in columns.names if name not in row.fields]
    if missing:
        return row, [missing_column(row.where, missing[0], row.fields)]
    prompt, answer, problems = _pair(row, columns)
    fields: dict[str, object] = {"prompt": prompt, "final_answer": answer}
    fields |= {"expected_answer": answer, "steps": []}
    for name in ("section", "category", "difficulty"):
        column = getattr(columns, name)
        fields[name] = "all"
        if column:
            fields[name], found_here = text_value(row.where, column, row.fields[column])
            problems += found_here
    fields["id"], found_here = _id(row, columns.id)
    return Row(where=row.where, fields=fields, has_steps=False), [*problems, *found_here]


def missing_column(where: str, name: str, there: Iterable[str]) -> Problem:
    """Return the problem of a row or a file without a column, with the names that there are."""
    names = [brief(each) for each in there]
    shown = ", ".join((*names[:_MOST_NAMES], *(["..."] if names[_MOST_NAMES:] else [])))
    found = f"no column {brief(name)}, only {shown or 'none at all'}"
    return bad_row(where, found, f"the column {brief(name)} that [data.columns] names", _NAME)


def _id(row: Row, column: str | None) -> tuple[str, list[Problem]]:
    if not column:
        return f"row-{line_number(row.where)}", []
    value = row.fields[column]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value), []
    return text_value(row.where, column, value)


def _pair(row: Row, columns: ColumnsTable) -> tuple[str, str, list[Problem]]:
    """Return the prompt of a row, its answer, and what is wrong with them."""
    if columns.messages is not None:
        turns = row.fields[columns.messages]
        roles = _roles(turns)
        if not isinstance(turns, list) or roles != "user, assistant":
            found = f"{columns.messages}: {roles}"
            expected = "a chat of two turns, user, assistant: m43 learns one answer from a row"
            return "", "", [bad_row(row.where, found, expected, _TURNS)]
        values = {f"{columns.messages}, {turn['role']}": turn.get("content") for turn in turns}
    else:
        pair = (columns.prompt, columns.answer)
        values = {name: row.fields[name] for name in pair if name is not None}
    (prompt, one), (answer, other) = (
        text_value(row.where, name, value) for name, value in values.items()
    )
    return prompt, answer, [*one, *other]


def _roles(turns: object) -> str:
    """Say who speaks in a chat, in order; or what it is instead of one."""
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        return f"{brief(turns)}, which is no list of turns"
    roles = [turn.get("role") for turn in turns]
    if not all(isinstance(role, str) for role in roles):
        return "a turn without a role"
    return brief(", ".join(map(str, roles)))[1:-1] or "no turn"
