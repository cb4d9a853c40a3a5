"""The comparison of two runs, as Markdown and as a page."""

from collections.abc import Sequence

from m43.evidence.documents.charts import pictures
from m43.evidence.documents.html import page
from m43.evidence.documents.markdown import markdown
from m43.evidence.documents.nodes import (
    Details,
    Figure,
    Node,
    Quote,
    Section,
    Table,
    Text,
    code,
    note,
    rich,
    strong,
)
from m43.evidence.run import (
    SMOOTHED_STEPS,
    Answers,
    Comparison,
    CurvePoint,
    Pair,
    RowChange,
    watermark,
)

NOTHING = "No difference."


def comparison_markdown(found: Comparison) -> str:
    """Write the whole comparison as Markdown, the curves as a table."""
    parts = _sections(found, _points(found.points))
    return markdown(Section("Two runs compared", (*_head(found), *parts)))


def comparison_html(found: Comparison) -> str:
    """Write the whole comparison as a page, the curves as pictures."""
    title = f"{found.one.name} and {found.other.name} compared"
    head = Section("Two runs compared", _head(found), "verdict")
    footer = Text(rich("Drawn by `python -m m43 compare`."), "note")
    return page(title, (head,), _sections(found, _curves(found)), footer)


def _head(found: Comparison) -> list[Node]:
    one, other = code(found.one.name), code(found.other.name)
    text = rich(
        ". Everything is read from the two run folders; `python -m m43 verify` tells whether they "
        "can be relied on."
    )
    marked = [
        f"{letter}: {watermark(each)}"
        for letter, each in (("A", found.one), ("B", found.other))
        if watermark(each)
    ]
    banner = strong(f"{'. '.join(marked)}.") if marked else ()
    return [
        Text(("A is ", one, ", B is ", other, text)),
        Text(banner, "banner"),
        _pairs("what", found.overview),
    ]


def _sections(found: Comparison, curves: Sequence[Node]) -> list[Section]:
    answers = found.answers
    alike = Text(f"{found.promises_alike} promises ended alike in both runs.")
    title = f"Kept or broken alike, and measured differently ({len(found.measured)})"
    measured = [Details(title, (_pairs("promise", found.measured),))] if found.measured else []
    return [
        Section("Promises", (alike, _differing("promise", found.promises), *measured), "promises"),
        Section("Curves", curves, "curves"),
        Section(
            "Answers gained and lost",
            (
                Text(answer_words(answers)),
                *_changes("Lost: right in A, wrong in B", answers.lost),
                *_changes("Gained: wrong in A, right in B", answers.gained),
            ),
            "rows",
        ),
        Section(
            "Settings",
            (_differing("setting (contract.lock.json)", found.settings),),
            "settings",
        ),
        Section(
            "Environment",
            (_differing("what (opening.json, venv.json)", found.environment),),
            "environment",
        ),
    ]


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


def _differing(head: str, pairs: Sequence[Pair]) -> Node:
    return _pairs(head, pairs) if pairs else Text(NOTHING)


def _pairs(head: str, pairs: Sequence[Pair]) -> Table:
    rows = [
        (pair.what, code(pair.one), note("same") if pair.same else code(pair.other))
        for pair in pairs
    ]
    return Table((head, "A", "B"), rows)


def _curves(found: Comparison) -> list[Node]:
    runs = {"A": found.one.metrics, "B": found.other.metrics}
    there = {letter: steps for letter, steps in runs.items() if steps}
    return [Figure(each) for each in pictures(there)] if there else _points(())


def _points(points: Sequence[CurvePoint]) -> list[Node]:
    if not points:
        return [Text("Neither run recorded a step (training_metrics.jsonl).")]
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
    text = f"Each over the {SMOOTHED_STEPS} steps around it (training_metrics.jsonl)."
    return [Table(head, rows), Text(text)]


def _changes(title: str, changes: Sequence[RowChange]) -> list[Node]:
    if not changes:
        return []
    rows = [
        (code(row.id), Quote(row.prompt), Quote(row.expected), Quote(row.one), Quote(row.other))
        for row in changes
    ]
    table = Table(("row", "prompt", "expected", "A", "B"), rows)
    return [Section(f"{title} ({len(changes)})", (table,))]
