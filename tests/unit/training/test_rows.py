"""Every line of a file is checked, and every bad one is told of at once."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.errors import FailureClass
from m43.rows import RowsError, read_rows, text_field
from m43.training.loaded_rows import load_fields

from .conftest import WriteRows


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{bad", "bad JSON"),
        (b"", "an empty line"),
        (b'"text"', "text instead of an object"),
        (b"[1]", "list instead of an object"),
        (b"null", "null instead of an object"),
        (b'{"a": NaN}', "the number NaN"),
        (b'{"a": 1, "a": 2}', "a key that occurs twice"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b'{"a": 1}\r{"a": 2}', "carriage return"),
        (b'{"a": 1} {"a": 2}', "Extra data"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_reason(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    """The line between two good ones is told of; the good ones are read."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 3}\n')

    file = read_rows(path)

    (problem,) = file.problems
    assert problem.where == f"{path}:2"
    assert reason in problem.found
    assert [row.where for row in file.rows] == [f"{path}:1", f"{path}:3"]
    assert file.lines == 3


@pytest.mark.parametrize("content", [None, b"", b"\n\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A missing or an empty file is an error, never zero rows."""
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(RowsError) as caught:
        read_rows(path)

    assert caught.value.failure_class is FailureClass.DATA_INVALID


@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=10) | st.integers(),
            max_size=3,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    """Any objects come back as they were, whatever separators their texts hold."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_bytes(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))

    file = read_rows(path)

    assert [row.fields for row in file.rows] == rows
    assert file.problems == ()


def test_datasets_reads_the_same_and_leaves_nothing_behind(
    write_rows: WriteRows, tmp_path: Path
) -> None:
    """Dates stay text, line separators inside texts stay inside, and the cache is gone."""
    rows = [
        {"answer": "2024-01-05", "meta": {"a": [1]}},
        {"answer": "2024-01-06\u2028\x85 é", "meta": {"b": "x"}},
    ]
    path = write_rows(rows)

    fields = load_fields(path, tmp_path)
    found = [next(fields)]
    while_reading = set(tmp_path.iterdir())
    found += fields

    assert found == rows
    assert len(while_reading) == 2
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "no prompt"),
        ({"prompt": 3}, "prompt of type number"),
        ({"prompt": True}, "prompt of type boolean"),
        ({"prompt": None}, "prompt of type null"),
        ({"prompt": ["a"]}, "prompt of type list"),
        ({"prompt": " \n"}, "an empty prompt"),
    ],
)
def test_a_field_must_be_text_with_content(
    write_rows: WriteRows, fields: dict[str, object], reason: str
) -> None:
    """A field that is missing, empty or of another type is told of by its name."""
    (row,) = read_rows(write_rows([fields])).rows

    _, (problem,) = text_field(row, "prompt")

    assert problem.found == reason


def test_the_message_of_many_bad_rows_is_short_and_counts_them_all(write_rows: WriteRows) -> None:
    """All problems are kept, in the order of the file; the text shows some and the number."""
    file = read_rows(write_rows(["{bad"] * 30))

    error = RowsError(file.problems[::-1])

    assert len(error.problems) == 30
    assert error.problems[0].where.endswith(":1")
    assert str(error).startswith("30 bad rows")
    assert str(error).endswith("and 10 more")
    assert len(str(error).splitlines()) == 22
