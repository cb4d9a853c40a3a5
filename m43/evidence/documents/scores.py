"""The scores and the rows in the documents: shares with intervals, every question and both answers.

The scores in words are plain text, which summary and report put into their own markup.

In the report the rows are plain HTML that folds without JavaScript; every word of a row is escaped.
The filter needs the script, and is hidden without it.
"""

from collections.abc import Sequence
from urllib.parse import quote

from m43.evidence.documents.html import escaped, mark
from m43.evidence.documents.html import table as html_table
from m43.evidence.documents.markdown import prose
from m43.evidence.documents.markdown import table as markdown_table
from m43.records.evaluation_record import EvaluationResults, Interval, LintRecord, Prediction, Tally
from m43.rows import answers
from m43.text import visible

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
        "m43/rows/overlap.py says (evaluation_results.json; each row: predictions.jsonl). "
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


_FILE = "lint.json"


def rows_section(lint: LintRecord) -> str:
    """Write every count of the lint, and where training and evaluation do not fit together."""
    rows = [
        ("training rows that the steps read", f"{lint.rows_planned:,} of {lint.rows_in_file:,}"),
        ("implied epochs", f"{lint.implied_epochs:.4g}"),
        ("truncated rows (a row that is too long is refused)", f"{lint.truncated_rows:,}"),
        ("rows that repeat an earlier row", f"{lint.duplicate_rows:,}"),
        ("rows that contradict an earlier row", f"{lint.contradicting_rows:,}"),
        ("rows whose answer evaluation would not read back", f"{lint.unread_rows:,}"),
        ("longest row, longest evaluation prompt", _longest(lint)),
        ("padding", f"{100 * lint.padding_share:.1f} % of {lint.padded_tokens:,} positions"),
    ]
    counts = markdown_table(
        ("what", "found", "file"), [(prose(a), prose(b), _FILE) for a, b in rows]
    )
    forms = markdown_table(
        (f"form of the answer ({_FILE})", "training rows", "evaluation rows"),
        [
            (prose(each.form), f"{each.training_rows:,}", f"{each.evaluation_rows:,}")
            for each in lint.forms
        ],
    )
    return "\n\n".join(
        (
            "Checked on the ids that were trained on, in every row of both files: BOS is there "
            "once, at the start; the terminator and the whole answer are learnt. One row that "
            "breaks this refuses the run.",
            counts,
            forms,
            _mismatch(lint),
        )
    )


def _longest(lint: LintRecord) -> str:
    return f"{lint.longest_row_tokens:,} and {lint.longest_prompt_tokens:,} tokens"


def _mismatch(lint: LintRecord) -> str:
    if not lint.unlearnt_forms:
        return f"Training shows every form of answer that evaluation asks for ({_FILE})."
    named = ", ".join(f"{each.form} ({each.evaluation_rows})" for each in lint.unlearnt_forms)
    return f"**Forms that evaluation asks for and training never shows:** {prose(named)} ({_FILE})."


_SCORES_HEAD = (
    "rows",
    "how many",
    "base right",
    "tuned right",
    "base \u25cb, tuned \u25cf, 0 to 100 %",
    "change",
    "no answer: base, tuned",
)
# Categories are many and small; they fold.
_LEADING = ("overall", "section: ", "difficulty: ")


def scores_html(results: EvaluationResults) -> str:
    """Write what changed, how sure that is, and the counts by group."""
    tallies = by_kind(results)
    leading = [tally for tally in tallies if tally.group.startswith(_LEADING)]
    others = [tally for tally in tallies if tally not in leading]
    return "".join(
        (
            f"<p>{escaped(change_words(results))}</p>",
            f'<p class="note">{escaped(luck_words(results))}</p>',
            _table(leading, "Right answers, overall, by section and by difficulty"),
            _folded(f"By category ({len(others)})", _table(others, "By category")),
            f'<p class="note">{escaped(no_answer_words(results))}</p>',
            "<h3>Rows that training also had</h3>",
            f"<p>{escaped(overlap_words(results))}</p>",
            _table(by_overlap(results), "By what training had seen"),
        )
    )


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{escaped(title)}</summary>{body}</details>"


def _table(tallies: Sequence[Tally], caption: str) -> str:
    return html_table(_SCORES_HEAD, map(_score_cells, tallies), caption) if tallies else ""


def _score_cells(tally: Tally) -> tuple[str, ...]:
    return (
        escaped(tally.group),
        str(tally.rows),
        _share(tally.base_correct, tally.rows, tally.base_interval),
        _share(tally.tuned_correct, tally.rows, tally.tuned_interval),
        _drawn(tally),
        f"{tally.tuned_correct - tally.base_correct:+d}",
        f"{tally.base_unanswered}, {tally.tuned_unanswered}",
    )


def _share(count: int, rows: int, interval: Interval) -> str:
    words = f"{share(count, rows)}<br/>"
    return f'{words}<span class="interval">{interval_words(interval)}</span>'


def _drawn(tally: Tally) -> str:
    """Draw both shares with their intervals; the same numbers stand in the cells beside it."""
    base = _whisker(tally.base_correct, tally.rows, tally.base_interval, 7, "base")
    tuned = _whisker(tally.tuned_correct, tally.rows, tally.tuned_interval, 17, "tuned")
    grid = "".join(f'<path class="grid" d="M{x} 1V23"/>' for x in (5, 55, 105, 155, 205))
    return (
        '<svg class="whiskers" aria-hidden="true" focusable="false" viewBox="0 0 210 24">'
        f"{grid}{base}{tuned}</svg>"
    )


def _whisker(count: int, rows: int, interval: Interval, y: int, kind: str) -> str:
    low, high = (5 + 200 * end for end in (interval.low, interval.high))
    middle = 5 + 200 * (count / rows if rows else 0)
    ends = "".join(f"M{end:.1f} {y - 3}v6" for end in (low, high))
    return (
        f'<path class="{kind}" d="M{low:.1f} {y}H{high:.1f}{ends}"/>'
        f'<circle class="{kind}" cx="{middle:.1f}" cy="{y}" r="3.5"/>'
    )


_ROWS_HEAD = ("row", "prompt", "expected", "base model", "tuned model")

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
        body = html_table(_ROWS_HEAD, map(_row_cells, rows)) if rows else "<p>None.</p>"
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


def _row_cells(row: Prediction) -> tuple[str, ...]:
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
