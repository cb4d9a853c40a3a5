"""Examples: training rows as tokens, of which only the completion is learnt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m43.errors import Problem
from m43.row_fields import training_problems
from m43.rows import Row, RowsError, bad_row, read_rows, told_once
from m43.training.example import Example
from m43.training.loaded_rows import load_fields
from m43.training.template import Template
from m43.training.token_faults import SAME_IN_ALL, example_faults


@dataclass(frozen=True, kw_only=True)
class ExamplesFile:
    """All examples of a file, in its order."""

    examples: tuple[Example, ...] = field(repr=False)
    sha256: str


def read_examples(
    path: Path, template: Template, sequence_tokens: int, scratch: Path
) -> ExamplesFile:
    """Read, check and tokenise every training row.

    Raises:
        RowsError: with all bad rows of the file, none of which is trained on or left out.
    """
    file = read_rows(path)
    problems = list(file.problems)
    problems += training_problems(file.rows)
    if problems:
        raise RowsError(problems)
    fields = tuple(load_fields(path, scratch))
    if len(fields) != len(file.rows):
        found = f"{len(fields)} rows through datasets and {len(file.rows)} lines"
        raise RowsError([bad_row(str(path), found, "as many rows as lines")])
    examples = _tokenised(fields, template)
    faults: list[Problem] = []
    for row, example in zip(file.rows, examples, strict=True):
        problems += _length_problems(row, example, sequence_tokens)
        faults += example_faults(example, template, row.where)
    problems += told_once(faults, len(examples), str(template.file), SAME_IN_ALL)
    if problems:
        raise RowsError(problems)
    return ExamplesFile(examples=examples, sha256=file.sha256)


def _tokenised(fields: tuple[Mapping[str, object], ...], template: Template) -> tuple[Example, ...]:
    prompts = [str(row["prompt"]) for row in fields]
    heads, tails = template.prompts(prompts), template.completions(prompts, fields)
    return tuple(
        Example(
            tokens=(*head, *tail),
            completion=len(head),
            prompt=str(row["prompt"]),
            answer=str(row["final_answer"]),
        )
        for row, head, tail in zip(fields, heads, tails, strict=True)
    )


def _length_problems(row: Row, example: Example, sequence_tokens: int) -> list[Problem]:
    if len(example.tokens) <= sequence_tokens:
        return []
    # Cutting a row would teach an answer without its end.
    found, expected = f"{len(example.tokens)} tokens", f"at most {sequence_tokens}"
    action = "raise training.sequence_tokens, or shorten the row or take it out"
    return [bad_row(row.where, found, f"{expected} (training.sequence_tokens)", action)]
