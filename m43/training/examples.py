"""Examples: training rows as tokens, of which only the completion is learnt."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m43.config import TemplateTable
from m43.core.gemma_config import GemmaConfig
from m43.errors import Problem
from m43.training.rows import (
    Row,
    RowsError,
    bad_row,
    load_fields,
    read_rows,
    text_field,
    text_value,
)
from m43.training.tokenizer import Tokenizer

_PLACEHOLDER = re.compile(r"\{(prompt|steps|final_answer)\}")


@dataclass(frozen=True, kw_only=True)
class Example:
    """One training row: BOS, prompt, completion, EOS; what is learnt begins at `completion`."""

    tokens: tuple[int, ...] = field(repr=False)
    completion: int  # index of the first token that is learnt
    prompt: str  # as it stands in the row


@dataclass(frozen=True, kw_only=True)
class ExamplesFile:
    """All examples of a file, in its order."""

    examples: tuple[Example, ...] = field(repr=False)
    sha256: str


def read_examples(
    path: Path,
    template: TemplateTable,
    tokenizer: Tokenizer,
    config: GemmaConfig,
    sequence_tokens: int,
    scratch: Path,
) -> ExamplesFile:
    """Read, check and tokenise every training row.

    Raises:
        RowsError: with all bad rows of the file, none of which is trained on or left out.
    """
    file = read_rows(path)
    problems = list(file.problems)
    for row in file.rows:
        problems += training_row_problems(row)
    if problems:
        raise RowsError(problems)
    fields = tuple(load_fields(path, scratch))
    if len(fields) != len(file.rows):
        found = f"{len(fields)} rows through datasets and {len(file.rows)} lines"
        raise RowsError([bad_row(str(path), found, "as many rows as lines")])
    examples = _tokenised(fields, template, tokenizer, config)
    problems = _token_problems(file.rows, examples, sequence_tokens)
    if problems:
        raise RowsError(problems)
    return ExamplesFile(examples=examples, sha256=file.sha256)


def training_row_problems(row: Row) -> list[Problem]:
    """Check the fields of a training row: prompt, final_answer, and steps with content."""
    problems = []
    for name in ("prompt", "final_answer"):
        problems += text_field(row, name)[1]
    if "steps" not in row.fields:
        return [*problems, bad_row(row.where, "no steps", "the field steps")]
    steps = row.fields["steps"]
    if not isinstance(steps, list):
        return [*problems, bad_row(row.where, "steps that are no list", "steps as a list")]
    if not steps:
        return [*problems, bad_row(row.where, "an empty steps", "steps with content")]
    for index, step in enumerate(steps):
        content = step.get("content") if isinstance(step, dict) else step
        problems += text_value(row.where, f"steps[{index}].content", content)[1]
    return problems


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values in the place of {prompt}, {steps} and {final_answer}.

    In one pass: a prompt that itself says {final_answer} stays as it is.

    Example:
        >>> fill("Q: {prompt}", {"prompt": "what is {final_answer}?"})
        'Q: what is {final_answer}?'
    """
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def prompt_tokens(
    prompts: list[str], template: TemplateTable, tokenizer: Tokenizer, config: GemmaConfig
) -> list[tuple[int, ...]]:
    """Render and tokenise prompts, each with BOS once; training and evaluation share this."""
    texts = [fill(template.prompt, {"prompt": prompt}) for prompt in prompts]
    return [(config.bos_id, *ids) for ids in tokenizer.encode_all(texts)]


def _tokenised(
    fields: tuple[Mapping[str, object], ...],
    template: TemplateTable,
    tokenizer: Tokenizer,
    config: GemmaConfig,
) -> tuple[Example, ...]:
    prompts = [str(row["prompt"]) for row in fields]
    # Prompt and completion apart, as at evaluation, where only the prompt is there to tokenise.
    before = prompt_tokens(prompts, template, tokenizer, config)
    after = tokenizer.encode_all([_completion(row, template) for row in fields])
    return tuple(
        Example(tokens=(*head, *tail, config.eos_ids[0]), completion=len(head), prompt=prompt)
        for prompt, head, tail in zip(prompts, before, after, strict=True)
    )


def _completion(row: Mapping[str, object], template: TemplateTable) -> str:
    steps = row["steps"]
    assert isinstance(steps, list)
    values = {
        "steps": "\n".join(step["content"] for step in steps),
        "final_answer": str(row["final_answer"]),
    }
    return fill(template.completion, values)


def _token_problems(
    rows: tuple[Row, ...], examples: tuple[Example, ...], sequence_tokens: int
) -> list[Problem]:
    problems = []
    for row, example in zip(rows, examples, strict=True):
        if len(example.tokens) > sequence_tokens:
            found, expected = f"{len(example.tokens)} tokens", f"at most {sequence_tokens}"
            problems.append(bad_row(row.where, found, f"{expected} (training.sequence_tokens)"))
        # EOS alone would teach the model to say nothing.
        if len(example.tokens) - example.completion < 2:
            problems.append(bad_row(row.where, "nothing supervised", "an answer to learn"))
    return problems
