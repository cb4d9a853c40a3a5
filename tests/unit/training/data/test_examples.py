"""Training rows become tokens of which only the completion is learnt; evaluation rows are asked."""

from dataclasses import replace
from pathlib import Path

import pytest

from m43.records.profile import ColumnsTable, TemplateTable
from m43.rows.rows import RowsError
from m43.training.data.examples import (
    Example,
    Question,
    TokenisedFile,
    read_examples,
    read_questions,
)
from m43.training.data.template import Template, fill
from m43.training.data.tokenizer import read_tokenizer
from m43.training.weights.config_json import read_model_config
from tests.unit.training.conftest import WriteRows

GOOD = {"prompt": "2+2?", "final_answer": "4", "steps": [{"i": 0, "type": "a", "content": "add"}]}

QUESTION = {
    "id": "row-1",
    "prompt": "2+2?",
    "expected_answer": "4",
    "section": "core",
    "category": "arithmetic",
    "difficulty": "easy",
}


def read(
    folder: Path, path: Path, template: TemplateTable, longest: int = 64
) -> TokenisedFile[Example]:
    """Read examples with the tiny model's tokenizer."""
    return read_examples(path, tokens_of(folder, template), longest)


def ask(
    folder: Path, path: Path, template: TemplateTable, longest: int = 64
) -> TokenisedFile[Question]:
    """Read questions with it."""
    return read_questions(path, tokens_of(folder, template), longest)


def tokens_of(folder: Path, template: TemplateTable) -> Template:
    """Return the template, with the tokenizer of the tiny model."""
    config = read_model_config(folder)
    return Template(template, read_tokenizer(folder, config), config)


def test_an_example_is_bos_prompt_completion_eos(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """BOS once, EOS once, and what is learnt begins where the completion does."""
    tokenizer = read_tokenizer(tiny_gemma, read_model_config(tiny_gemma))

    (example,) = read(tiny_gemma, write_rows([GOOD]), template).rows

    prompt, completion = tokenizer.encode("Q: 2+2?\nA:"), tokenizer.encode(" 4")
    assert example.tokens == (2, *prompt, *completion, 1)
    assert example.completion == 1 + len(prompt)


def test_named_columns_and_a_chat_become_the_same_tokens(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """Of training and of evaluation: only the digest of the file is another."""
    pair, messages = ColumnsTable(prompt="q", answer="a"), ColumnsTable(messages="m")
    turns = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    tokens = tokens_of(tiny_gemma, template)
    (example,) = read(tiny_gemma, write_rows([GOOD]), template).rows
    (question,) = ask(tiny_gemma, write_rows([QUESTION]), template).rows
    others = [({"q": "2+2?", "a": "4"}, pair), ({"m": turns}, messages)]

    for row, columns in others:
        path = write_rows([row])
        assert read_examples(path, tokens, 64, columns).rows == (example,)
        (asked,) = read_questions(path, tokens, 64, columns).rows
        assert (asked.tokens, asked.expected) == (question.tokens, question.expected)


def test_steps_are_joined_by_new_lines(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """A template with {steps} teaches the contents of the steps, one per line."""
    tokenizer = read_tokenizer(tiny_gemma, read_model_config(tiny_gemma))
    worked = replace(template, completion="{steps}\nAnswer: {final_answer}")
    row = GOOD | {"steps": [{"content": "one"}, {"content": "two"}]}

    (example,) = read(tiny_gemma, write_rows([row]), worked).rows

    assert tokenizer.decode(example.tokens[example.completion :]) == "one\ntwo\nAnswer: 4"


def test_many_rows_come_out_of_datasets_as_they_went_in(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """More than one batch of its map: dates stay text, separators inside texts stay inside.

    Steps of other shapes beside one another are no columns of one type, and need not be.
    """
    odd = ("2024-01-05", "2024-01-06\u2028\x85 \u00e9", "1e3", "true", "null", "007")
    rows = [
        GOOD
        | {"prompt": f"{number}?", "final_answer": odd[number % len(odd)]}
        | {"steps": [{"content": "add", "i": number if number % 2 else "one"}]}
        for number in range(1203)
    ]

    found = read(tiny_gemma, write_rows(rows), template).rows

    assert [(each.prompt, each.answer) for each in found] == [
        (row["prompt"], row["final_answer"]) for row in rows
    ]
    tokenizer = read_tokenizer(tiny_gemma, read_model_config(tiny_gemma))
    for each in (found[0], found[1], found[999], found[1000], found[-1]):
        assert tokenizer.decode(each.supervised) == f" {each.answer}"
        assert each.tokens == (2, *tokenizer.encode(f"Q: {each.prompt}\nA: {each.answer}"), 1)


def test_tokenising_writes_no_file(
    tiny_gemma: Path,
    write_rows: WriteRows,
    template: TemplateTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a cache nor a fingerprint: not beside the rows, not in the folder for scratch."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", scratch)
    path = write_rows([GOOD] * 5)
    before = set(tmp_path.rglob("*"))

    read(tiny_gemma, path, template)

    assert set(tmp_path.rglob("*")) == before


def test_values_are_filled_in_once() -> None:
    """A prompt that itself holds a placeholder or braces stays as it is."""
    assert fill("{prompt}{x}", {"prompt": "{final_answer}{"}) == "{final_answer}{{x}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompt": None}, "prompt of type null"),
        ({"final_answer": ""}, "an empty final_answer"),
        ({"final_answer": 4}, "final_answer of type number"),
        ({"steps": []}, "an empty steps"),
        ({"steps": "add"}, "steps that are no list"),
        ({"steps": ["add"]}, "steps[0] 'add'"),
        ({"steps": [["add"]]}, "steps[0] ['add']"),
        ({"steps": [{"i": 0}]}, "steps[0].content of type null"),
        ({"steps": [{"content": "a"}, {"content": ""}]}, "an empty steps[1].content"),
        ({"prompt": "long " * 20}, "110 tokens"),
    ],
)
def test_a_bad_row_is_refused_with_file_line_and_reason(
    tiny_gemma: Path,
    write_rows: WriteRows,
    template: TemplateTable,
    change: dict[str, object],
    reason: str,
) -> None:
    """One bad row among good ones refuses the file."""
    path = write_rows([GOOD, GOOD | change, GOOD])

    with pytest.raises(RowsError) as caught:
        read(tiny_gemma, path, template)

    (problem,) = caught.value.problems
    assert problem.where == f"{path}:2"
    assert reason in problem.found


