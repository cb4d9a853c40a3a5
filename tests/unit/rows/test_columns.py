"""Rows as others write them are read as m43's own, or refused by row, reason and what is there."""

import json
from pathlib import Path

import pytest

from m43.records.profile import ColumnsTable
from m43.rows.columns import read_columns
from m43.rows.rows import RowsFile, question_problems, read_rows, training_problems

PAIR = ColumnsTable(prompt="question", answer="answer")
CHAT = ColumnsTable(messages="messages")
GROUPED = ColumnsTable(
    prompt="question", answer="answer", id="n", section="part", category="kind", difficulty="level"
)


def chat(*turns: tuple[str, object]) -> dict[str, object]:
    """Write a row as chats are written."""
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def written(folder: Path, *rows: object) -> Path:
    """Write rows as JSON Lines."""
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def read(folder: Path, columns: ColumnsTable | None, *rows: object) -> RowsFile:
    """Write rows and read them back."""
    return read_columns(written(folder, *rows), columns)


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        (PAIR, {"question": "1+1?", "answer": "2", "source": "a book"}),
        (ColumnsTable(prompt="prompt", answer="completion"), {"prompt": "1+1?", "completion": "2"}),
        (CHAT, chat(("user", "1+1?"), ("assistant", "2"))),
    ],
)
def test_a_pair_and_a_chat_are_read_as_a_prompt_and_its_answer(
    tmp_path: Path, columns: ColumnsTable, row: dict[str, object]
) -> None:
    """They can be trained on, and asked: without an id a row is called by its line."""
    file = read(tmp_path, columns, row)

    assert file.problems == ()
    assert training_problems(file.rows) == question_problems(file.rows) == []
    fields = file.rows[0].fields
    assert (fields["prompt"], fields["final_answer"]) == ("1+1?", "2")
    assert (fields["id"], fields["expected_answer"], fields["section"]) == ("row-1", "2", "all")


def test_the_groups_and_the_id_of_a_question_have_columns_too(tmp_path: Path) -> None:
    """A number is an id as well as a text is."""
    row = {"question": "1+1?", "answer": "2", "n": 7, "part": "a", "kind": "b", "level": "c"}

    (fields,) = (each.fields for each in read(tmp_path, GROUPED, row).rows)

    assert [fields[name] for name in ("id", "section", "category", "difficulty")] == list("7abc")


def test_without_names_of_columns_rows_are_read_as_before(tmp_path: Path) -> None:
    """To the field, whatever else is in them."""
    row = {"prompt": "1+1?", "final_answer": "2", "steps": [{"content": "add"}], "meta": {"a": 1}}

    assert read(tmp_path, None, row) == read_rows(tmp_path / "rows.jsonl")
    assert training_problems(read(tmp_path, None, {"prompt": "a", "final_answer": "b"}).rows)


TURNS = "expected a chat of two turns, user, assistant"


@pytest.mark.parametrize(
    ("columns", "row", "words"),
    [
        (PAIR, {"answer": "2", "text": "1+1?"}, "no column 'question', only 'answer', 'text'"),
        (PAIR, {}, "no column 'question', only none at all"),
        (PAIR, {"question": " ", "answer": "2"}, "an empty question"),
        (PAIR, {"question": "1+1?", "answer": 2}, "answer of type number"),
        (PAIR, {"question": "1+1?", "answer": None}, "answer of type null"),
        (GROUPED, {"question": "1+1?", "answer": "2"}, "no column 'n'"),
        (CHAT, {"messages": "1+1? 2"}, "messages: '1+1? 2', which is no list of turns"),
        (CHAT, {"messages": [["user", "1+1?"]]}, "which is no list of turns"),
        (CHAT, {"messages": [{"from": "human", "value": "1+1?"}]}, "a turn without a role"),
        (CHAT, chat(), "messages: no turn"),
        (CHAT, chat(("user", "1+1?")), f"messages: user, {TURNS}"),
        (CHAT, chat(("assistant", "2"), ("user", "1+1?")), f"assistant, user, {TURNS}"),
        (
            CHAT,
            chat(("system", "Be brief."), ("user", "1+1?"), ("assistant", "2")),
            f"messages: system, user, assistant, {TURNS}",
        ),
        (CHAT, chat(*[("user", "1+1?"), ("assistant", "2")] * 2), TURNS),
        (CHAT, chat(("user", [{"type": "text"}]), ("assistant", "2")), "user of type list"),
    ],
)
def test_a_row_that_is_no_such_row_is_refused_with_its_line(
    tmp_path: Path, columns: ColumnsTable, row: dict[str, object], words: str
) -> None:
    """It is left out of what is read, which is then used by nobody."""
    good = {"question": "1+1?", "answer": "2", "n": 1, "part": "a", "kind": "b", "level": "c"}
    file = read(tmp_path, columns, good | chat(("user", "1+1?"), ("assistant", "2")), row)

    (problem,) = file.problems
    assert problem.where.endswith("rows.jsonl:2")
    assert words in str(problem)
    assert len(file.rows) == 1


def test_a_column_that_no_row_has_is_told_once(tmp_path: Path) -> None:
    """It is no fault of a row: the profile names another."""
    (problem,) = read(tmp_path, PAIR, *[{"q": "1+1?", "a": "2"}] * 30).problems

    assert problem.where == str(tmp_path / "rows.jsonl")
    assert problem.found == "no column 'question', only 'q', 'a' in each of 30 rows"
    assert problem.action.startswith("name the column that holds it under [data.columns]")
