"""The lint counts what a person should know about the rows before the first step."""

from dataclasses import replace
from pathlib import Path

import pytest

from m43.records.evaluation_record import FormCount, LintRecord
from m43.records.profile import TemplateTable
from m43.training.data.batches import plan_batches
from m43.training.data.examples import read_examples, read_questions
from m43.training.data.template import Template
from m43.training.data.tokenizer import read_tokenizer
from m43.training.data.training_data import lint
from m43.training.weights.config_json import read_model_config
from tests.unit.training.conftest import WriteRows

TRAINED = (
    ("1+1?", "2"),
    ("1+2?", "3"),
    ("  1+1? ", "2"),  # a duplicate
    ("1+1?", "3"),  # a contradiction
    ("price?", "$3.50"),
    ("day?", "Friday"),
)
ASKED = (("2+2?", "4"), ("share?", "1/2"), ("share?", "50%"), ("all?", "1, 2"))
STEPS, BATCH_ROWS = 2, 2


def counted(folder: Path, table: TemplateTable, write_rows: WriteRows) -> LintRecord:
    """Lint the two files above, as a run does."""
    config = read_model_config(folder)
    template = Template(table, read_tokenizer(folder, config), config)
    path = write_rows(
        {"prompt": prompt, "final_answer": answer, "steps": [{"content": "think"}]}
        for prompt, answer in TRAINED
    )
    examples = read_examples(path, template, 64)
    path = write_rows(
        {
            "id": str(number),
            "prompt": prompt,
            "expected_answer": answer,
            "section": "s",
            "category": "c",
            "difficulty": "d",
        }
        for number, (prompt, answer) in enumerate(ASKED)
    )
    questions = read_questions(path, template, 64)
    plan = plan_batches(
        [len(each.tokens) for each in examples.rows],
        steps=STEPS,
        batch_rows=BATCH_ROWS,
        longest=64,
        packing=False,
        seed=0,
    )
    return lint(examples, questions, plan, template, table)


def test_rows_are_counted_by_hand(
    tiny_gemma: Path, template: TemplateTable, write_rows: WriteRows
) -> None:
    """Four of six rows in batches of 24 positions; each prompt is framed by 6 tokens and BOS."""
    record = counted(tiny_gemma, template, write_rows)

    assert (record.rows_in_file, record.rows_planned) == (6, 4)
    assert record.implied_epochs == pytest.approx(4 / 6)
    assert (record.duplicate_rows, record.contradicting_rows) == (1, 1)
    assert (record.truncated_rows, record.unread_rows) == (0, 0)
    # "Q: price?\nA: $3.50" with BOS and EOS, and "Q: share?\nA:" with BOS.
    assert (record.longest_row_tokens, record.longest_prompt_tokens) == (20, 13)
    assert record.padded_tokens == 4 * 24
    assert 4 * 3 <= record.supervised_tokens < record.real_tokens < record.padded_tokens
    assert record.padding_share == 1 - record.real_tokens / 96


def test_forms_of_answers_that_are_never_trained_are_named(
    tiny_gemma: Path, template: TemplateTable, write_rows: WriteRows
) -> None:
    """The evaluation asks for fractions, percents and lists; training shows none."""
    record = counted(tiny_gemma, template, write_rows)

    assert record.forms == (
        FormCount(form="number", training_rows=4, evaluation_rows=1),
        FormCount(form="fraction", training_rows=0, evaluation_rows=1),
        FormCount(form="money", training_rows=1, evaluation_rows=0),
        FormCount(form="percent", training_rows=0, evaluation_rows=1),
        FormCount(form="list", training_rows=0, evaluation_rows=1),
        FormCount(form="text", training_rows=1, evaluation_rows=0),
    )
    assert [each.form for each in record.unlearnt_forms] == ["fraction", "percent", "list"]


def test_completions_that_evaluation_would_read_otherwise_are_counted(
    tiny_gemma: Path, template: TemplateTable, write_rows: WriteRows
) -> None:
    """The steps come first, and the stop text ends the output before the answer."""
    worked = replace(template, completion=" {steps}\n{final_answer}")

    assert counted(tiny_gemma, worked, write_rows).unread_rows == len(TRAINED)
