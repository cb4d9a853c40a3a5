"""Scores: counted from the predictions, so that anybody can count them again."""

from collections.abc import Sequence

from m43 import answers
from m43.errors import FailureClass, M43Error
from m43.records import EvaluationResults, Prediction, Tally


class NoPredictionsError(M43Error):
    """An evaluation without a single row, which would score nothing out of nothing."""

    failure_class = FailureClass.EVALUATION_INCOMPLETE


def tally(predictions: Sequence[Prediction]) -> EvaluationResults:
    """Count the right and the missing answers, overall and by section, category, difficulty.

    Groups of a kind stand in the order of their names.

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
    for kind in ("section", "category", "difficulty"):
        for name in sorted({getattr(row, kind) for row in predictions}):
            rows = [row for row in predictions if getattr(row, kind) == name]
            groups.append(_count(f"{kind}: {name}", rows))
    return EvaluationResults(overall=_count("overall", predictions), groups=tuple(groups))


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
    return Tally(
        group=group,
        rows=len(rows),
        base_correct=sum(row.base_correct for row in rows),
        tuned_correct=sum(row.tuned_correct for row in rows),
        base_unanswered=sum(not row.base_answer for row in rows),
        tuned_unanswered=sum(not row.tuned_answer for row in rows),
    )
