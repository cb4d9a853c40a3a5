"""The comparison of two runs as Markdown, for a terminal and for GitHub."""

from collections.abc import Sequence

from m43.evidence.comparison import Answers, Comparison, CurvePoint, Pair, RowChange
from m43.evidence.markdown import code, document, prose, table
from m43.evidence.plots import SMOOTHED_STEPS
from m43.evidence.sections import watermark

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
            _pairs("what", found.overview, "**same**"),
            "## Promises",
            f"{found.promises_alike} promises ended alike in both runs.",
            _differing("promise", found.promises),
            "### Kept or broken alike, and measured differently" if found.measured else "",
            _differing("promise", found.measured) if found.measured else "",
            "## Curves",
            _points(found.points),
            "## Answers gained and lost",
            answer_words(found.answers),
            *_changes("Gained: wrong in A, right in B", found.answers.gained),
            *_changes("Lost: right in A, wrong in B", found.answers.lost),
            "## Settings",
            _differing("setting (contract.lock.json)", found.settings),
            "## Environment",
            _differing("what (opening.json, venv.json)", found.environment),
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


def _differing(head: str, pairs: Sequence[Pair]) -> str:
    return _pairs(head, pairs, "") if pairs else NOTHING


def _pairs(head: str, pairs: Sequence[Pair], same: str) -> str:
    rows = [
        (prose(pair.what), code(pair.one), same if same and pair.same else code(pair.other))
        for pair in pairs
    ]
    return table((head, "A", "B"), rows)


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
    return f"{table(head, rows)}\n\n{note}"


def _changes(title: str, changes: Sequence[RowChange]) -> tuple[str, ...]:
    if not changes:
        return ()
    rows = [
        (code(row.id), prose(row.prompt), code(row.expected), code(row.one), code(row.other))
        for row in changes
    ]
    return (f"### {title} ({len(changes)})", table(("row", "prompt", "expected", "A", "B"), rows))
