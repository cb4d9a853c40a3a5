"""The rows of the report: every question with what both models said, the worst first.

Plain HTML that folds without JavaScript; every word of a row is escaped. The filter needs the
script, and is hidden without it.
"""

from collections.abc import Sequence
from urllib.parse import quote

from m43 import answers
from m43.evaluation_record import Prediction
from m43.evidence.hypertext import escaped, mark, table
from m43.plain_text import visible

_HEAD = ("row", "prompt", "expected", "base model", "tuned model")

# What can have become of a row, the worst first: a word for the filter, the title, and whether
# base and tuned model have it right.
_FATES = (
    ("lost", "Lost: right before training, wrong after", (True, False)),
    ("wrong", "Wrong before and after", (False, False)),
    ("gained", "Gained: wrong before training, right after", (False, True)),
    ("right", "Right before and after", (True, True)),
)

# A hundred rows have room in a report of two megabytes, whatever the models wrote: five texts of
# this many bytes each. The whole text is in predictions.jsonl.
_MOST_BYTES = 2500


def rows_html(predictions: Sequence[Prediction]) -> str:
    """Write every row, folded by what became of it; the worst that there are stand open."""
    groups = []
    opened = False
    for word, title, fate in _FATES:
        rows = [row for row in predictions if (row.base_correct, row.tuned_correct) == fate]
        is_open = "" if opened or not rows else ' open=""'
        opened = opened or bool(rows)
        body = table(_HEAD, map(_cells, rows)) if rows else "<p>None.</p>"
        summary = f"<summary>{escaped(title)} ({len(rows)})</summary>"
        groups.append(
            f'<details class="fate" data-fate="{word}"{is_open}>{summary}{body}</details>'
        )
    return f'{_filter(predictions)}<div class="rows">{"".join(groups)}</div>'


def _filter(predictions: Sequence[Prediction]) -> str:
    """Write the controls that the script brings to life."""
    choices = (
        ("section", sorted({row.section for row in predictions})),
        ("category", sorted({row.category for row in predictions})),
        ("difficulty", sorted({row.difficulty for row in predictions})),
    )
    selects = "".join(
        f'<label>{name} <select name="{name}"><option value="">all</option>'
        + "".join(f"<option>{escaped(each)}</option>" for each in names)
        + "</select></label>"
        for name, names in choices
    )
    return (
        '<form class="filter" hidden="">'
        '<label>words <input type="search" name="words" autocomplete="off"/></label>'
        f'{selects}<button type="reset">show all</button>'
        f'<output aria-live="polite">{len(predictions)} rows</output></form>'
    )


def _cells(row: Prediction) -> tuple[str, ...]:
    known = "prompt" if row.in_training_text else "template" if row.in_training_template else ""
    note = f'<br/><span class="note">its {known} is in training</span>' if known else ""
    anchor = visible(f"row-{row.id}")
    kinds = ", ".join(
        f'<span data-{name}="{escaped(value)}">{escaped(value)}</span>'
        for name, value in (
            ("section", row.section),
            ("category", row.category),
            ("difficulty", row.difficulty),
        )
    )
    # A link to itself: a row can be reached with the keyboard, and pointed out to somebody.
    return (
        f'<a id="{escaped(anchor)}" href="#{quote(anchor)}"><code>{escaped(row.id)}</code></a>'
        f'<br/><span class="note">{kinds}</span>{note}',
        raw(row.prompt),
        raw(row.expected),
        _judged(row, row.base_output, row.base_answer, row.base_correct),
        _judged(row, row.tuned_output, row.tuned_answer, row.tuned_correct),
    )


def raw(words: str) -> str:
    """Write a text as it is, line ends and spaces too; an output may be nothing else."""
    if not words:
        return "<pre><em>empty</em></pre>"
    text, cut = _shortened(words)
    if not cut:
        return f"<pre>{text}</pre>"
    note = f"cut here: {len(words):,} characters, all of them in predictions.jsonl"
    return f'<pre>{text}</pre><p class="note">{note}</p>'


def _shortened(words: str) -> tuple[str, bool]:
    """Escape as much of a text as there is room for."""
    shown = words[:_MOST_BYTES]
    while len(escaped(shown).encode(errors="replace")) > _MOST_BYTES:
        shown = shown[: len(shown) * 3 // 4]
    return escaped(shown), len(shown) < len(words)


def _judged(row: Prediction, output: str, answer: str, correct: bool) -> str:
    if correct:
        verdict = mark("right", True)
    elif answers.is_answer(row.expected, answer):
        verdict = mark("wrong", False)
    else:
        verdict = mark("no answer", False)
    # Nothing is said twice: the output is shown apart where it is more than the answer.
    whole = "" if output.strip() == answer else f'<p class="note">whole output</p>{raw(output)}'
    return f"{verdict}{raw(answer)}{whole}"
