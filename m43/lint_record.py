"""The lint record: what the training and evaluation rows are like as tokens."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FormCount:
    """How many answers of each file have one form. Part of `lint.json`."""

    form: str  # of m43.answer_form.FORMS
    training_rows: int
    evaluation_rows: int


@dataclass(frozen=True, kw_only=True)
class LintRecord:
    """What the rows are like as tokens. `lint.json`, written before the first step.

    A file with a row that may not be trained on gives no record: BOS, the terminator or the answer
    is not where it must be, or the row is too long. All such rows are named in the error.
    """

    train_rows_sha256: str
    eval_rows_sha256: str
    rows_in_file: int
    rows_planned: int  # that the promised steps read, each use counted
    truncated_rows: int  # always 0: a row that is too long is refused, none is ever cut
    duplicate_rows: int  # prompt and answer are those of an earlier row, but for case and spacing
    contradicting_rows: int  # the prompt is that of an earlier row, the answer is not
    unread_rows: int  # from the completion of which evaluation would not take the row's answer
    longest_row_tokens: int
    longest_prompt_tokens: int  # of the evaluation
    # Of all planned steps together.
    padded_tokens: int  # positions computed
    real_tokens: int  # positions that are not padding
    supervised_tokens: int
    forms: tuple[FormCount, ...]

    @property
    def padding_share(self) -> float:
        """Which part of the computed positions is padding."""
        return 1 - self.real_tokens / self.padded_tokens

    @property
    def implied_epochs(self) -> float:
        """How often the file is read by the promised steps."""
        return self.rows_planned / self.rows_in_file

    @property
    def unlearnt_forms(self) -> tuple[FormCount, ...]:
        """The forms of answers that evaluation expects and training never shows."""
        return tuple(each for each in self.forms if each.evaluation_rows and not each.training_rows)
