"""The comparison of two runs as a page, its curves over each other."""

from collections.abc import Sequence

from m43.evidence.comparison import Comparison, Pair, RowChange
from m43.evidence.comparison_markdown import NOTHING, answer_words
from m43.evidence.hypertext import escaped, section, table
from m43.evidence.report import page_html
from m43.evidence.report_curves import compared, figures_html
from m43.evidence.report_rows import raw
from m43.evidence.sections import watermark


def comparison_html(found: Comparison) -> str:
    """Write the whole comparison."""
    answers = found.answers
    alike = f"<p>{found.promises_alike} promises ended alike in both runs.</p>"
    measured = (
        "<details><summary>Kept or broken alike, and measured differently "
        f"({len(found.measured)})</summary>{_pairs('promise', found.measured)}</details>"
    )
    changed = "".join(
        (
            f"<p>{escaped(answer_words(answers))}</p>",
            _changes("Lost: right in A, wrong in B", answers.lost),
            _changes("Gained: wrong in A, right in B", answers.gained),
        )
    )
    parts = (
        ("overview", "In short", _pairs("what", found.overview)),
        ("promises", "Promises", alike + _differing("promise", found.promises) + measured),
        ("curves", "Curves of the training", _curves(found)),
        ("answers", "Answers gained and lost", changed),
        ("settings", "Settings", _differing("setting (contract.lock.json)", found.settings)),
        (
            "environment",
            "Environment",
            _differing("what (opening.json, venv.json)", found.environment),
        ),
    )
    links = "".join(f'<li><a href="#{anchor}">{title}</a></li>' for anchor, title, _ in parts)
    body = "".join(section(*part) for part in parts)
    title = f"{found.one.name} and {found.other.name} compared"
    return page_html(
        title,
        f"<header>{_head(found)}"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav></header><main>{body}</main>',
    )


def _head(found: Comparison) -> str:
    marked = "".join(
        f'<p class="rehearsal"><strong>{letter}: {escaped(watermark(each))}</strong></p>'
        for letter, each in (("A", found.one), ("B", found.other))
        if watermark(each)
    )
    return (
        f'{marked}<div class="verdict open"><h1>Two runs compared</h1><p class="reason">A is '
        f"<code>{escaped(found.one.name)}</code>, B is <code>{escaped(found.other.name)}</code>."
        "</p></div>"
    )


def _curves(found: Comparison) -> str:
    runs = {"A": found.one.metrics, "B": found.other.metrics}
    there = {letter: steps for letter, steps in runs.items() if steps}
    if not there:
        return "<p>Neither run recorded a step (training_metrics.jsonl).</p>"
    return figures_html(compared(there))


def _differing(head: str, pairs: Sequence[Pair]) -> str:
    return _pairs(head, pairs) if pairs else f"<p>{NOTHING}</p>"


def _pairs(head: str, pairs: Sequence[Pair]) -> str:
    rows = [
        (
            escaped(pair.what),
            f"<code>{escaped(pair.one)}</code>",
            '<span class="note">same</span>'
            if pair.same
            else f"<code>{escaped(pair.other)}</code>",
        )
        for pair in pairs
    ]
    return table((head, "A", "B"), rows)


def _changes(title: str, changes: Sequence[RowChange]) -> str:
    rows = [
        (
            f"<code>{escaped(row.id)}</code>",
            *(raw(words) for words in (row.prompt, row.expected, row.one, row.other)),
        )
        for row in changes
    ]
    if not rows:
        return f"<h3>{escaped(title)} (0)</h3>"
    body = table(("row", "prompt", "expected", "A", "B"), rows)
    return f'<h3>{escaped(title)} ({len(rows)})</h3><div class="rows">{body}</div>'
