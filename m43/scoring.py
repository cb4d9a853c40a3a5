"""Scores: counted from the predictions, so that anybody can count them again."""

from collections.abc import Callable, Mapping, Sequence

from m43 import answers
from m43.errors import FailureClass, M43Error
from m43.evaluation_record import EvaluationResults, Prediction, Tally
from m43.intervals import wilson_interval
from m43.mcnemar import mcnemar_p


def _place(in_training: bool) -> str:
    return "in training" if in_training else "not in training"


_KINDS: Mapping[str, Callable[[Prediction], str]] = {
    "section": lambda row: row.section,
    "category": lambda row: row.category,
    "difficulty": lambda row: row.difficulty,
    "text": lambda row: _place(row.in_training_text),
    "template": lambda row: _place(row.in_training_template),
}


class NoPredictionsError(M43Error):
    """An evaluation without a single row, which would score nothing out of nothing."""

    failure_class = FailureClass.EVALUATION_INCOMPLETE


def tally(predictions: Sequence[Prediction]) -> EvaluationResults:
    """Count the right and the missing answers, overall and in groups, and what changed.

    Groups are made by section, category and difficulty, and by whether the prompt or its template
    occurs in the training file. Those of a kind stand in the order of their names.

    Raises:
        NoPredictionsError: if there is nothing to count.
    """
    if not predictions:
        raise NoPredictionsError(
            found="no predictions",
            expected="one for each evaluation row",
            where="the evaluation",
            action="look why the evaluation child wrote none",
        )
    groups = []
    for kind, name_of in _KINDS.items():
        for name in sorted({name_of(row) for row in predictions}):
            rows = [row for row in predictions if name_of(row) == name]
            groups.append(_count(f"{kind}: {name}", rows))
    gained = sum(row.tuned_correct and not row.base_correct for row in predictions)
    lost = sum(row.base_correct and not row.tuned_correct for row in predictions)
    return EvaluationResults(
        overall=_count("overall", predictions),
        gained=gained,
        lost=lost,
        mcnemar_p=mcnemar_p(gained, lost),
        in_training_text=sum(row.in_training_text for row in predictions),
        in_training_template=sum(row.in_training_template for row in predictions),
        groups=tuple(groups),
    )


def disagreements(predictions: Sequence[Prediction], answer_marker: str) -> tuple[str, ...]:
    """Name the rows whose answers or verdicts do not follow from their outputs.

    `tally` trusts the verdicts that stand in the rows; this is what makes them trustworthy.
    """
    return tuple(row.id for row in predictions if not _follows(row, answer_marker))


def _follows(row: Prediction, marker: str) -> bool:
    base, tuned = (
        answers.extract(output, marker) for output in (row.base_output, row.tuned_output)
    )
    verdicts = (answers.agree(row.expected, base), answers.agree(row.expected, tuned))
    return (base, tuned) == (row.base_answer, row.tuned_answer) and verdicts == (
        row.base_correct,
        row.tuned_correct,
    )


def _count(group: str, rows: Sequence[Prediction]) -> Tally:
    base = sum(row.base_correct for row in rows)
    tuned = sum(row.tuned_correct for row in rows)
    return Tally(
        group=group,
        rows=len(rows),
        base_correct=base,
        tuned_correct=tuned,
        base_interval=wilson_interval(base, len(rows)),
        tuned_interval=wilson_interval(tuned, len(rows)),
        base_unanswered=sum(not answers.is_answer(row.expected, row.base_answer) for row in rows),
        tuned_unanswered=sum(not answers.is_answer(row.expected, row.tuned_answer) for row in rows),
    )
