"""Questions: evaluation rows, checked and tokenised."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from m43.config import TemplateTable
from m43.core.gemma_config import GemmaConfig
from m43.errors import Problem
from m43.training.examples import prompt_tokens
from m43.training.rows import Row, RowsError, bad_row, load_fields, read_rows, text_field
from m43.training.tokenizer import Tokenizer

_FIELDS = ("id", "prompt", "expected_answer", "section", "category", "difficulty")


@dataclass(frozen=True, kw_only=True)
class Question:
    """One evaluation row and the tokens of its prompt."""

    id: str
    prompt: str
    expected: str
    section: str
    category: str
    difficulty: str
    tokens: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class QuestionsFile:
    """All questions of a file, in its order."""

    questions: tuple[Question, ...] = field(repr=False)
    sha256: str


def read_questions(
    path: Path,
    template: TemplateTable,
    tokenizer: Tokenizer,
    config: GemmaConfig,
    longest_prompt: int,
    scratch: Path,
) -> QuestionsFile:
    """Read, check and tokenise every evaluation row.

    Raises:
        RowsError: with all bad rows of the file, none of which is left out of the score.
    """
    file = read_rows(path)
    problems = [*file.problems, *_field_problems(file.rows)]
    if problems:
        raise RowsError(problems)
    fields = [{name: str(row[name]) for name in _FIELDS} for row in load_fields(path, scratch)]
    if len(fields) != len(file.rows):
        found = f"{len(fields)} rows through datasets and {len(file.rows)} lines"
        raise RowsError([bad_row(str(path), found, "as many rows as lines")])
    tokens = prompt_tokens([row["prompt"] for row in fields], template, tokenizer, config)
    problems = [
        bad_row(
            row.where,
            f"a prompt of {len(ids)} tokens",
            f"at most {longest_prompt} (evaluation.prompt_tokens)",
        )
        for row, ids in zip(file.rows, tokens, strict=True)
        if len(ids) > longest_prompt
    ]
    if problems:
        raise RowsError(problems)
    questions = tuple(
        Question(
            id=row["id"],
            prompt=row["prompt"],
            expected=row["expected_answer"],
            section=row["section"],
            category=row["category"],
            difficulty=row["difficulty"],
            tokens=ids,
        )
        for row, ids in zip(fields, tokens, strict=True)
    )
    return QuestionsFile(questions=questions, sha256=file.sha256)


def count_known(questions: tuple[Question, ...], trained: frozenset[str]) -> int:
    """Count the questions whose prompt occurs among the training prompts.

    Args:
        questions: of the evaluation.
        trained: training prompts as `plain_prompt` writes them.
    """
    return sum(plain_prompt(question.prompt) in trained for question in questions)


def plain_prompt(prompt: str) -> str:
    """Write a prompt without what a reader would not notice: case and spacing.

    Example:
        >>> plain_prompt("What  is 2+2? ")
        'what is 2+2?'
    """
    return " ".join(prompt.casefold().split())


def _field_problems(rows: tuple[Row, ...]) -> list[Problem]:
    problems: list[Problem] = []
    for row in rows:
        for name in _FIELDS:
            problems += text_field(row, name)[1]
    times = Counter(row.fields["id"] for row in rows if isinstance(row.fields.get("id"), str))
    problems += [
        bad_row(
            row.where, f"the id {row.fields['id']!r} {times[row.fields['id']]} times", "it once"
        )
        for row in rows
        if isinstance(row.fields.get("id"), str) and times[row.fields["id"]] > 1
    ]
    return problems
