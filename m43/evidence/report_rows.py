"""The rows of the report: every question with what both models said, what was lost first.

Plain HTML that folds without JavaScript; every word of a row is escaped.
"""

from collections.abc import Iterable, Sequence

from m43 import answers
from m43.evidence.hypertext import escaped, table
from m43.records import Prediction

_HEAD = (
    *("row", "prompt", "expected"),
    *("base output", "base answer", "tuned output", "tuned answer"),
)

# What can have become of a row, in the order of interest: the title, and whether base and tuned
# model have it right.
_FATES = (
    ("Lost: right before training, wrong after", (True, False)),
    ("Gained: wrong before training, right after", (False, True)),
    ("Wrong before and after", (False, False)),
    ("Right before and after", (True, True)),
)


def rows_html(predictions: Sequence[Prediction]) -> str:
    """Write every row, folded by what became of it; what was lost is open."""
    parts = []
    for title, fate in _FATES:
        rows = [row for row in predictions if (row.base_correct, row.tuned_correct) == fate]
        is_open = ' open=""' if fate == (True, False) and rows else ""
        body = table(_HEAD, map(_cells, rows)) if rows else "<p>None.</p>"
        summary = f"<summary>{escaped(title)} ({len(rows)})</summary>"
        parts.append(f"<details{is_open}>{summary}{body}</details>")
    return "".join(parts)


def _cells(row: Prediction) -> Iterable[str]:
    kind = ", ".join((row.section, row.category, row.difficulty))
    known = "prompt" if row.in_training_text else "template" if row.in_training_template else ""
    note = f"<br>{known} in training" if known else ""
    return (
        f"<code>{escaped(row.id)}</code><br>{escaped(kind)}{note}",
        _raw(row.prompt),
        _raw(row.expected),
        _raw(row.base_output),
        _judged(row, row.base_answer, row.base_correct),
        _raw(row.tuned_output),
        _judged(row, row.tuned_answer, row.tuned_correct),
    )


def _raw(words: str) -> str:
    # Line ends and spaces are shown as they are: an output may be nothing else.
    return f"<pre>{escaped(words)}</pre>" if words else "<pre><em>empty</em></pre>"


def _judged(row: Prediction, answer: str, correct: bool) -> str:
    if correct:
        verdict = '<strong class="good">right</strong>'
    elif answers.is_answer(row.expected, answer):
        verdict = '<strong class="bad">wrong</strong>'
    else:
        verdict = '<strong class="bad">no answer</strong>'
    return _raw(answer) + verdict
