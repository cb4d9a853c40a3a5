"""The scores in words: shares with their intervals, what training changed, what was known before.

Plain text, which the summary and the report put into their own markup.
"""

from m43.evaluation_record import EvaluationResults, Tally
from m43.intervals import Interval

# The heads of the columns that `cells` fills.
HEAD = (
    "rows (evaluation_results.json)",
    "rows",
    "base right",
    "base, 95 %",
    "tuned right",
    "tuned, 95 %",
    "change",
    "no answer: base, tuned",
)

_KINDS = ("overall", "section", "difficulty", "category")
_DIFFICULTIES = ("difficulty: easy", "difficulty: medium", "difficulty: hard")
_OVERLAP = ("text:", "template:")


def cells(tally: Tally) -> tuple[str, ...]:
    """Write the counts of a group, one for each column of `HEAD`."""
    return (
        tally.group,
        str(tally.rows),
        share(tally.base_correct, tally.rows),
        interval_words(tally.base_interval),
        share(tally.tuned_correct, tally.rows),
        interval_words(tally.tuned_interval),
        f"{tally.tuned_correct - tally.base_correct:+d}",
        f"{tally.base_unanswered}, {tally.tuned_unanswered}",
    )


def share(count: int, rows: int) -> str:
    """Write a count with its share.

    Example:
        >>> share(3, 8)
        '3 (38 %)'
    """
    return f"{count} ({100 * count / rows:.0f} %)" if rows else str(count)


def interval_words(interval: Interval) -> str:
    """Write an interval of shares in per cent.

    Example:
        >>> interval_words(Interval(low=0.502003, high=0.690599))
        '50.2 to 69.1 %'
    """
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def by_kind(results: EvaluationResults) -> tuple[Tally, ...]:
    """Give the overall counts and those by section, by difficulty from easy on, by category."""
    groups = [tally for tally in results.groups if not tally.group.startswith(_OVERLAP)]
    return (results.overall, *sorted(groups, key=_reading_order))


def by_overlap(results: EvaluationResults) -> tuple[Tally, ...]:
    """Give the counts of the rows that training had too, and of those that it had not."""
    return tuple(tally for tally in results.groups if tally.group.startswith(_OVERLAP))


def _reading_order(tally: Tally) -> tuple[int, int]:
    # A name that is none of these is shown too, at the end: the file may not be m43's own.
    return _place(tally.group.split(":", 1)[0], _KINDS), _place(tally.group, _DIFFICULTIES)


def _place(name: str, names: tuple[str, ...]) -> int:
    return names.index(name) if name in names else len(names)


def change_words(results: EvaluationResults) -> str:
    """Say what changed between the models."""
    gained, lost = results.gained, results.lost
    if not gained + lost:
        return (
            "Both models have the same rows right, so a test has nothing to compare "
            "(exact McNemar p = 1, evaluation_results.json)."
        )
    return (
        f"The tuned model has {_rows(gained)} right that the base model has wrong, and "
        f"{_rows(lost)} wrong that the base model has right; exact McNemar p = "
        f"{results.mcnemar_p:.3g} (evaluation_results.json)."
    )


def luck_words(results: EvaluationResults) -> str:
    """Say what p means, and on which side of the usual bar it lies."""
    bar = "below" if results.mcnemar_p < 0.05 else "not below"
    return (
        "p is how often two equally good models would differ at least as unevenly on these rows "
        f"by luck; here it is {bar} 0.05, the usual bar."
    )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def overlap_words(results: EvaluationResults) -> str:
    """Say how many rows training had seen, word for word or as a template."""
    return (
        f"Of {_rows(results.overall.rows)}, {results.in_training_text} have a prompt that the "
        f"training file has too, up to case and spacing, and {results.in_training_template} one "
        "whose template it has: the same prompt but for numbers, quoted texts and names, as "
        "m43/prompt_template.py says (evaluation_results.json; each row: predictions.jsonl). "
        "Templates that differ in other words are not recognised, so there may be more."
    )


def no_answer_words(results: EvaluationResults) -> str:
    """Say from how many outputs no answer could be taken."""
    overall = results.overall
    return (
        f"From {overall.base_unanswered} outputs of the base model and {overall.tuned_unanswered} "
        "of the tuned one no answer of the kind that was asked for could be taken, such as prose "
        "where a number is expected (evaluation_results.json). None of them counts as right."
    )
