"""The scores and the rows in the documents: shares with intervals, every question, both answers."""

from collections.abc import Callable, Sequence
from urllib.parse import quote

from m43.evidence.documents.nodes import (
    BREAK,
    Bar,
    Details,
    Fields,
    Link,
    Node,
    Quote,
    Section,
    Table,
    Text,
    Words,
    code,
    joined,
    mark,
    note,
    strong,
)
from m43.records import EvaluationResults, Interval, Prediction, RunDir, Tally
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


def cells(tally: Fields) -> tuple[Words, ...]:
    """Show the counts of a group, one for each column of `HEAD`."""
    change = tally.of(
        "tuned_correct - base_correct", lambda it: f"{it.tuned_correct - it.base_correct:+d}"
    )
    return (
        tally("group"),
        tally("rows"),
        tally.of("base_correct", lambda it: share(it.base_correct, it.rows)),
        _interval(tally, "base"),
        tally.of("tuned_correct", lambda it: share(it.tuned_correct, it.rows)),
        _interval(tally, "tuned"),
        change,
        f"{tally('base_unanswered')}, {tally('tuned_unanswered')}",
    )


def _interval(tally: Fields, model: str) -> Words:
    name = f"{model}_interval"
    words = tally(name, interval_words)
    if tally.record is None:
        return words
    it: Interval = getattr(tally.record, name)
    right, rows = getattr(tally.record, f"{model}_correct"), tally.record.rows
    return (Bar(right / rows if rows else 0.0, it.low, it.high), words)


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
    """Return the overall counts and those by section, by difficulty from easy on, by category."""
    groups = [tally for tally in results.groups if not tally.group.startswith(_OVERLAP)]
    return (results.overall, *sorted(groups, key=_reading_order))


def by_overlap(results: EvaluationResults) -> tuple[Tally, ...]:
    """Return the counts of the rows that training had too, and of those that it had not."""
    return tuple(tally for tally in results.groups if tally.group.startswith(_OVERLAP))


def _reading_order(tally: Tally) -> tuple[int, int]:
    # A name that is none of these is shown too, at the end: the file may not be m43's own.
    return _place(tally.group.split(":", 1)[0], _KINDS), _place(tally.group, _DIFFICULTIES)


def _place(name: str, names: tuple[str, ...]) -> int:
    return names.index(name) if name in names else len(names)


def change_words(results: Fields) -> str:
    """Say what changed between the models."""
    if results.record is not None and not results.record.gained + results.record.lost:
        return (
            "Both models have the same rows right, so a test has nothing to compare "
            "(exact McNemar p = 1, evaluation_results.json)."
        )
    return (
        f"The tuned model has {results('gained', _rows)} right that the base model has wrong, and "
        f"{results('lost', _rows)} wrong that the base model has right; exact McNemar p = "
        f"{results('mcnemar_p', '.3g')} (evaluation_results.json)."
    )


def luck_words(results: Fields) -> str:
    """Say what p means, and whether the difference is significant."""
    found = results("mcnemar_p", lambda p: "significant" if p < 0.05 else "not significant")
    return (
        "p is how often two equally good models would differ at least as unevenly on these rows "
        f"by chance: {found} at 0.05."
    )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def overlap_words(results: Fields) -> str:
    """Say how many rows are contaminated: seen in training, word for word or as a template."""
    return (
        f"{results('in_training_text')} of {results('overall.rows')} prompts occur in the training "
        f"file, ignoring case and spacing; {results('in_training_template')} share a template with "
        "it: the same prompt but for numbers, quoted texts and names, as m43/rows/overlap.py says "
        "(evaluation_results.json; each row: predictions.jsonl). Templates that differ in other "
        "words are not recognised, so there may be more."
    )


def no_answer_words(results: Fields) -> str:
    """Say from how many outputs no answer could be extracted."""
    overall = results.part("overall")
    return (
        f"No answer could be extracted from {overall('base_unanswered')} outputs of the base model "
        f"and {overall('tuned_unanswered')} of the tuned one, such as prose where a number is "
        "expected; they count as wrong (evaluation_results.json)."
    )


def evaluation(run: Fields) -> list[Node]:
    """Show what changed, how sure that is, the counts by group, and how the answers were made."""
    results = run.part("results")
    return [
        Text(f"{change_words(results)} {luck_words(results)}"),
        _table(results, by_kind),
        Text(
            "95 %: Wilson's score interval of the share of right answers. An answer is right when "
            "it equals the expected one after the normalisation that m43/rows/answers.py states. "
            "Every row with both outputs and both answers: predictions.jsonl."
        ),
        Text(_decoding(run.part("decoding"))),
        Text(no_answer_words(results)),
        Section(
            "Contamination: rows that training also had",
            (Text(overlap_words(results)), _table(results, by_overlap)),
        ),
    ]


