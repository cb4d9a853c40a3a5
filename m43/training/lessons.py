"""The lessons: what a run learns and in which order, checked whole before the first step."""

from dataclasses import dataclass, field
from pathlib import Path

from m43.core.batch import Batch, check_batch
from m43.core.gemma_config import GemmaConfig
from m43.lint_record import LintRecord
from m43.profile import Profile
from m43.training.batches import PlannedBatch, assemble, plan_batches
from m43.training.example import Example
from m43.training.examples import ExamplesFile, read_examples
from m43.training.lint import lint
from m43.training.questions import read_questions
from m43.training.template import Template
from m43.training.tokenizer import read_tokenizer


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """The examples, the batches of all steps, and what the lint found."""

    file: ExamplesFile
    plan: tuple[PlannedBatch, ...] = field(repr=False)
    pad_id: int
    lint: LintRecord

    @property
    def examples(self) -> tuple[Example, ...]:
        """Every example of the file, used or not."""
        return self.file.examples

    @property
    def rows_used(self) -> int:
        """How many rows the steps read; a row that were read twice would count twice."""
        return sum(len(planned.examples) for planned in self.plan)

    def batch(self, planned: PlannedBatch) -> Batch:
        """Lay out what one step reads."""
        return assemble(planned, self.examples, self.pad_id)

    def real_tokens(self, planned: PlannedBatch) -> int:
        """Count the tokens of a step that are not padding."""
        return sum(len(self.examples[index].tokens) for index in planned.examples)


def prepare_lessons(profile: Profile, folder: Path, config: GemmaConfig, scratch: Path) -> Lessons:
    """Read both files of rows, plan every step and check every batch.

    The evaluation's rows too, because they come after the training: a row that cannot be asked is
    better told of before the first step than after the last.

    Raises:
        RowsError: with every bad row of a file.
        OutOfExamplesError: if there are fewer rows than the steps need.
    """
    training = profile.training
    template = Template(profile.template, read_tokenizer(folder, config), config)
    file = read_examples(profile.data.train, template, training.sequence_tokens, scratch)
    questions = read_questions(
        profile.data.evaluation, template, profile.evaluation.prompt_tokens, scratch
    )
    plan = plan_batches(
        [len(example.tokens) for example in file.examples],
        steps=profile.contract.optimizer_steps,
        batch_rows=training.batch_rows,
        longest=training.sequence_tokens,
        packing=training.packing,
        seed=training.seed,
    )
    lessons = Lessons(
        file=file,
        plan=plan,
        pad_id=config.pad_id,
        lint=lint(file, questions, plan, template, profile.template),
    )
    for planned in plan:
        check_batch(lessons.batch(planned), vocab_size=config.vocab_size)
    return lessons
