"""Training data: tokenised examples and the batch schedule, validated before step 1."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from m43.core import Batch, GemmaConfig, check_batch
from m43.records import LintRecord, Profile, TemplateTable
from m43.rows import Answered, answers, count_forms, count_repeats
from m43.training.data.batches import COMPILATION, PlannedBatch, assemble, plan_batches
from m43.training.data.examples import (
    Example,
    Question,
    TokenisedFile,
    read_examples,
    read_questions,
)
from m43.training.data.template import Template, cut
from m43.training.data.tokenizer import read_tokenizer


def lint(
    file: TokenisedFile[Example],
    questions: TokenisedFile[Question],
    plan: Sequence[PlannedBatch],
    template: Template,
    table: TemplateTable,
) -> LintRecord:
    """Count what a person should know about two files that hold no bad row."""
    examples = file.rows
    planned = [examples[index] for batch in plan for index in batch.examples]
    repeats = count_repeats(Answered(prompt=row.prompt, answer=row.answer) for row in examples)
    return LintRecord(
        train_rows_sha256=file.sha256,
        eval_rows_sha256=questions.sha256,
        rows_in_file=len(examples),
        rows_planned=len(planned),
        truncated_rows=sum(_truncated(batch, examples) for batch in plan),
        duplicate_rows=repeats.duplicates,
        contradicting_rows=repeats.contradictions,
        unread_rows=sum(_unread(each, template, table) for each in examples),
        longest_row_tokens=max(len(each.tokens) for each in examples),
        longest_prompt_tokens=max(len(each.tokens) for each in questions.rows),
        padded_tokens=sum(batch.positions for batch in plan),
        real_tokens=sum(len(each.tokens) for each in planned),
        supervised_tokens=sum(len(each.supervised) for each in planned),
        forms=count_forms(
            [each.answer for each in examples], [each.expected for each in questions.rows]
        ),
    )


def _truncated(batch: PlannedBatch, examples: Sequence[Example]) -> int:
    sizes = (sum(len(examples[index].tokens) for index in row) for row in batch.rows)
    return sum(size > batch.length for size in sizes)


def _unread(example: Example, template: Template, table: TemplateTable) -> bool:
    """Return whether evaluation would not extract the row's answer from what the row teaches."""
    output = cut(template.decode(example.supervised), table.stop_text)
    return not answers.agree(example.answer, answers.extract(output, table.answer_marker))


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The examples, the batches of all steps, and what the lint found."""

    file: TokenisedFile[Example]
    plan: tuple[PlannedBatch, ...] = field(repr=False)
    pad_id: int
    lint: LintRecord

    @property
    def examples(self) -> tuple[Example, ...]:
        """Every example of the file, used or not."""
        return self.file.rows

    @property
    def rows_used(self) -> int:
        """How many rows the steps read; a row that were read twice would count twice."""
        return sum(len(planned.examples) for planned in self.plan)

    def batch(self, planned: PlannedBatch) -> Batch:
        """Assemble what one step reads."""
        return assemble(planned, self.examples, self.pad_id)

    def real_tokens(self, planned: PlannedBatch) -> int:
        """Count the tokens of a step that are not padding."""
        return sum(len(self.examples[index].tokens) for index in planned.examples)


def prepare_training_data(profile: Profile, folder: Path, config: GemmaConfig) -> TrainingData:
    """Read both files of rows, plan every step and check every batch.

    The evaluation's rows too, although they are used after the training: a row that cannot be
    asked is better reported before the first step than after the last.

    Raises:
        RowsError: with every bad row of a file.
        OutOfExamplesError: if there are fewer rows than the steps need.
    """
    training = profile.training
    template = Template(profile.template, read_tokenizer(folder, config), config)
    rows, longest = profile.data, profile.evaluation.prompt_tokens
    file = read_examples(rows.train, template, training.sequence_tokens, rows.columns.train)
    questions = read_questions(rows.evaluation, template, longest, rows.columns.evaluation)
    plan = plan_batches(
        [len(example.tokens) for example in file.rows],
        steps=profile.contract.optimizer_steps,
        batch_rows=training.batch_rows,
        longest=training.sequence_tokens,
        packing=training.packing,
        seed=training.seed,
        epochs=math.ceil(profile.contract.epochs_at_most),
        compilation=math.ceil(COMPILATION / config.parameters),
    )
    data = TrainingData(
        file=file,
        plan=plan,
        pad_id=config.pad_id,
        lint=lint(file, questions, plan, template, profile.template),
    )
    for planned in plan:
        check_batch(data.batch(planned), vocab_size=config.vocab_size)
    return data
