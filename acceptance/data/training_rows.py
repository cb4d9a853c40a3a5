"""The training rows: which are drawn, in which order, and how a row looks in the file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from acceptance.data import (
    templates_arithmetic,
    templates_calendar,
    templates_logic,
    templates_numbers,
    templates_spelling,
    templates_stories,
    templates_words,
)
from acceptance.data.template import Problem, Template

SEED = 43
DATASET = "m43-reasoning-v1"
GENERATOR = "acceptance/data/make_train.py"
TRACE_VERSION = "1.0"

TEMPLATES: tuple[Template, ...] = (
    *templates_arithmetic.TEMPLATES,
    *templates_calendar.TEMPLATES,
    *templates_logic.TEMPLATES,
    *templates_numbers.TEMPLATES,
    *templates_spelling.TEMPLATES,
    *templates_stories.TEMPLATES,
    *templates_words.TEMPLATES,
)

Row = dict[str, Any]
# Draws per row before a template counts as exhausted; the tightest needs about four.
MOST_DRAWS_PER_ROW = 200


class TemplateExhaustedError(Exception):
    """A template has too few different arguments for the rows that it owes."""


def training_rows(templates: Sequence[Template] = TEMPLATES) -> list[Row]:
    """Draw the rows of every template and spread them evenly over the file."""
    placed: list[tuple[float, Row]] = []
    for template in templates:
        # A generator per template: changing one leaves the rows of the others as they are.
        random = Random(f"{SEED}/{template.name}")
        rows = _rows_of(template, random)
        # One row per slice of equal length, anywhere within it, so that any window of the file
        # sees nearly all templates and yet no fixed order among them.
        placed += [((k + random.random()) / len(rows), row) for k, row in enumerate(rows)]
    placed.sort(key=lambda pair: pair[0])
    return [_numbered(row, index) for index, (_, row) in enumerate(placed)]


def as_jsonl(rows: Iterable[Row]) -> str:
    """Write one row per line, the characters as they are rather than escaped."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _rows_of(template: Template, random: Random) -> list[Row]:
    rows: dict[str, Row] = {}
    for _ in range(template.rows * MOST_DRAWS_PER_ROW):
        if len(rows) == template.rows:
            return list(rows.values())
        arguments = template.draw(random)
        if template.accepts(arguments):
            problem = template.write(**arguments)
            rows.setdefault(problem.prompt, _row(template, arguments, problem))
    raise TemplateExhaustedError(
        f"template {template.name}: found {len(rows)} different prompts, expected "
        f"{template.rows}; widen its choices in acceptance/data/"
    )


def _row(template: Template, arguments: dict[str, Any], problem: Problem) -> Row:
    return {
        "trace_version": TRACE_VERSION,
        "prompt": problem.prompt,
        "final_answer": problem.final_answer,
        "steps": [
            {"i": i, "type": kind, "content": content}
            for i, (kind, content) in enumerate(problem.steps)
        ],
        "meta": {
            "dataset": DATASET,
            "generator": GENERATOR,
            "seed": SEED,
            "category": template.category,
            "template": template.name,
            "arguments": arguments,
        },
    }


def _numbered(row: Row, index: int) -> Row:
    return {**row, "meta": {**row["meta"], "index": index}}
