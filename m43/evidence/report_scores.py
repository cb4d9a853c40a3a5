"""The scores in the report: base against tuned, with intervals, overall and by group."""

from collections.abc import Sequence

from m43.evaluation_record import EvaluationResults, Tally
from m43.evidence import scores
from m43.evidence.hypertext import escaped, table
from m43.intervals import Interval

_HEAD = (
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
    tallies = scores.by_kind(results)
    leading = [tally for tally in tallies if tally.group.startswith(_LEADING)]
    others = [tally for tally in tallies if tally not in leading]
    return "".join(
        (
            f"<p>{escaped(scores.change_words(results))}</p>",
            f'<p class="note">{escaped(scores.luck_words(results))}</p>',
            _table(leading, "Right answers, overall, by section and by difficulty"),
            _folded(f"By category ({len(others)})", _table(others, "By category")),
            f'<p class="note">{escaped(scores.no_answer_words(results))}</p>',
            "<h3>Rows that training also had</h3>",
            f"<p>{escaped(scores.overlap_words(results))}</p>",
            _table(scores.by_overlap(results), "By what training had seen"),
        )
    )


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{escaped(title)}</summary>{body}</details>"


def _table(tallies: Sequence[Tally], caption: str) -> str:
    return table(_HEAD, map(_cells, tallies), caption) if tallies else ""


def _cells(tally: Tally) -> tuple[str, ...]:
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
    words = f"{scores.share(count, rows)}<br/>"
    return f'{words}<span class="interval">{scores.interval_words(interval)}</span>'


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
