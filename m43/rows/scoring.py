"""Scores: counted from the predictions, with Wilson intervals and McNemar's exact test."""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from statistics import NormalDist

from m43.errors import FailureClass, M43Error
from m43.records import EvaluationResults, Interval, Prediction, Tally
from m43.rows import answers

_CONFIDENCE = 0.95
# Enough for any reader, and short of where another machine's logarithm may differ, so that
# bounds that are computed again elsewhere are the same.
_DECIMALS = 6


def wilson_interval(successes: int, trials: int) -> Interval:
    """Return Wilson's 95 % score interval for a share, rounded to six decimals.

    Unlike the usual share plus or minus two standard errors it stays between 0 and 1 and does
    not shrink to a point where all trials, or none, succeeded.

    Example:
        >>> wilson_interval(0, 100)
        Interval(low=0.0, high=0.036993)

    Raises:
        ValueError: if there are no trials, or more successes than trials.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
        JASA 22 (1927), 209-212; in the form of R. G. Newcombe, Statistics in Medicine 17 (1998),
        857-872, method 3.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"found {successes} successes in {trials} trials, expected 0 to trials")
    z = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    share = successes / trials
    middle = share + z**2 / (2 * trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    low, high = (middle - reach) / scale, (middle + reach) / scale
    # A rounding error below 0 would be written as -0.0.
    return Interval(low=max(0.0, round(low, _DECIMALS)), high=min(1.0, round(high, _DECIMALS)))


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    Only rows that one model answers rightly and the other wrongly say anything about a
    difference. Were both equally good, each such row would be won by either with the chance of
    a fair coin: p is the chance of a split at least as uneven. Without such rows it is 1.

    Args:
        gained: rows that only the second model answers rightly.
        lost: rows that only the first model answers rightly.

    Example:
        >>> mcnemar_p(5, 0), mcnemar_p(3, 1), mcnemar_p(0, 0)  # 2 of 32, 10 of 16
        (0.0625, 0.625, 1.0)

    Raises:
        ValueError: if a count is negative.
    Source: Q. McNemar, "Note on the sampling error of the difference between correlated
        proportions or percentages", Psychometrika 12 (1947), 153-157; exact (binomial) as in
        A. Agresti, Categorical Data Analysis, 2nd ed. (2002), section 10.1.4.
    """
    if gained < 0 or lost < 0:
        raise ValueError(f"found {gained} gained and {lost} lost rows, expected no negative count")
    rows = gained + lost
    tail = sum(math.comb(rows, count) for count in range(min(gained, lost) + 1))
    # Both tails; where the split is even they overlap in the middle. A fraction is exact, and its
    # float is the same on every machine.
    return float(min(Fraction(1), Fraction(2 * tail, 2**rows)))


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
    """Return the rows whose answers or verdicts do not follow from their outputs.

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
