"""Whatever stands in a file of rows, each row is used or named; no file keeps its reader busy."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.rows.rows import RowsError, RowsFile, question_problems, read_rows, training_problems
from m43.text import visible
from tests.unit.fuzzing import hostile

CORPUS = Path(__file__).parents[1] / "corpus" / "json"
GOOD = b'{"prompt": "2+2?", "final_answer": "4", "steps": [{"content": "add"}]}\n'

texts = st.text(st.characters(exclude_categories=[]), max_size=10)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
FIELDS = ["prompt", "final_answer", "steps", "id", "expected_answer", "section", "unknown"]


def outcome(path: Path) -> RowsFile | str:
    """Read and check rows of both kinds: the file, or what a person is told."""
    try:
        file = read_rows(path)
        problems = [*file.problems, *question_problems(file.rows), *training_problems(file.rows)]
        if problems:
            raise RowsError(problems)
    except RowsError as error:
        text = str(error)
        assert visible(text) == text
        # The number of rows, and at most twenty of them.
        assert len(text.splitlines()) <= 22
        assert len(text) < 100_000
        return text
    return file


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.iterdir()))
def test_a_bad_line_between_good_ones_is_named(tmp_path: Path, name: str) -> None:
    """By its number, whatever it holds; nothing else is said of the good ones."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + (CORPUS / name).read_bytes() + b"\n" + GOOD)

    file = read_rows(path)

    assert {problem.where for problem in file.problems} == {f"{path}:2"}
    assert [row.where for row in file.rows] == [f"{path}:1", f"{path}:3"]


@hostile(60)
@given(st.lists(st.tuples(st.sampled_from(FIELDS), values), max_size=4))
def test_any_value_in_any_field_is_used_or_named(
    tmp_path: Path, changes: list[tuple[str, Any]]
) -> None:
    """Of every type and depth, NaN and halves of surrogate pairs included."""
    path = tmp_path / "rows.jsonl"
    row = json.loads(GOOD) | dict(changes)
    path.write_bytes(GOOD + json.dumps(row).encode() + b"\n")

    outcome(path)


@hostile(60)
@given(st.binary(max_size=30) | texts.map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_in_a_file_are_used_or_named(tmp_path: Path, data: bytes) -> None:
    """At the end of it, where a final new line may be missing."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + data)

    outcome(path)


def test_a_last_line_needs_no_end_and_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    """Both are what editors do; neither changes a row."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD.replace(b"\n", b"\r\n") + GOOD.rstrip())

    file = read_rows(path)

    assert file.problems == ()
    assert file.rows[0].fields == file.rows[1].fields


def test_one_line_of_50_megabytes_is_named_and_not_tokenised(tmp_path: Path) -> None:
    """No tokenizer sees it."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + b'{"prompt": "' + b"x" * (50 << 20) + b'"}\n')

    (problem,) = read_rows(path).problems

    assert problem.where == f"{path}:2"
    assert problem.found == "52,428,814 bytes, of 1,048,576 at most"


def test_what_is_no_file_or_too_large_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe, a folder, a device without end, and 2 GB of nothing."""
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 31)

    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        assert "not a regular file" in str(outcome(path))
    assert "more than 1,073,741,824 bytes" in str(outcome(tmp_path / "large"))


def test_ids_that_occur_twice_are_shown_in_short(tmp_path: Path) -> None:
    """An id may be as long as a line."""
    path = tmp_path / "rows.jsonl"
    row = json.dumps({"id": "x" * 500_000}).encode() + b"\n"
    path.write_bytes(row * 2)

    text = outcome(path)

    assert isinstance(text, str)
    assert len(text) < 5000
    assert "... 2 times" in text
