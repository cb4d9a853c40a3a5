"""Rows in Parquet are the rows that the same lines of JSON would be, digest aside."""

import datetime
import hashlib
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m43.records.profile import ColumnsTable, TemplateTable
from m43.rows.rows import RowsError, read_rows
from m43.training.data.examples import read_examples, read_questions
from m43.training.data.parquet import count_parquet, parquet_lines, read_file
from tests.unit.training.conftest import WriteRows
from tests.unit.training.data.test_examples import GOOD, QUESTION, tokens_of

PAIR = ColumnsTable(prompt="q", answer="a")
CHAT = ColumnsTable(messages="m")
ROWS = [{"q": f"{n}+2?", "a": str(n + 2)} for n in range(3000)]
TURNS = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


def written(folder: Path, rows: list[dict[str, object]]) -> Path:
    """Write rows as Parquet."""
    path = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_rows_of_named_columns_are_those_of_the_same_lines(
    tmp_path: Path, write_rows: WriteRows
) -> None:
    """In their order, over many batches; the digest is that of the file as it lies there."""
    path = written(tmp_path, ROWS)
    found, lines = read_file(path, PAIR), read_file(write_rows(ROWS), PAIR)

    assert [row.fields for row in found.rows] == [row.fields for row in lines.rows]
    assert found.rows[-1].where == f"{path}:3000"
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert count_parquet(path) == found.lines == 3000


@pytest.mark.parametrize(
    ("trained", "asked", "columns"),
    [
        ({**GOOD, "at": datetime.datetime(2026, 1, 1)}, QUESTION, None),  # noqa: DTZ001
        ({"m": TURNS, "at": b"\xff"}, {"m": TURNS}, CHAT),
    ],
)
def test_the_tokens_are_those_of_lines_of_json(
    tiny_gemma: Path,
    tmp_path: Path,
    write_rows: WriteRows,
    template: TemplateTable,
    trained: dict[str, object],
    asked: dict[str, object],
    columns: ColumnsTable | None,
) -> None:
    """Of m43's own schema and of a chat; a column that nobody reads may hold anything."""
    tokens = tokens_of(tiny_gemma, template)
    (example,) = read_examples(write_rows([GOOD]), tokens, 64).rows
    (question,) = read_questions(write_rows([QUESTION]), tokens, 64).rows

    path = written(tmp_path, [trained])
    assert read_examples(path, tokens, 64, columns).rows == (example,)
    path = written(tmp_path, [asked])
    assert read_questions(path, tokens, 64, columns).rows[0].tokens == question.tokens


def test_what_is_kept_is_what_was_read(tmp_path: Path) -> None:
    """As lines of JSON, the named columns alone; a file that changed meanwhile is not kept."""
    path, kept = written(tmp_path, [{**row, "n": 1} for row in ROWS]), tmp_path / "kept.jsonl"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    kept.write_bytes(parquet_lines(path, PAIR, digest))

    assert [dict(row.fields) for row in read_rows(kept).rows] == ROWS
    written(tmp_path, ROWS[1:])
    with pytest.raises(RowsError, match="as it was read"):
        parquet_lines(path, PAIR, digest)


@pytest.mark.parametrize(
    ("row", "columns", "words"),
    [
        ({"text": "2+2?", "a": "4"}, PAIR, "no column 'q', only 'text', 'a'"),
        ({"q": "2+2?", "a": None}, PAIR, "a of type null"),
        ({"q": "2+2?", "a": 4}, PAIR, "a of type number"),
        ({"q": "2+2?", "a": float("nan")}, PAIR, "values that JSON has"),
        ({"q": "2+2?", "a": datetime.date(2026, 1, 1)}, PAIR, "date is not JSON serializable"),
        ({"m": TURNS[:1]}, CHAT, "m: user, expected a chat of two turns"),
        ({"q": "2+2?"}, None, "no prompt"),
    ],
)
def test_a_row_that_is_no_such_row_is_refused(
    tiny_gemma: Path,
    tmp_path: Path,
    template: TemplateTable,
    row: dict[str, object],
    columns: ColumnsTable | None,
    words: str,
) -> None:
    """By the same words as a line of JSON, and what only Parquet holds by its type."""
    path = written(tmp_path, [row])
    with pytest.raises(RowsError, match=re.escape(words)):
        read_examples(path, tokens_of(tiny_gemma, template), 64, columns)


@pytest.mark.parametrize("data", [b"", b"PAR1", json.dumps(GOOD).encode(), b"PAR1" + bytes(64)])
def test_what_is_no_parquet_is_refused_in_a_sentence(tmp_path: Path, data: bytes) -> None:
    """Whatever its name says; it counts as no row."""
    path = tmp_path / "rows.parquet"
    path.write_bytes(data)

    with pytest.raises(RowsError, match="expected a Parquet file"):
        read_file(path, PAIR)
    assert count_parquet(path) == 0


def test_no_rows_and_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """Neither is a file that can be trained on."""
    empty, twice = tmp_path / "empty.parquet", tmp_path / "twice.parquet"
    pq.write_table(
        pa.table({"q": pa.array([], pa.string()), "a": pa.array([], pa.string())}), empty
    )
    pq.write_table(pa.Table.from_arrays([pa.array(["1"])] * 3, names=["q", "a", "a"]), twice)

    with pytest.raises(RowsError, match="an empty file"):
        read_file(empty, PAIR)
    with pytest.raises(RowsError, match="two columns of one name"):
        read_file(twice, PAIR)
