"""Questions: evaluation rows, checked and tokenised."""

from dataclasses import dataclass, field
from pathlib import Path

from m43.errors import Problem
from m43.row_fields import QUESTION_FIELDS, question_problems
from m43.rows import Row, RowsError, bad_row, read_rows, told_once
from m43.training.loaded_rows import load_fields
from m43.training.template import Template
from m43.training.token_faults import SAME_IN_ALL, prompt_faults


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
    path: Path, template: Template, longest_prompt: int, scratch: Path
) -> QuestionsFile:
    """Read, check and tokenise every evaluation row.

    Raises:
        RowsError: with all bad rows of the file, none of which is left out of the score.
    """
    file = read_rows(path)
    problems = [*file.problems, *question_problems(file.rows)]
    if problems:
        raise RowsError(problems)
    fields = [
        {name: str(row[name]) for name in QUESTION_FIELDS} for row in load_fields(path, scratch)
    ]
    if len(fields) != len(file.rows):
        found = f"{len(fields)} rows through datasets and {len(file.rows)} lines"
        raise RowsError([bad_row(str(path), found, "as many rows as lines")])
    tokens = template.prompts([row["prompt"] for row in fields])
    faults: list[Problem] = []
    for row, ids in zip(file.rows, tokens, strict=True):
        problems += _length_problems(row, ids, longest_prompt)
        faults += prompt_faults(ids, template, row.where)
    problems += told_once(faults, len(tokens), str(template.file), SAME_IN_ALL)
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


def _length_problems(row: Row, ids: tuple[int, ...], longest_prompt: int) -> list[Problem]:
    if len(ids) <= longest_prompt:
        return []
    found, expected = f"a prompt of {len(ids)} tokens", f"at most {longest_prompt}"
    action = "raise evaluation.prompt_tokens, or shorten the row or take it out"
    return [bad_row(row.where, found, f"{expected} (evaluation.prompt_tokens)", action)]
