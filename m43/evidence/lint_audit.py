"""The audit of the lint: whether what was counted before the first step is what then happened."""

from collections.abc import Iterator
from pathlib import Path

from m43.errors import Problem
from m43.evidence.child_facts import EvaluationFacts, TrainFacts
from m43.evidence.dossier import Dossier
from m43.evidence.rows_audit import rows_of
from m43.lint_record import LintRecord
from m43.row_counts import Answered, count_forms, count_repeats

_FILE = "lint.json"


def audit_lint(dossier: Dossier, repository: Path) -> Iterator[Problem]:
    """Count again what the lint counted, from the metrics and from both files of rows."""
    lint, train, evaluation = dossier.lint, dossier.train, dossier.evaluation
    if lint is None or train is None or evaluation is None or dossier.profile is None:
        return
    yield from _step_problems(lint, train, evaluation)
    data = dossier.profile.data
    trained = rows_of(data.train, lint.train_rows_sha256, repository, "training")
    asked = rows_of(data.evaluation, lint.eval_rows_sha256, repository, "evaluation")
    # That a file is not there is told where its rows are audited.
    if not isinstance(trained, Problem) and not isinstance(asked, Problem):
        yield from _row_problems(lint, trained, asked)


def _step_problems(
    lint: LintRecord, train: TrainFacts, evaluation: EvaluationFacts
) -> Iterator[Problem]:
    steps = train.metrics
    yield from _differences(
        {
            "train_rows_sha256": (lint.train_rows_sha256, train.train_rows_sha256),
            "eval_rows_sha256": (lint.eval_rows_sha256, evaluation.eval_rows_sha256),
            "rows_in_file": (lint.rows_in_file, train.rows_in_file),
            "rows_planned": (lint.rows_planned, train.rows_used),
            "truncated_rows": (lint.truncated_rows, 0),
            "padded_tokens": (lint.padded_tokens, sum(step.padded_tokens for step in steps)),
            "real_tokens": (lint.real_tokens, sum(step.real_tokens for step in steps)),
            "supervised_tokens": (
                lint.supervised_tokens,
                sum(step.supervised_tokens for step in steps),
            ),
        }
    )


def _row_problems(
    lint: LintRecord, trained: list[dict[str, str]], asked: list[dict[str, str]]
) -> Iterator[Problem]:
    answered = [Answered(prompt=row["prompt"], answer=row["final_answer"]) for row in trained]
    repeats = count_repeats(answered)
    forms = count_forms([row.answer for row in answered], [row["expected_answer"] for row in asked])
    yield from _differences(
        {
            "duplicate_rows": (lint.duplicate_rows, repeats.duplicates),
            "contradicting_rows": (lint.contradicting_rows, repeats.contradictions),
            "forms": (lint.forms, forms),
        }
    )


def _differences(pairs: dict[str, tuple[object, object]]) -> Iterator[Problem]:
    action = "do not rely on this folder: the lint is not that of its rows and steps"
    for name, (found, expected) in pairs.items():
        if found != expected:
            where = f"{_FILE}, {name}"
            yield Problem(found=str(found), expected=str(expected), where=where, action=action)
