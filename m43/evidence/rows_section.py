"""The section about the rows: what the lint counted before the first step."""

from m43.evidence.markdown import prose, table
from m43.lint_record import LintRecord

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
    counts = table(("what", "found", "file"), [(prose(a), prose(b), _FILE) for a, b in rows])
    forms = table(
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
