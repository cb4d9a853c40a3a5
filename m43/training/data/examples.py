"""Examples and questions: the rows of both files, checked and tokenised."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from m43.errors import Problem
from m43.rows.rows import (
    QUESTION_FIELDS,
    Row,
    RowsError,
    bad_row,
    parse_line,
    question_problems,
    read_rows,
    told_once,
    training_problems,
)
from m43.text import without_mark
from m43.training.data.template import Template


@dataclass(frozen=True, kw_only=True)
class Example:
    """BOS, prompt, completion, terminator; what is learnt is the latter two.

    Attributes:
        completion: index of the first token that is learnt.
        prompt: as it stands in the row, as does the answer.
    """

    tokens: tuple[int, ...] = field(repr=False)
    completion: int
    prompt: str
    answer: str

    @property
    def supervised(self) -> tuple[int, ...]:
        """The tokens that are learnt."""
        return self.tokens[self.completion :]


SAME_IN_ALL = "correct it, or [template] of the profile, or every row"


def example_faults(example: Example, template: Template, where: str) -> list[Problem]:
    """Check a training row on the ids that are trained on.

    BOS is there once, at the start; the terminator ends what is learnt; the answer, as the ids of
    what is learnt decode to it, is wholly there; and no text of the row has become a special token.
    """
    if len(example.supervised) < 2:
        # The terminator alone would teach the model to say nothing.
        return [bad_row(where, "nothing supervised", "an answer to learn")]
    found = [*_bos_faults(example.tokens, template)]
    if example.supervised[-1] != template.terminator:
        last = f"token {example.supervised[-1]} at the end of what is learnt"
        found.append((last, f"the terminator, {template.terminator}"))
    learnt, answer = template.decode(example.supervised), example.answer.strip()
    if answer not in learnt:
        found.append((f"{learnt[:80]!r} learnt", f"the answer {answer[:80]!r} in it"))
    marks = (*template.prompt_marks, template.terminator)
    found += _mark_faults(example.tokens, marks, template)
    return [bad_row(where, *each) for each in found]


def prompt_faults(ids: Sequence[int], template: Template, where: str) -> list[Problem]:
    """Check the prompt of an evaluation row: BOS once, and no text that became a special token."""
    found = [*_bos_faults(ids, template), *_mark_faults(ids, template.prompt_marks, template)]
    return [bad_row(where, *each) for each in found]


def _bos_faults(ids: Sequence[int], template: Template) -> Iterator[tuple[str, str]]:
    bos = template.bos_id
    if ids[:1] != (bos,) or ids.count(bos) != 1:
        where = [place for place, number in enumerate(ids) if number == bos]
        yield f"BOS ({bos}) at places {where}", "it exactly once, at the start"


def _mark_faults(
    ids: Sequence[int], marks: Sequence[int], template: Template
) -> Iterator[tuple[str, str]]:
    found = [number for number in template.marks(ids) if number != template.bos_id]
    expected = [number for number in marks if number != template.bos_id]
    if found != expected:
        yield (
            f"special tokens {found}",
            f"{expected}, as the template alone writes them: the text of this row spells one",
        )


def load_fields(path: Path, scratch: Path) -> Iterator[Mapping[str, object]]:
    """Read the rows of a checked file through `datasets`, whose cache goes into `scratch`.

    As lines of text: its JSON reader guesses types, and a column of dates comes back as
    timestamps (2024-01-05 as "2024-01-05 00:00:00", seen in datasets 5.2).
    """
    # Here because the import takes a second and is of no use to a file that was refused.
    import datasets

    datasets.disable_progress_bars()
    # It always writes a cache: here, so that nothing is left in the person's home.
    with tempfile.TemporaryDirectory(prefix=".rows-", dir=scratch) as cache:
        lines = datasets.load_dataset(
            "text",
            data_files=str(path),
            split="train",
            cache_dir=cache,
            keep_in_memory=True,
            encoding="utf-8",
        )["text"]
        for number, line in enumerate(lines):
            data = line.encode()
            # The mark that may stand before the first row; `datasets` hands it on.
            yield parse_line(data if number else without_mark(data))


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
        problems += _example_length_problems(row, example, sequence_tokens)
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


def _example_length_problems(row: Row, example: Example, sequence_tokens: int) -> list[Problem]:
    if len(example.tokens) <= sequence_tokens:
        return []
    # Cutting a row would teach an answer without its end.
    found, expected = f"{len(example.tokens)} tokens", f"at most {sequence_tokens}"
    action = "raise training.sequence_tokens, or shorten the row or take it out"
    return [bad_row(row.where, found, f"{expected} (training.sequence_tokens)", action)]


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
        problems += _question_length_problems(row, ids, longest_prompt)
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


def _question_length_problems(row: Row, ids: tuple[int, ...], longest_prompt: int) -> list[Problem]:
    if len(ids) <= longest_prompt:
        return []
    found, expected = f"a prompt of {len(ids)} tokens", f"at most {longest_prompt}"
    action = "raise evaluation.prompt_tokens, or shorten the row or take it out"
    return [bad_row(row.where, found, f"{expected} (evaluation.prompt_tokens)", action)]
