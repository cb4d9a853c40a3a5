"""The audit of the evaluated rows: whether they are those of the file that was promised."""

import json
from collections.abc import Iterator
from pathlib import Path

from m43.errors import Problem
from m43.evidence.digests import file_sha256
from m43.evidence.dossier import Dossier
from m43.records import Prediction

_FILE = "predictions.jsonl"


def audit_rows(dossier: Dossier, repository: Path) -> Iterator[Problem]:
    """Hold prompt and expected answer of every prediction against the evaluation file.

    A run that scored itself against other answers than the file's would show here only.
    """
    if dossier.evaluation is None or dossier.profile is None:
        return
    digest = dossier.evaluation.eval_rows_sha256
    # The file's place in the profile is that of the machine of the run; its name is enough.
    named = dossier.profile.data.evaluation
    places = (repository / "acceptance" / "data" / named.name, named)
    path = next((each for each in places if each.is_file() and file_sha256(each) == digest), None)
    if path is None:
        yield Problem(
            found=f"no file {named.name} with SHA-256 {digest[:12]}…",
            expected="the evaluation file of this run",
            where=str(places[0]),
            action="check out the commit of the run, or put its evaluation file there",
        )
        return
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    given = {row["id"]: row for row in rows}
    answered = {row.id: row for row in dossier.evaluation.predictions}
    ids = sorted(row.id for row in dossier.evaluation.predictions)
    if ids != sorted(given):
        found = f"{len(ids)} ids that are not those of {path.name}"
        yield _problem(found, f"the {len(given)} ids of {path.name}", _FILE)
    for name, row in answered.items():
        if name in given:
            yield from _row_problems(row, given[name], path.name)


def _row_problems(row: Prediction, given: dict[str, str], file: str) -> Iterator[Problem]:
    pairs = {
        "prompt": (row.prompt, given["prompt"]),
        "expected": (row.expected, given["expected_answer"]),
        "section": (row.section, given["section"]),
        "category": (row.category, given["category"]),
        "difficulty": (row.difficulty, given["difficulty"]),
    }
    for field, (found, expected) in pairs.items():
        if found != expected:
            where = f"{_FILE}, row {row.id}, {field}"
            yield _problem(repr(found[:80]), f"{expected[:80]!r}, as in {file}", where)


def _problem(found: str, expected: str, where: str) -> Problem:
    action = "do not rely on this folder: it did not answer the rows that it names"
    return Problem(found=found, expected=expected, where=where, action=action)
