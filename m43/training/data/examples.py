"""Examples and questions: the rows of both files, read once, checked and tokenised."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from m43.errors import Problem
from m43.records import ColumnsTable
from m43.rows import (
    QUESTION_FIELDS,
    Row,
    RowsError,
    bad_row,
    merge_repeated,
    question_problems,
    training_problems,
)
from m43.training.data.parquet import read_file
from m43.training.data.template import Template
from m43.training.data.tokenizer import Ids


@dataclass(frozen=True, kw_only=True)
class Example:
    """A training row as tokens: BOS, prompt, completion, terminator; the latter two are learnt.

    Attributes:
        completion: index of the first token that is learnt.
        prompt: as it stands in the row, as does the answer.
    """

    tokens: Ids = field(repr=False)
    completion: int
    prompt: str
    answer: str

    @property
    def supervised(self) -> Ids:
        """The tokens that are learnt."""
        return self.tokens[self.completion :]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One evaluation row and the tokens of its prompt."""

    id: str
    prompt: str
    expected: str
    section: str
    category: str
    difficulty: str
    tokens: Ids = field(repr=False)


Item = TypeVar("Item", bound=Example | Question)


@dataclass(frozen=True, kw_only=True)
class TokenisedFile(Generic[Item]):
    """All rows of a file as examples or as questions, in its order."""

    rows: tuple[Item, ...] = field(repr=False)
    sha256: str


@dataclass(frozen=True, kw_only=True)
class _Reading(Generic[Item]):
    """What the two kinds of rows differ in.

    Attributes:
        check: the fields of all rows, before any is tokenised.
        tokenise: rows whose fields are good.
        faults: what is wrong with the ids of one item, at a place.
        longest: an item may have this many tokens.
        setting: of the profile, that says so.
        counted: what the tokens are of.
    """

    check: Callable[[tuple[Row, ...]], list[Problem]]
    tokenise: Callable[[tuple[Row, ...], Template], Iterator[Item]]
    faults: Callable[[Item, Template, str], list[Problem]]
    longest: int
    setting: str
    counted: str


def read_examples(
    path: Path, template: Template, longest: int, columns: ColumnsTable | None = None
) -> TokenisedFile[Example]:
    """Read, check and tokenise every training row.

    Raises:
        RowsError: with all bad rows of the file, none of which is trained on or left out.
    """
    reading = _Reading(
        check=training_problems,
        tokenise=_examples,
        faults=example_faults,
        longest=longest,
        setting="training.sequence_tokens",
        counted="{} tokens",
    )
    return _read(path, columns, template, reading)


def read_questions(
    path: Path, template: Template, longest: int, columns: ColumnsTable | None = None
) -> TokenisedFile[Question]:
    """Read, check and tokenise every evaluation row.

    Raises:
        RowsError: with all bad rows of the file, none of which is left out of the score.
    """
    reading = _Reading(
        check=question_problems,
        tokenise=_questions,
        faults=lambda question, template, where: prompt_faults(question.tokens, template, where),
        longest=longest,
        setting="evaluation.prompt_tokens",
        counted="a prompt of {} tokens",
    )
    return _read(path, columns, template, reading)


def _read(
    path: Path, columns: ColumnsTable | None, template: Template, reading: _Reading[Item]
) -> TokenisedFile[Item]:
    file = read_file(path, columns)
    problems = [*file.problems, *reading.check(file.rows)]
    if problems:
        raise RowsError(problems)
    items = tuple(reading.tokenise(file.rows, template))
    faults: list[Problem] = []
    for row, item in zip(file.rows, items, strict=True):
        # Cutting a row would teach an answer without its end, or ask another question.
        if len(item.tokens) > reading.longest:
            found = reading.counted.format(len(item.tokens))
            expected = f"at most {reading.longest} ({reading.setting})"
            action = f"raise {reading.setting}, or shorten the row or take it out"
            problems.append(bad_row(row.where, found, expected, action))
        faults += reading.faults(item, template, row.where)
    problems += merge_repeated(faults, len(items), str(template.file), SAME_IN_ALL)
    if problems:
        raise RowsError(problems)
    return TokenisedFile(rows=items, sha256=file.sha256)


def _examples(rows: tuple[Row, ...], template: Template) -> Iterator[Example]:
    names = ("prompt", "final_answer")
    texts = [
        {name: row.fields[name] for name in names} | {"steps": _contents(row.fields["steps"])}
        for row in rows
    ]

    def encode(batch: _Columns) -> dict[str, tuple[Ids, ...]]:
        pairs = zip(batch["steps"], batch["final_answer"], strict=True)
        answered = [{"steps": steps, "final_answer": answer} for steps, answer in pairs]
        return {
            "prompt": template.prompts(batch["prompt"]),
            "completion": template.completions(batch["prompt"], answered),
        }

    ids = _mapped(texts, encode, ("prompt", "completion"))
    for text, head, tail in zip(texts, ids["prompt"], ids["completion"], strict=True):
        yield Example(
            tokens=(*head, *tail),
            completion=len(head),
            prompt=str(text["prompt"]),
            answer=str(text["final_answer"]),
        )


def _contents(steps: object) -> list[dict[str, object]]:
    """Keep what a template shows of the steps: the columns of `datasets` have one type each."""
    assert isinstance(steps, list)
    return [{"content": step["content"]} for step in steps]


def _questions(rows: tuple[Row, ...], template: Template) -> Iterator[Question]:
    texts = [{name: str(row.fields[name]) for name in QUESTION_FIELDS} for row in rows]
    ids = _mapped(texts, lambda batch: {"prompt": template.prompts(batch["prompt"])}, ("prompt",))
    for text, tokens in zip(texts, ids["prompt"], strict=True):
        yield Question(
            id=text["id"],
            prompt=text["prompt"],
            expected=text["expected_answer"],
            section=text["section"],
            category=text["category"],
            difficulty=text["difficulty"],
            tokens=tuple(tokens),
        )


_Columns = Mapping[str, list]


def _mapped(
    rows: Sequence[Mapping[str, object]],
    encode: Callable[[_Columns], Mapping[str, tuple[Ids, ...]]],
    made: tuple[str, ...],
) -> Mapping[str, Sequence[Sequence[int]]]:
    """Map rows of text to columns of ids, batch by batch and in memory.

    `datasets` reads no file here: its JSON reader guesses types, and a column of dates comes back
    as timestamps (2024-01-05 as "2024-01-05 00:00:00", seen in datasets 5.2).
    """
    # Here because the import takes a second and is of no use to a file that was refused.
    import datasets

    datasets.disable_progress_bars()
    table = datasets.Dataset.from_list([dict(row) for row in rows])
    # Neither a cache nor a fingerprint of the function, so that nothing is written anywhere.
    mapped = table.map(
        lambda batch: {name: list(ids) for name, ids in encode(batch).items()},
        batched=True,
        remove_columns=table.column_names,
        features=datasets.Features({name: datasets.List(datasets.Value("int32")) for name in made}),
        keep_in_memory=True,
        load_from_cache_file=False,
        new_fingerprint="tokenised",
    )
    return {name: mapped[name][:] for name in made}


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
