"""The fields of a row: what training and evaluation need to find in it, before any token."""

from collections import Counter

from m43.errors import Problem
from m43.plain_text import brief
from m43.rows import Row, bad_row, text_field, text_value, told_once

QUESTION_FIELDS = ("id", "prompt", "expected_answer", "section", "category", "difficulty")
_RENAME = "name the fields as m43 does, or correct every row"


def training_problems(rows: tuple[Row, ...]) -> list[Problem]:
    """Check the fields of training rows: prompt, final_answer, and steps with content.

    What is wrong in every row is told once: such a file is of another schema.
    """
    return _told_once([problem for row in rows for problem in _row_problems(row)], rows)


def _told_once(problems: list[Problem], rows: tuple[Row, ...]) -> list[Problem]:
    where = rows[0].where.rpartition(":")[0] if rows else ""
    return told_once(problems, len(rows), where, _RENAME)


def _row_problems(row: Row) -> list[Problem]:
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
        if isinstance(step, dict):
            problems += text_value(row.where, f"steps[{index}].content", step.get("content"))[1]
        else:
            problems.append(bad_row(row.where, f"steps[{index}] {brief(step)}", "it with content"))
    return problems


def question_problems(rows: tuple[Row, ...]) -> list[Problem]:
    """Check the fields of evaluation rows, and that no id stands in two of them."""
    problems: list[Problem] = []
    for row in rows:
        for name in QUESTION_FIELDS:
            problems += text_field(row, name)[1]
    problems = _told_once(problems, rows)
    times = Counter(row.fields["id"] for row in rows if isinstance(row.fields.get("id"), str))
    problems += [
        bad_row(
            row.where,
            f"the id {brief(row.fields['id'])} {times[row.fields['id']]} times",
            "it once",
        )
        for row in rows
        if isinstance(row.fields.get("id"), str) and times[row.fields["id"]] > 1
    ]
    return problems