@pytest.mark.parametrize("name", ["prompt", "final_answer", "steps"])
def test_a_missing_field_is_refused(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable, name: str
) -> None:
    """Each field that training reads must be there."""
    row = {key: value for key, value in GOOD.items() if key != name}

    with pytest.raises(RowsError, match=f"no {name}"):
        read(tiny_gemma, write_rows([row]), template)


def test_all_bad_rows_are_told_at_once(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """Bad JSON and bad fields of several rows come in one error, in the order of the file."""
    path = write_rows([GOOD | {"prompt": ""}, "{bad", GOOD, {"prompt": "a"}])

    with pytest.raises(RowsError) as caught:
        read(tiny_gemma, path, template)

    places = [problem.where.removeprefix(f"{path}:") for problem in caught.value.problems]
    assert places == ["1", "2", "4", "4"]


def test_a_row_that_fits_exactly_is_accepted(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """The limit itself is allowed, one token less is not enough."""
    path = write_rows([GOOD])
    (example,) = read(tiny_gemma, path, template).rows
    size = len(example.tokens)

    assert read(tiny_gemma, path, template, longest=size).rows == (example,)
    with pytest.raises(RowsError, match=f"at most {size - 1}"):
        read(tiny_gemma, path, template, longest=size - 1)


def test_a_row_with_nothing_to_learn_is_refused(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """A template that renders no completion leaves EOS alone, which teaches silence."""
    silent = replace(template, completion="")

    with pytest.raises(RowsError, match="nothing supervised"):
        read(tiny_gemma, write_rows([GOOD]), silent)


def test_a_question_is_read_whole(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """Every field arrives, and the prompt is tokenised with BOS once."""
    tokenizer = read_tokenizer(tiny_gemma, read_model_config(tiny_gemma))

    (question,) = ask(tiny_gemma, write_rows([QUESTION]), template).rows

    assert (question.id, question.expected, question.difficulty) == ("row-1", "4", "easy")
    assert question.tokens == (2, *tokenizer.encode("Q: 2+2?\nA:"))


@pytest.mark.parametrize("name", sorted(QUESTION))
@pytest.mark.parametrize("value", [None, "", 3])
def test_every_field_must_be_text_with_content(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable, name: str, value: object
) -> None:
    """Each field of each row is checked, none is guessed."""
    with pytest.raises(RowsError, match=name):
        ask(tiny_gemma, write_rows([QUESTION | {name: value}]), template)


def test_an_id_that_occurs_twice_is_refused_at_both_places(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """Two rows under one id cannot both be counted."""
    path = write_rows([QUESTION, QUESTION | {"id": "row-2"}, QUESTION])

    with pytest.raises(RowsError) as caught:
        ask(tiny_gemma, path, template)

    assert [problem.where for problem in caught.value.problems] == [f"{path}:1", f"{path}:3"]


def test_a_prompt_that_is_too_long_is_refused(
    tiny_gemma: Path, write_rows: WriteRows, template: TemplateTable
) -> None:
    """No prompt is cut: it would be another question."""
    with pytest.raises(RowsError, match="a prompt of 11 tokens"):
        ask(tiny_gemma, write_rows([QUESTION]), template, longest=10)
