"""The counts of rows as text: what repeats in a file, and which forms of answers two files have."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from m43.answer_form import FORMS, form_of
from m43.lint_record import FormCount
from m43.prompt_template import text_of


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A prompt and the answer that a row gives to it."""

    prompt: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """How many rows repeat an earlier one, and how many contradict an earlier one."""

    duplicates: int
    contradictions: int


def count_repeats(rows: Iterable[Answered]) -> Repeats:
    """Count rows whose prompt came before, with the same answer or with another.

    Case, spacing and Unicode form make no difference.
    """
    answered: dict[str, set[str]] = {}
    duplicates = contradictions = 0
    for row in rows:
        earlier, answer = answered.setdefault(text_of(row.prompt), set()), text_of(row.answer)
        duplicates += answer in earlier
        contradictions += bool(earlier - {answer})
        earlier.add(answer)
    return Repeats(duplicates=duplicates, contradictions=contradictions)


def count_forms(trained: Sequence[str], asked: Sequence[str]) -> tuple[FormCount, ...]:
    """Count the answers of each form in both files; a form that neither has is left out."""
    of_trained, of_asked = (Counter(map(form_of, answers)) for answers in (trained, asked))
    return tuple(
        FormCount(form=form, training_rows=of_trained[form], evaluation_rows=of_asked[form])
        for form in FORMS
        if of_trained[form] or of_asked[form]
    )
