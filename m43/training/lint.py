"""The lint: what the rows of a run are like as tokens, counted before the first step."""

from collections.abc import Sequence

from m43 import answers
from m43.lint_record import LintRecord
from m43.profile import TemplateTable
from m43.row_counts import Answered, count_forms, count_repeats
from m43.training.batches import PlannedBatch
from m43.training.decoding import cut
from m43.training.example import Example
from m43.training.examples import ExamplesFile
from m43.training.questions import QuestionsFile
from m43.training.template import Template


def lint(
    file: ExamplesFile,
    questions: QuestionsFile,
    plan: Sequence[PlannedBatch],
    template: Template,
    table: TemplateTable,
) -> LintRecord:
    """Count what a person should know about two files that hold no bad row."""
    examples = file.examples
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
        longest_prompt_tokens=max(len(each.tokens) for each in questions.questions),
        padded_tokens=sum(batch.positions for batch in plan),
        real_tokens=sum(len(each.tokens) for each in planned),
        supervised_tokens=sum(len(each.supervised) for each in planned),
        forms=count_forms(
            [each.answer for each in examples], [each.expected for each in questions.questions]
        ),
    )


def _truncated(batch: PlannedBatch, examples: Sequence[Example]) -> int:
    sizes = (sum(len(examples[index].tokens) for index in row) for row in batch.rows)
    return sum(size > batch.length for size in sizes)


def _unread(example: Example, template: Template, table: TemplateTable) -> bool:
    """Tell whether evaluation would not take the row's answer out of what the row teaches."""
    output = cut(template.decode(example.supervised), table.stop_text)
    return not answers.agree(example.answer, answers.extract(output, table.answer_marker))