def _table(results: Fields, choose: Callable[[EvaluationResults], Sequence[Tally]]) -> Table:
    return Table(HEAD, results.rows("groups", cells, choose))


def _decoding(decoding: Fields) -> Words:
    stops = decoding.of("stop_ids", lambda it: ", ".join(map(str, it.stop_ids)))
    stop_text = decoding("stop_text", repr)
    return (
        f"Both models answered in the same way, in {decoding('precision')}: the likeliest token "
        f"each time, until a stop id ({stops})",
        "" if stop_text == "''" else (", the text ", code(stop_text)),
        f", or {decoding('max_new_tokens')} tokens (eval.json).",
    )


_LINT = RunDir.lint.name


def rows_section(lint: Fields) -> list[Node]:
    """Show every count of the lint, and where training and evaluation do not fit together."""
    longest = f"{lint('longest_row_tokens', ',')} and {lint('longest_prompt_tokens', ',')} tokens"
    padding = lint("padding_share", lambda part: f"{100 * part:.1f}")
    rows = [
        (
            "training rows that the steps read",
            f"{lint('rows_planned', ',')} of {lint('rows_in_file', ',')}",
        ),
        ("implied epochs", lint("implied_epochs", ".4g")),
        ("truncated rows (a row that is too long is refused)", lint("truncated_rows", ",")),
        ("rows that repeat an earlier row", lint("duplicate_rows", ",")),
        ("rows that contradict an earlier row", lint("contradicting_rows", ",")),
        ("rows whose answer evaluation would not read back", lint("unread_rows", ",")),
        ("longest row, longest evaluation prompt", longest),
        ("padding", f"{padding} % of {lint('padded_tokens', ',')} positions"),
    ]
    forms = lint.rows(
        "forms",
        lambda it: (it("form"), it("training_rows", ","), it("evaluation_rows", ",")),
    )
    return [
        Text(
            "Checked on the ids that were trained on, in every row of both files: BOS is there "
            "once, at the start; the terminator and the whole answer are learnt. One row that "
            "breaks this refuses the run."
        ),
        Table(("what", "found", "file"), [(*row, _LINT) for row in rows]),
        Table((f"form of the answer ({_LINT})", "training rows", "evaluation rows"), forms),
        Text(_mismatch(lint)),
    ]


def _mismatch(lint: Fields) -> Words:
    if lint.record is None or not lint.record.unlearnt_forms:
        return f"Training shows every form of answer that evaluation asks for ({_LINT})."
    forms = lint.record.unlearnt_forms
    named = ", ".join(f"{each.form} ({each.evaluation_rows})" for each in forms)
    title = strong("Forms that evaluation asks for and training never shows:")
    return (title, f" {named} ({_LINT}).")


_ROWS_HEAD = ("row", "prompt", "expected", "base model", "tuned model")

# What can have become of a row, the worst first: a title, and whether base and tuned model have it
# right.
_FATES = (
    ("Lost: right before training, wrong after", (True, False)),
    ("Wrong before and after", (False, False)),
    ("Gained: wrong before training, right after", (False, True)),
    ("Right before and after", (True, True)),
)


def every_row(predictions: Sequence[Prediction]) -> list[Node]:
    """Show every row, folded by what became of it; the worst that there are stand open."""
    groups: list[Node] = []
    opened = False
    for title, fate in _FATES:
        rows = [row for row in predictions if (row.base_correct, row.tuned_correct) == fate]
        is_open = bool(rows) and not opened
        opened = opened or is_open
        body = Table(_ROWS_HEAD, [_row_cells(row) for row in rows]) if rows else Text("None.")
        groups.append(Details(f"{title} ({len(rows)})", (body,), is_open))
    return groups


def _row_cells(row: Prediction) -> tuple[Words, ...]:
    known = "prompt" if row.in_training_text else "template" if row.in_training_template else ""
    seen = (BREAK, note(f"its {known} is in training")) if known else ()
    anchor = visible(f"row-{row.id}")
    # The script filters by these three, in this order.
    kinds = joined(map(note, (row.section, row.category, row.difficulty)), ", ")
    # A link to itself: a row can be reached with the keyboard, and pointed out to somebody.
    return (
        (Link(row.id, f"#{quote(anchor)}", anchor), BREAK, kinds, seen),
        Quote(row.prompt),
        Quote(row.expected),
        _judged(row, row.base_output, row.base_answer, row.base_correct),
        _judged(row, row.tuned_output, row.tuned_answer, row.tuned_correct),
    )


def _judged(row: Prediction, output: str, answer: str, correct: bool) -> Words:
    if correct:
        verdict = mark("right", True)
    elif answers.is_answer(row.expected, answer):
        verdict = mark("wrong", False)
    else:
        verdict = mark("no answer", False)
    # Nothing is said twice: the output is shown apart where it is more than the answer.
    more = () if output.strip() == answer else (note("whole output"), Quote(output))
    return (verdict, Quote(answer), more)
