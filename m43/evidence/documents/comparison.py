"""The comparison of two runs as Markdown and as a page."""

from collections.abc import Sequence

from m43.evidence.documents.charts import compared, figures_html
from m43.evidence.documents.html import escaped, section
from m43.evidence.documents.html import table as html_table
from m43.evidence.documents.markdown import code, document, prose
from m43.evidence.documents.markdown import table as markdown_table
from m43.evidence.documents.report import page_html
from m43.evidence.documents.scores import raw
from m43.evidence.run.comparison import Answers, Comparison, CurvePoint, Pair, RowChange
from m43.evidence.run.history import watermark
from m43.evidence.run.performance import SMOOTHED_STEPS

NOTHING = "No difference."


def comparison_markdown(found: Comparison) -> str:
    """Write the whole comparison."""
    one, other = found.one.name, found.other.name
    return document(
        (
            "# Two runs compared",
            f"A is {code(one)}, B is {code(other)}. Everything is read from the two run folders; "
            "`python -m m43 verify` tells whether they can be relied on.",
            _rehearsals(found),
            _markdown_pairs("what", found.overview, "**same**"),
            "## Promises",
            f"{found.promises_alike} promises ended alike in both runs.",
            _markdown_differing("promise", found.promises),
            "### Kept or broken alike, and measured differently" if found.measured else "",
            _markdown_differing("promise", found.measured) if found.measured else "",
            "## Curves",
            _points(found.points),
            "## Answers gained and lost",
            answer_words(found.answers),
            *_markdown_changes("Gained: wrong in A, right in B", found.answers.gained),
            *_markdown_changes("Lost: right in A, wrong in B", found.answers.lost),
            "## Settings",
            _markdown_differing("setting (contract.lock.json)", found.settings),
            "## Environment",
            _markdown_differing("what (opening.json, venv.json)", found.environment),
        )
    )


def answer_words(answers: Answers) -> str:
    """Say what the change of the answers is worth."""
    if not answers.rows:
        return "The two runs did not answer one question in common (predictions.jsonl)."
    gained, lost = len(answers.gained), len(answers.lost)
    return (
        f"Of {answers.rows} questions that both tuned models were asked, B has {gained} right "
        f"that A has wrong, and {lost} wrong that A has right; exact McNemar p = {answers.p:.3g} "
        "(predictions.jsonl). One run with one seed each: how much a run varies by itself was "
        "not measured."
    )


def _rehearsals(found: Comparison) -> str:
    marked = [
        f"{letter}: {watermark(each)}"
        for letter, each in (("A", found.one), ("B", found.other))
        if watermark(each)
    ]
    return f"> **{'. '.join(marked)}.**" if marked else ""


def _markdown_differing(head: str, pairs: Sequence[Pair]) -> str:
    return _markdown_pairs(head, pairs, "") if pairs else NOTHING


def _markdown_pairs(head: str, pairs: Sequence[Pair], same: str) -> str:
    rows = [
        (prose(pair.what), code(pair.one), same if same and pair.same else code(pair.other))
        for pair in pairs
    ]
    return markdown_table((head, "A", "B"), rows)


def _points(points: Sequence[CurvePoint]) -> str:
    if not points:
        return "Neither run recorded a step (training_metrics.jsonl)."
    rows = [
        (
            str(point.step),
            *(point.loss.one, point.loss.other),
            *(point.gradient_norm.one, point.gradient_norm.other),
            *(point.tokens_per_s.one, point.tokens_per_s.other),
        )
        for point in points
    ]
    quantities = ("loss (nats)", "gradient norm", "real tokens/s")
    head = ("step", *(f"{name}, {letter}" for name in quantities for letter in "AB"))
    note = f"Each over the {SMOOTHED_STEPS} steps around it (training_metrics.jsonl)."
    return f"{markdown_table(head, rows)}\n\n{note}"


def _markdown_changes(title: str, changes: Sequence[RowChange]) -> tuple[str, ...]:
    if not changes:
        return ()
    rows = [
        (code(row.id), prose(row.prompt), code(row.expected), code(row.one), code(row.other))
        for row in changes
    ]
    return (
        f"### {title} ({len(changes)})",
        markdown_table(("row", "prompt", "expected", "A", "B"), rows),
    )


def comparison_html(found: Comparison) -> str:
    """Write the whole comparison."""
    answers = found.answers
    alike = f"<p>{found.promises_alike} promises ended alike in both runs.</p>"
    measured = (
        "<details><summary>Kept or broken alike, and measured differently "
        f"({len(found.measured)})</summary>{_html_pairs('promise', found.measured)}</details>"
    )
    changed = "".join(
        (
            f"<p>{escaped(answer_words(answers))}</p>",
            _html_changes("Lost: right in A, wrong in B", answers.lost),
            _html_changes("Gained: wrong in A, right in B", answers.gained),
        )
    )
    parts = (
        ("overview", "In short", _html_pairs("what", found.overview)),
        ("promises", "Promises", alike + _html_differing("promise", found.promises) + measured),
        ("curves", "Curves of the training", _curves(found)),
        ("answers", "Answers gained and lost", changed),
        ("settings", "Settings", _html_differing("setting (contract.lock.json)", found.settings)),
        (
            "environment",
            "Environment",
            _html_differing("what (opening.json, venv.json)", found.environment),
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


def _html_differing(head: str, pairs: Sequence[Pair]) -> str:
    return _html_pairs(head, pairs) if pairs else f"<p>{NOTHING}</p>"


def _html_pairs(head: str, pairs: Sequence[Pair]) -> str:
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
    return html_table((head, "A", "B"), rows)


def _html_changes(title: str, changes: Sequence[RowChange]) -> str:
    rows = [
        (
            f"<code>{escaped(row.id)}</code>",
            *(raw(words) for words in (row.prompt, row.expected, row.one, row.other)),
        )
        for row in changes
    ]
    if not rows:
        return f"<h3>{escaped(title)} (0)</h3>"
    body = html_table(("row", "prompt", "expected", "A", "B"), rows)
    return f'<h3>{escaped(title)} ({len(rows)})</h3><div class="rows">{body}</div>'
