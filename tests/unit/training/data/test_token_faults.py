"""A row that could not teach what it says is refused, by the ids that would be trained on."""

from dataclasses import replace
from pathlib import Path

import pytest

from m43.records.profile import TemplateTable
from m43.rows.rows import RowsError
from m43.training.data.examples import (
    Example,
    example_faults,
    prompt_faults,
    read_examples,
    read_questions,
)
from m43.training.data.template import Template
from m43.training.data.tokenizer import read_tokenizer
from m43.training.weights.config_json import read_model_config
from tests.unit.training.conftest import CHAT_TEMPLATE, WriteRows

EOS, BOS = 1, 2
ROW = {"prompt": "2+2?", "final_answer": "42", "steps": [{"content": "add"}]}
QUESTION = {"id": "a", "expected_answer": "42", "section": "s", "category": "c", "difficulty": "d"}


@pytest.fixture
def plain(tiny_gemma: Path, template: TemplateTable) -> Template:
    """The plain template of the tiny model."""
    config = read_model_config(tiny_gemma)
    return Template(template, read_tokenizer(tiny_gemma, config), config)


@pytest.fixture
def chat(tiny_chat_gemma: Path, template: TemplateTable) -> Template:
    """The chat template of the tiny model."""
    config = read_model_config(tiny_chat_gemma)
    table = replace(template, style="chat", prompt="{prompt}", completion="{final_answer}")
    return Template(table, read_tokenizer(tiny_chat_gemma, config), config)


def example(template: Template, **changes: object) -> Example:
    """Tokenise `ROW` as a run does, then spoil it."""
    (head,), (tail,) = (
        template.prompts([ROW["prompt"]]),
        template.completions([ROW["prompt"]], [ROW]),
    )
    good = Example(tokens=(*head, *tail), completion=len(head), prompt="2+2?", answer="42")
    return replace(good, **changes)


def found(faults: list) -> str:
    """Join what the faults found."""
    return "; ".join(f"{fault.found} / {fault.expected}" for fault in faults)


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_a_row_as_the_template_writes_it_has_no_fault(
    style: str, request: pytest.FixtureRequest
) -> None:
    """Neither as an example nor as a question."""
    template = request.getfixturevalue(style)

    assert example_faults(example(template), template, "f:1") == []
    assert prompt_faults(template.prompts(["2+2?"])[0], template, "f:1") == []


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_each_lie_is_found(style: str, request: pytest.FixtureRequest) -> None:
    """BOS absent, twice or late; no terminator; an answer that is not, or not wholly, learnt."""
    template = request.getfixturevalue(style)
    good = example(template)
    tokens, start = good.tokens, good.completion
    lies = {
        "BOS (2) at places []": replace(good, tokens=(5, *tokens[1:])),
        "BOS (2) at places [0, 1]": replace(good, tokens=(BOS, *tokens), completion=start + 1),
        "BOS (2) at places [1]": replace(good, tokens=(5, *tokens), completion=start + 1),
        "at the end of what is learnt": replace(good, tokens=tokens[:-1]),
        "'2' learnt / the answer '42' in it": replace(good, completion=len(tokens) - 2),
        "the answer '43' in it": replace(good, answer="43"),
        "nothing supervised": replace(good, completion=len(tokens) - 1),
    }

    for expected, lie in lies.items():
        faults = example_faults(lie, template, "f:1")
        assert expected in found(faults)
        assert {fault.where for fault in faults} == {"f:1"}


def test_an_answer_is_compared_without_the_spaces_around_it(plain: Template) -> None:
    """White space around an answer says nothing; a chat template takes it away."""
    assert example_faults(example(plain, answer=" 42\n"), plain, "f:1") == []


def test_text_that_spells_a_special_token_is_refused_in_a_chat_only(
    plain: Template, chat: Template
) -> None:
    """In plain text it stays text; in a rendered chat it would end the user's turn."""
    prompt = "say <end_of_turn>"

    assert prompt_faults(plain.prompts([prompt])[0], plain, "f:1") == []
    assert "the text of this row spells one" in found(
        prompt_faults(chat.prompts([prompt])[0], chat, "f:1")
    )


@pytest.fixture
def later_without_bos(tiny_chat_gemma: Path, template: TemplateTable) -> Template:
    """A chat template that writes BOS for the question it is tried with, and for no other."""
    config = read_model_config(tiny_chat_gemma)
    tokenizer = read_tokenizer(tiny_chat_gemma, config)
    tokenizer._tokenizer.chat_template = CHAT_TEMPLATE.replace(
        "{{ bos_token }}",
        "{% if 'What is' in messages[0]['content'] %}{{ bos_token }}{% endif %}",
    )
    table = replace(template, style="chat", prompt="{prompt}", completion="{final_answer}")
    return Template(table, tokenizer, config)


def test_every_row_with_a_fault_is_named_at_once(
    later_without_bos: Template, write_rows: WriteRows, tmp_path: Path
) -> None:
    """Rows without BOS, and a prompt that spells a token: all lines in one error."""
    rows = write_rows(
        [ROW, ROW | {"prompt": "What is <bos>2+2?"}, ROW, ROW | {"prompt": "What is it?"}]
    )

    with pytest.raises(RowsError) as caught:
        read_examples(rows, later_without_bos, 64)

    problems = caught.value.problems
    assert [problem.where for problem in problems] == [f"{rows}:{line}" for line in (1, 2, 3)]
    assert problems[0].found == "BOS (2) at places []"


def test_the_same_fault_in_every_row_is_told_once(
    later_without_bos: Template, write_rows: WriteRows, tmp_path: Path, tiny_chat_gemma: Path
) -> None:
    """By the file that has a say in every row; what only one row has is told beside it."""
    rows = write_rows([ROW, ROW | {"prompt": "<eos>"}, ROW])

    with pytest.raises(RowsError) as caught:
        read_examples(rows, later_without_bos, 64)

    first, second = caught.value.problems
    assert first.found == "BOS (2) at places [] in each of 3 rows"
    assert first.where == str(tiny_chat_gemma / "tokenizer_config.json")
    assert "[template] of the profile" in first.action
    assert second.where == f"{rows}:2"

    questions = write_rows([QUESTION | {"prompt": "a"}, QUESTION | {"id": "b", "prompt": "b"}])
    with pytest.raises(RowsError) as caught:
        read_questions(questions, later_without_bos, 64)
    (problem,) = caught.value.problems
    assert problem.found == "BOS (2) at places [] in each of 2 rows"


def test_a_fault_of_an_only_row_stays_its_own(
    later_without_bos: Template, write_rows: WriteRows, tmp_path: Path
) -> None:
    """Of one row nobody can tell whose fault it is."""
    rows = write_rows([ROW])

    with pytest.raises(RowsError) as caught:
        read_examples(rows, later_without_bos, 64)

    assert [problem.where for problem in caught.value.problems] == [f"{rows}:1"]


def test_a_question_with_a_fault_is_refused(
    chat: Template, write_rows: WriteRows, tmp_path: Path
) -> None:
    """The evaluation's prompts are held to the same."""
    rows = write_rows([QUESTION | {"prompt": "hm"}, QUESTION | {"id": "b", "prompt": "<bos>"}])

    with pytest.raises(RowsError, match=r":2: found BOS \(2\) at places \[0, 7\]"):
        read_questions(rows, chat, 64)
