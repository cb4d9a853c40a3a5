"""The faults of a row as tokens: why it could not teach, or be asked, what it says."""

from collections.abc import Iterator, Sequence

from m43.errors import Problem
from m43.rows import bad_row
from m43.training.example import Example
from m43.training.template import Template

SAME_IN_ALL = "correct it, or [template] of the profile, or every row"


def example_faults(example: Example, template: Template, where: str) -> list[Problem]:
    """Check a training row on the ids that are trained on.

    BOS is there once, at the start; the terminator ends what is learnt; the answer, as the ids of
    what is learnt decode to it, is wholly there; and no text of the row has become a special token.
    """
    if len(example.supervised) < 2:
        # The terminator alone would teach the model to say nothing.
        return [bad_row(where, "nothing supervised", "an answer to learn")]
    found = [*_bos_faults(example.tokens, template)]
    if example.supervised[-1] != template.terminator:
        last = f"token {example.supervised[-1]} at the end of what is learnt"
        found.append((last, f"the terminator, {template.terminator}"))
    learnt, answer = template.decode(example.supervised), example.answer.strip()
    if answer not in learnt:
        found.append((f"{learnt[:80]!r} learnt", f"the answer {answer[:80]!r} in it"))
    marks = (*template.prompt_marks, template.terminator)
    found += _mark_faults(example.tokens, marks, template)
    return [bad_row(where, *each) for each in found]


def prompt_faults(ids: Sequence[int], template: Template, where: str) -> list[Problem]:
    """Check the prompt of an evaluation row: BOS once, and no text that became a special token."""
    found = [*_bos_faults(ids, template), *_mark_faults(ids, template.prompt_marks, template)]
    return [bad_row(where, *each) for each in found]


def _bos_faults(ids: Sequence[int], template: Template) -> Iterator[tuple[str, str]]:
    bos = template.bos_id
    if ids[:1] != (bos,) or ids.count(bos) != 1:
        where = [place for place, number in enumerate(ids) if number == bos]
        yield f"BOS ({bos}) at places {where}", "it exactly once, at the start"


def _mark_faults(
    ids: Sequence[int], marks: Sequence[int], template: Template
) -> Iterator[tuple[str, str]]:
    found = [number for number in template.marks(ids) if number != template.bos_id]
    expected = [number for number in marks if number != template.bos_id]
    if found != expected:
        yield (
            f"special tokens {found}",
            f"{expected}, as the template alone writes them: the text of this row spells one",
        )
