"""Evaluation rows are checked as strictly as training rows."""

from pathlib import Path

import pytest

from m43.records.profile import TemplateTable
from m43.rows.rows import RowsError
from m43.training.data.examples import Question, TokenisedFile, read_questions
from m43.training.data.template import Template
from m43.training.data.tokenizer import read_tokenizer
from m43.training.weights.config_json import read_model_config
from tests.unit.training.conftest import WriteRows

GOOD = {
    "id": "row-1",
    "prompt": "2+2?",
    "expected_answer": "4",
    "section": "core",
    "category": "arithmetic",
    "difficulty": "easy",
}


def read(
    folder: Path, path: Path, template: TemplateTable, longest: int = 64
) -> TokenisedFile[Question]:
    """Read questions with the tiny model's tokenizer."""
    config = read_model_config(folder)
    tokens = Template(template, read_tokenizer(folder, config), config)
    return read_questions(path, tokens, longest)


def test_a_question_is_read_whole(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """Every field arrives, and the prompt is tokenised with BOS once."""
    tokenizer = read_tokenizer(tiny_gemma, read_model_config(tiny_gemma))

    (question,) = read(tiny_gemma, write_rows([GOOD]), template).rows

    assert (question.id, question.expected, question.difficulty) == ("row-1", "4", "easy")
    assert question.tokens == (2, *tokenizer.encode("Q: 2+2?\nA:"))


@pytest.mark.parametrize("name", sorted(GOOD))
@pytest.mark.parametrize("value", [None, "", 3])
def test_every_field_must_be_text_with_content(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable, name: str, value: object
) -> None:
    """Each field of each row is checked, none is guessed."""
    with pytest.raises(RowsError, match=name):
        read(tiny_gemma, write_rows([GOOD | {name: value}]), template)


def test_an_id_that_occurs_twice_is_refused_at_both_places(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """Two rows under one id cannot both be counted."""
    path = write_rows([GOOD, GOOD | {"id": "row-2"}, GOOD])

    with pytest.raises(RowsError) as caught:
        read(tiny_gemma, path, template)

    assert [problem.where for problem in caught.value.problems] == [f"{path}:1", f"{path}:3"]


def test_a_prompt_that_is_too_long_is_refused(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """No prompt is cut: it would be another question."""
    with pytest.raises(RowsError, match="a prompt of 11 tokens"):
        read(tiny_gemma, write_rows([GOOD]), template, longest=10)
