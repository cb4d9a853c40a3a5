"""The records of the rows: how they look as tokens, how each was answered, the scores."""

from dataclasses import dataclass, field

from m43.records.profile import Precision
from m43.records.run_records import Phase


@dataclass(frozen=True, kw_only=True)
class FormCount:
    """How many answers of each file have one form. Part of `lint.json`."""

    form: str  # of m43.rows.answers.FORMS
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


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The two ends of an interval of shares, each between 0 and 1."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One evaluation row with both models' answers. A line of `predictions.jsonl`."""

    id: str
    section: str
    category: str
    difficulty: str
    prompt: str
    expected: str
    base_output: str
    tuned_output: str
    base_answer: str
    tuned_answer: str
    base_correct: bool
    tuned_correct: bool
    # Whether the training file has the same prompt, up to case and spacing; and one of the same
    # template, as m43/rows/overlap.py says. The same prompt is of the same template.
    in_training_text: bool
    in_training_template: bool


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How both models answered: the likeliest token, again and again, until a stop or the limit."""

    stop_ids: tuple[int, ...]  # the models' own: eos, and the end of a turn
    stop_text: str  # the template's; empty for none
    stop_text_ids: tuple[int, ...] = field(repr=False)  # single tokens that contain the stop text
    max_new_tokens: int
    precision: Precision  # what the models computed in


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """What the evaluation child did. `eval.json`, written by the child at its end."""

    device: str
    devices: int  # how many of that kind answered, each its share of the rows
    base_weights_sha256: str  # of the base model that was decoded
    model_sha256: str  # of the tuned model that was decoded
    eval_rows_sha256: str
    rows_in_file: int
    decoding: Decoding
    train_rows_sha256: str  # of the training file that the prompts were looked for in
    generated_tokens: int
    phases: tuple[Phase, ...] = field(repr=False)
    peak_host_bytes: int


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts of a group of evaluation rows. Part of `evaluation_results.json`."""

    group: str  # "overall", "section: core", "template: in training", ...
    rows: int
    base_correct: int
    tuned_correct: int
    base_interval: Interval  # Wilson's, 95 %, of the share of rows that are right
    tuned_interval: Interval
    # Rows that are wrong because no answer of the kind that was asked for could be taken out.
    base_unanswered: int
    tuned_unanswered: int


@dataclass(frozen=True, kw_only=True)
class EvaluationResults:
    """The scores. `evaluation_results.json`, computed from `predictions.jsonl`."""

    overall: Tally
    gained: int  # rows that the tuned model has right and the base model has not
    lost: int  # rows that the base model has right and the tuned model has not
    mcnemar_p: float  # exact, two-sided, of gained against lost
    in_training_text: int  # rows whose prompt is in the training file
    in_training_template: int  # rows whose template is
    groups: tuple[Tally, ...] = field(repr=False)
