"""The audit of the evaluated rows: whether they are those of the files that were promised."""

import json
from collections.abc import Iterator
from pathlib import Path

from m43.errors import Problem
from m43.evaluation_record import Prediction
from m43.evidence.child_facts import EvaluationFacts
from m43.evidence.digests import file_sha256
from m43.evidence.dossier import Dossier
from m43.prompt_template import KnownPrompts

_FILE = "predictions.jsonl"


def audit_rows(dossier: Dossier, repository: Path) -> Iterator[Problem]:
    """Hold every prediction against the evaluation file, and against the training file.

    A run that scored itself against other answers than the file's, or that hides which of its
    questions training had seen, would show here only.
    """
    if dossier.evaluation is None or dossier.profile is None:
        return
    facts, data = dossier.evaluation, dossier.profile.data
    yield from _same_training_file(dossier)
    questions = rows_of(data.evaluation, facts.eval_rows_sha256, repository, "evaluation")
    if isinstance(questions, Problem):
        yield questions
    else:
        yield from _question_problems(facts, questions, data.evaluation.name)
    trained = rows_of(data.train, facts.train_rows_sha256, repository, "training")
    if isinstance(trained, Problem):
        yield trained
    else:
        known = KnownPrompts.of(str(row["prompt"]) for row in trained)
        yield from _overlap_problems(facts, known, data.train.name)


def _same_training_file(dossier: Dossier) -> Iterator[Problem]:
    train, evaluation = dossier.train, dossier.evaluation
    if train and evaluation and train.train_rows_sha256 != evaluation.train_rows_sha256:
        found = f"training rows {evaluation.train_rows_sha256[:12]}…"
        expected = f"{train.train_rows_sha256[:12]}…, which training read (train.json)"
        yield _problem(found, expected, "eval.json, train_rows_sha256")


def rows_of(
    named: Path, digest: str, repository: Path, kind: str
) -> list[dict[str, str]] | Problem:
    """Read the file with a digest; its place in the profile is that of the machine of the run."""
    places = (repository / "acceptance" / "data" / named.name, named)
    path = next((each for each in places if each.is_file() and file_sha256(each) == digest), None)
    if path is None:
        return Problem(
            found=f"no file {named.name} with SHA-256 {digest[:12]}…",
            expected=f"the {kind} file of this run",
            where=str(places[0]),
            action=f"check out the commit of the run, or put its {kind} file there",
        )
    # Only \n ends a row: a text may hold the other separators that str.splitlines knows.
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [json.loads(line) for line in lines]


def _question_problems(
    facts: EvaluationFacts, questions: list[dict[str, str]], file: str
) -> Iterator[Problem]:
    given = {row["id"]: row for row in questions}
    answered = {row.id: row for row in facts.predictions}
    ids = sorted(row.id for row in facts.predictions)
    if ids != sorted(given):
        found = f"{len(ids)} ids that are not those of {file}"
        yield _problem(found, f"the {len(given)} ids of {file}", _FILE)
    for name, row in answered.items():
        if name in given:
            yield from _row_problems(row, given[name], file)


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


def _overlap_problems(facts: EvaluationFacts, known: KnownPrompts, file: str) -> Iterator[Problem]:
    for row in facts.predictions:
        flags = {
            "in_training_text": (row.in_training_text, known.has_text(row.prompt)),
            "in_training_template": (row.in_training_template, known.has_template(row.prompt)),
        }
        for field, (found, expected) in flags.items():
            if found != expected:
                where = f"{_FILE}, row {row.id}, {field}"
                yield _problem(str(found), f"{expected}, as {file} has it", where)


def _problem(found: str, expected: str, where: str) -> Problem:
    action = "do not rely on this folder: it does not say the truth about the rows that it names"
    return Problem(found=found, expected=expected, where=where, action=action)
