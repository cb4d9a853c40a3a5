"""Every line of a file is checked, and every bad one is told of at once."""

import bz2
import gzip
import hashlib
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.errors import FailureClass
from m43.rows.rows import RowsError, question_problems, read_rows, text_field, training_problems
from tests.unit.training.conftest import WriteRows


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
        (b"[" * 100_000, "nested deeper"),
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


MARKED = Path(__file__).parents[2] / "corpus" / "rows" / "byte_order_mark.jsonl"


def test_a_byte_order_mark_before_the_first_row_is_not_read(tmp_path: Path) -> None:
    """Notepad writes one; the rows are good, and the digest is that of the file's own bytes."""
    data = MARKED.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    plain = tmp_path / "plain.jsonl"
    plain.write_bytes(data.removeprefix(b"\xef\xbb\xbf"))

    file, without = read_rows(MARKED), read_rows(plain)

    assert file.problems == ()
    assert [row.fields for row in file.rows] == [row.fields for row in without.rows]
    assert (file.lines, file.marked, without.marked) == (3, True, False)
    assert file.sha256 == hashlib.sha256(data).hexdigest() != without.sha256


def test_a_mark_where_files_were_joined_is_named_by_its_line(tmp_path: Path) -> None:
    """The row behind it is good: the mark goes, not the row."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(MARKED.read_bytes() * 2)

    (problem,) = read_rows(path).problems

    assert problem.where == f"{path}:4"
    assert problem.found.startswith("a byte order mark inside the file")
    assert problem.action == "take the mark out; the row behind it stays"


LINE = '{"prompt": "What?", "final_answer": "2"}'


@pytest.mark.parametrize(
    ("data", "found", "action"),
    [
        (f"{LINE}\n".encode("utf-16"), "text in UTF-16", "save it as UTF-8"),
        (f"{LINE}\n".encode("utf-16-le"), "text in UTF-16", "save it as UTF-8"),
        (f"{LINE}\n".encode("utf-16-be"), "text in UTF-16", "save it as UTF-8"),
        (f"{LINE}\n".encode("utf-32"), "text in UTF-16 or UTF-32", "save it as UTF-8"),
        (gzip.compress(LINE.encode()), "a gzip file", "gunzip"),
        (bz2.compress(LINE.encode()), "a bzip2 file", "bunzip2"),
        (lzma.compress(LINE.encode()), "an xz file", "unxz"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "a Zstandard file", "unzstd"),
        (b"PK\x03\x04\x14\x00", "a zip archive", "unzip"),
        (b"PAR1\x15\x04", "a Parquet file", "as JSON Lines"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "a Git LFS",
            "git lfs pull",
        ),
        (b"\n<!DOCTYPE html>\n<html>\n", "a web page", "fetch the file again"),
        (b"<HTML><body>", "a web page", "fetch the file again"),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{}\n{}\n", "binary data", "a file of text"),
        (f"[{LINE},\n{LINE}]\n".encode(), "one JSON array", "jq -c '.[]'"),
        (f"[\n{LINE},\n{LINE}\n]".encode(), "one JSON array", "jq -c '.[]'"),
        (b'{\n  "prompt": "a"\n}\n{\n  "prompt": "b"\n}\n', "JSON laid out over", "jq -c ."),
        (f"{LINE}\r{LINE}\r".encode(), "lines that end in a carriage return", "LF line ends"),
        (b"\xef\xbb\xbf\n", "an empty file", "restore the file"),
    ],
)
def test_what_is_no_file_of_rows_is_named_once_for_what_it_is(
    tmp_path: Path, data: bytes, found: str, action: str
) -> None:
    """Not line by line, and with advice that takes no row out."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)

    with pytest.raises(RowsError) as caught:
        read_rows(path)

    (problem,) = caught.value.problems
    assert problem.where == str(path)
    assert problem.found.startswith(found)
    assert action in problem.action
    assert "bad row" not in str(caught.value)


@pytest.mark.parametrize("make", [Path.mkdir, Path.rmdir])
def test_a_folder_and_a_missing_file_are_named_with_what_to_do(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """There is no row to correct."""
    path = tmp_path / "rows.jsonl"
    path.mkdir()
    if make is Path.rmdir:
        path.rmdir()

    with pytest.raises(RowsError, match=r"give a file of rows under \[data\]"):
        read_rows(path)


def test_a_file_of_another_schema_is_told_once_for_each_field(write_rows: WriteRows) -> None:
    """Not for each of its rows; a fault that one row has not stays with the others."""
    path = write_rows([{"question": "a", "answer": "b"}] * 4)
    rows = read_rows(path).rows

    problems = training_problems(rows)

    assert [problem.found for problem in problems] == [
        "no final_answer in each of 4 rows",
        "no prompt in each of 4 rows",
        "no steps in each of 4 rows",
    ]
    assert {problem.where for problem in problems} == {str(path)}
    assert len(question_problems(rows)) == 6
    mixed = write_rows([{"prompt": "a"}, {"prompt": ""}, {"prompt": ""}])
    found = [problem.where for problem in training_problems(read_rows(mixed).rows)]
    assert found == [str(mixed)] * 2 + [f"{mixed}:2", f"{mixed}:3"]


def test_bytes_of_another_encoding_are_not_taken_for_a_bad_row(tmp_path: Path) -> None:
    """The row is to be saved otherwise; it is not to be taken out."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "\xe9"}\n')

    (problem,) = read_rows(path).problems

    assert problem.action == "save the file as UTF-8, or correct the row"
